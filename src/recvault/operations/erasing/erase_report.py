"""What an erasure did, or would do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from recvault.log.lines import get_logger
from recvault.models import JSON
from recvault.monitoring.report import PARTIAL, iso

SCHEMA = "recvault/erase/v1"
log = get_logger("recvault.operations.erasing")

Outcome = Literal["erased", "refused", "open", "would_erase", "would_refuse"]


@dataclass(slots=True, kw_only=True)
class ErasedRecording:
    """One recording's outcome. `open`: begun, and not complete."""

    provider: str
    account_id: str
    recording_id: str
    outcome: Outcome
    objects: int = 0
    versions: int = 0
    refused: list[JSON] = field(default_factory=list)  # key, why, until

    def document(self) -> JSON:
        """Return it as JSON."""
        names = ("provider", "account_id", "recording_id", "outcome", "objects", "versions", "refused")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True, kw_only=True)
class Erased:
    """The result of one run."""

    started_at: datetime
    reference: str
    dry_run: bool
    finished_at: datetime | None = None
    recordings: list[ErasedRecording] = field(default_factory=list)
    quarantined: int = 0  # unreadable rows that no recording is known of
    months: list[str] = field(default_factory=list)  # of the catalog, written again
    unreadable: list[str] = field(default_factory=list)  # keys that may have matched

    @property
    def counts(self) -> Counter[str]:
        """Recordings by outcome."""
        return Counter(each.outcome for each in self.recordings)

    @property
    def exit_code(self) -> int:
        """3 if something is left."""
        left = self.counts["refused"] + self.counts["open"] + self.counts["would_refuse"] + len(self.unreadable)
        return PARTIAL if left else 0

    def document(self) -> JSON:
        """Return the document that `--json` prints."""
        return {
            "schema": SCHEMA,
            "command": "erase",
            "dry_run": self.dry_run,
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            "outcome": "partial" if self.exit_code else "ok",
            "reference": self.reference,
            "counts": {
                name: self.counts[name] for name in ("erased", "refused", "open", "would_erase", "would_refuse")
            },
            "recordings": [each.document() for each in self.recordings],
            "quarantined": self.quarantined,
            "catalog_months": self.months,
            "unreadable": self.unreadable,
        }
