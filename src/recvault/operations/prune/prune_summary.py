"""The result of a prune: what was deleted, what stays and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from recvault.errors import CredentialsRefused, Denied, RecvaultError
from recvault.models import JSON
from recvault.monitoring.report import PARTIAL, iso, worst
from recvault.operations.prune.deletion_records import IS_AWAY, Deletion, DeletionOutcome
from recvault.operations.prune.prune_rule import SKIPPED, Proven

SCHEMA = "recvault/prune-report/v1"
MOST_TOLD = 100


@dataclass(slots=True, kw_only=True)
class PruneSummary:
    """Counted by one thread."""

    source: str
    started_at: datetime
    before: datetime
    limit: int
    dry_run: bool = False
    finished_at: datetime | None = None
    interrupted: bool = False
    checked: int = 0
    deletions: Counter[Deletion] = field(default_factory=Counter)
    settled: int = 0  # deletions that an earlier run had left open
    eligible: int = 0  # in a dry run: what would be deleted
    bytes: int = 0  # of what was, or would be, deleted
    seconds: float = 0.0
    requests: int = 0  # to the provider
    skipped: Counter[str] = field(default_factory=Counter)
    limit_reached: bool = False
    failures: list[JSON] = field(default_factory=list)
    errors: list[JSON] = field(default_factory=list)
    codes: set[int] = field(default_factory=set)

    @property
    def deleted(self) -> int:
        """How many the provider no longer has."""
        return sum(self.deletions[each] for each in IS_AWAY)

    @property
    def failed(self) -> int:
        """How many the provider still has, or may still have, although their deletion was asked for."""
        return self.deletions[Deletion.KEPT] + self.deletions[Deletion.UNKNOWN]

    def took(self, proven: Proven) -> None:
        """Count what was deleted, or would be."""
        self.bytes += proven.candidate.bytes
        self.seconds += proven.seconds or 0.0

    def came(self, outcome: DeletionOutcome) -> None:
        """Count what came of a deletion; the first failures are kept."""
        self.deletions[outcome.deletion] += 1
        if outcome.deletion not in IS_AWAY and len(self.failures) < MOST_TOLD:
            self.failures.append(
                {
                    "recording_id": outcome.identity[2],
                    "account_id": outcome.identity[1],
                    "deletion": outcome.deletion.value,
                    "message": outcome.message,
                }
            )

    def failed_by(self, account_id: str, error: RecvaultError) -> None:
        """Note what ended the work on an account."""
        code = CredentialsRefused.exit_code if isinstance(error, Denied) else error.exit_code
        self.codes.add(code)
        self.errors.append({"account_id": account_id, "message": str(error)})

    @property
    def exit_code(self) -> int:
        """The worst of the errors; 3 if a deletion failed."""
        return worst(self.codes | ({PARTIAL} if self.failed else set()))

    @property
    def outcome(self) -> str:
        """One of ok, partial, interrupted."""
        if self.interrupted:
            return "interrupted"
        return "partial" if self.exit_code else "ok"

    def document(self) -> JSON:
        """Return the document that `--json` prints."""
        return {
            "schema": SCHEMA,
            "command": "prune",
            "source": self.source,
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            "outcome": self.outcome,
            "dry_run": self.dry_run,
            "before": iso(self.before),
            "limit": self.limit,
            "limit_reached": self.limit_reached,
            "checked": self.checked,
            "eligible": self.eligible,
            **{each.value: self.deletions[each] for each in Deletion},
            "settled": self.settled,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "skipped": {name: self.skipped[name] for name in SKIPPED if self.skipped[name]},
            "failures": self.failures,
            "errors": self.errors,
        }
