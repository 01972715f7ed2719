"""Why recordings may be lost: the kinds of risk, and a single reason with what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Risk(enum.StrEnum):
    """Worst first. The text is a label of `recvault_risk`, and in /healthz and `status --json`."""

    LEDGER = "ledger"  # it cannot be written
    BUCKET = "bucket"  # it accepts nothing
    STUCK = "stuck"  # a part of the daemon makes no progress
    DAEMON = "daemon"  # it died, or ended with an error: nothing is polled
    STALE = "stale"  # too long without a complete scan, or without an archived recording although some wait
    UNLISTED = "unlisted"  # recordings wait whose account no source lists
    FAILING = "failing"  # the last scan of a list failed
    CONFIGURATION = "configuration"  # recordings fail until the configuration is corrected
    DEAD = "dead"  # recordings were given up
    QUARANTINED = "quarantined"  # rows of a list cannot be read
    QUIET = "quiet"  # nothing new for quiet_after of usual time: are calls still recorded?
    UNSEEN = "unseen"  # never scanned
    MANIFESTS = "manifests"  # not complete for two days
    RELOAD = "reload"  # the configuration in use is not the one in the file
    BUG = "bug"  # the last turn of a job ended with an unexpected error

    @property
    def is_critical(self) -> bool:
        """Whether immediate attention is needed: /healthz answers 503, and the alert is critical."""
        return self in _CRITICAL


_CRITICAL = frozenset({Risk.LEDGER, Risk.BUCKET, Risk.STUCK, Risk.DAEMON, Risk.STALE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One risk, of a source's account or of the daemon."""

    risk: Risk
    message: str
    command: str  # shows more, or helps; can be copied
    source: str | None = None
    account_id: str | None = None

    @property
    def sentence(self) -> str:
        """The message, after source and account if it is about one."""
        return f"{self.source} {self.account_id}: {self.message}" if self.source else self.message
