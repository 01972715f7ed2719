"""What is known about every recording, in SQLite through sqlite-utils: registered, due, leased, settled.

Invariants, at any time: every registered recording is pending, archived, gone, external, dead, accepted or erased,
never forgotten; a recording that is not final at the provider is re-read by id until it is. A watermark never moves
backward. The ledger may be lost: `rebuild` makes a new one from the bucket. Without it, recvault lists and downloads
everything again to compare it with the bucket. No byte is written twice.
"""

from recvault.ledger.book import Ledger
from recvault.ledger.custody_records import Burial
from recvault.ledger.daemon_lock import (
    DaemonLock,
    DaemonTrouble,
    DeadDaemon,
    RunningDaemon,
    dead_daemon,
    running_daemon,
)
from recvault.ledger.expected import Expectations, Expected, ExpectedMedium
from recvault.ledger.feeds import ACCOUNTS, BACKFILL, RECONCILE, RECONCILE_PART, Feed, FeedStatus, StateCounts
from recvault.ledger.large_sets import KeySet, SidecarSums
from recvault.ledger.namesakes import Namesake, is_same, renamed
from recvault.ledger.notices import NoticeChanges, NoticeKey, Notices, NoticeState, WaitingNotice
from recvault.ledger.page import Registered
from recvault.ledger.pruned import PruneCandidate, Prunings, alone_pruning
from recvault.ledger.questions import ArchivedDay
from recvault.ledger.reasons import reasons_at
from recvault.ledger.steps import Policy
from recvault.ledger.still_stored import StillStored
from recvault.ledger.succession import Carrier, Stranded
from recvault.ledger.uncatalogued import UncataloguedRow
from recvault.ledger.unlisted import EVER, Chain, UnlistedRow

__all__ = [
    "ACCOUNTS",
    "BACKFILL",
    "EVER",
    "RECONCILE",
    "RECONCILE_PART",
    "ArchivedDay",
    "Burial",
    "Carrier",
    "Chain",
    "DaemonLock",
    "DaemonTrouble",
    "DeadDaemon",
    "Expectations",
    "Expected",
    "ExpectedMedium",
    "Feed",
    "FeedStatus",
    "KeySet",
    "Ledger",
    "Namesake",
    "NoticeChanges",
    "NoticeKey",
    "NoticeState",
    "Notices",
    "Policy",
    "PruneCandidate",
    "Prunings",
    "Registered",
    "RunningDaemon",
    "SidecarSums",
    "StateCounts",
    "StillStored",
    "Stranded",
    "UncataloguedRow",
    "UnlistedRow",
    "WaitingNotice",
    "alone_pruning",
    "dead_daemon",
    "is_same",
    "reasons_at",
    "renamed",
    "running_daemon",
]
