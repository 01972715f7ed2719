"""The kinds of differences, their messages, and what to do about them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from recvault.ledger import Expected
from recvault.models import JSON

SCHEMA = "recvault/verify/v1"
MARKER = "held.marker"
MOST = 1_000  # differences kept; all are counted


class DifferenceKind(enum.StrEnum):
    """How an object differs."""

    MISSING = "missing"  # the ledger says that it was archived, but it is not there
    DIFFERENT = "different"  # it is there, but not as it was archived
    ORPHAN_MEDIA = "orphan_media"  # media under a key of ours that no sidecar names
    UNCOMMITTED = "uncommitted"  # media that still wait for their sidecar
    UNKNOWN = "unknown"  # not ours, or a sidecar that the ledger does not know


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One object that differs."""

    kind: DifferenceKind
    key: str
    reason: str  # a dotted constant: a key of HINTS
    message: str
    source: str | None = None
    provider: str | None = None
    account_id: str | None = None
    recording_id: str | None = None
    outlook: str | None = None  # why a missing object cannot simply be made due: a key of HINTS
    made_due: bool = False  # `--repair` made its recording due

    @property
    def hint(self) -> str:
        """What to do about it."""
        if self.made_due:
            return "made due: the next pass restores what is missing if the provider still has it"
        name = f"{self.source}:{self.recording_id}" if self.source else self.recording_id or ""
        return HINTS[self.outlook or self.reason].format(id=name)

    def document(self) -> JSON:
        """Return the JSON document that `--json` prints."""
        return {
            "kind": self.kind.value,
            "key": self.key,
            "source": self.source,
            "provider": self.provider,
            "account_id": self.account_id,
            "recording_id": self.recording_id,
            "reason": self.reason,
            "message": self.message,
            "hint": self.hint,
            "made_due": self.made_due,
        }


_REPAIR = "`recvault verify --repair` makes it due again"
_MOVE = "move the object out of the archive's prefix, then run `recvault verify --repair`"

HINTS: Mapping[str, str] = {
    "sidecar.missing": _REPAIR,
    "media.missing": _REPAIR,
    "missing.due": "it is already due: the next pass restores what is missing if the provider still has it",
    "missing.lost": "its provider no longer had it; `recvault retry {id}` asks again. Otherwise look for an earlier "
    "version in the bucket, or a copy",
    "missing.earlier": "its provider now serves different bytes, stored beside it: look for an earlier version in the "
    "bucket, or a copy",
    "missing.pruned": "recvault deleted it at its provider after this copy was proven, so it cannot be fetched again: "
    "look for an earlier version in the bucket, or a copy",
    "missing.dead": "see `recvault failures` for why it was not restored; then run `recvault retry {id}`",
    "missing.beside": "first resolve the other difference of this recording",
    "sidecar.content": f"an earlier version in the bucket may be intact. {_MOVE}",
    "sidecar.schema": f"an earlier version in the bucket may be intact. {_MOVE}",
    "sidecar.identity": _MOVE,
    "sidecar.hash": f"it was changed: an earlier version in the bucket may be intact. {_MOVE}",
    "sidecar.too_large": f"it is not what was archived: an earlier version in the bucket may be intact. {_MOVE}",
    "sidecar.changed": "it was rewritten after it was archived: an earlier version in the bucket may be the right one. "
    f"{_MOVE}",
    "sidecar.not_the_ledgers": "one of them was changed: `recvault show {id}` prints both. An earlier version in the "
    f"bucket may be intact. {_MOVE}",
    "media.size": f"an earlier version in the bucket may be intact. {_MOVE}",
    "media.hash": f"an earlier version in the bucket may be intact. {_MOVE}",
    "media.no_recording": "no sidecar names it and the ledger does not know its recording: `recvault backfill "
    "--source NAME --recording ID` archives it if a provider still lists it; otherwise it can "
    "be moved away",
    "media.not_committed": "`recvault retry {id}` lets the next pass commit it",
    "media.unproven": "this ledger did not store it, and the provider no longer has such a recording: if an earlier "
    "ledger stored it, keep it; otherwise move it away",
    "media.waits": "its recording is retried until its missing formats are given up: see `recvault show {id}`",
    "media.not_named": "the sidecar of its recording does not name it: compare, and move it away",
    MARKER: "the object is still there: delete the marker, a version of its own, and it is back",
    "object.erased": "`recvault erase --recording {id} --reference TEXT` deletes it",
    "object.foreign": "recvault did not write it: move it out of the archive's prefix",
    "sidecar.not_in_ledger": "the ledger does not know it, perhaps because an earlier ledger was lost: `recvault "
    "rebuild` makes a new one",
    "sidecar.not_settled": "`recvault retry {id}` lets the next pass find it",
    "sidecar.unproven": "this ledger did not write it, and the provider no longer has such a recording: if an earlier "
    "ledger did, move the ledger away and run `recvault rebuild`; otherwise move the object away",
    "sidecar.second": "the ledger knows another sidecar of this recording: compare them, and move one away",
    "sidecar.unreadable": "it is not a sidecar of recvault: move it out of the archive's prefix",
}


def about(row: Expected, kind: DifferenceKind, key: str, reason: str, message: str) -> Difference:
    """Return a difference of a recording that the ledger knows."""
    return Difference(
        kind=kind,
        key=key,
        reason=reason,
        message=message,
        source=row.source,
        provider=row.provider,
        account_id=row.account_id,
        recording_id=row.recording_id,
    )
