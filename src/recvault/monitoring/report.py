"""What a pass did, counted per account: the report for people and scripts, and its exit code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from recvault.ledger.lateness import Late
from recvault.models import JSON

SCHEMA = "recvault/report/v1"
PARTIAL = 3
MOST_FAILURES = 100
_WORST_FIRST = (1, 78, 77, 75, 2, PARTIAL)


@dataclass(slots=True, kw_only=True)
class AccountReport:
    """One account of one source. Fields marked open count the ledger's rows; the others count this pass."""

    source: str
    provider: str
    account_id: str
    watermark: datetime | None = None
    listed: int = 0
    registered: int = 0
    archived: int = 0
    already_archived: int = 0
    not_ready: int = 0  # open
    gone: int = 0
    missing: int = 0  # listed but not found: looked for again before they count as gone
    external: int = 0
    failed: int = 0  # open: failed and will be retried
    dead: int = 0  # open
    accepted: int = 0  # by the operator, as lost
    quarantined: int = 0  # open
    bytes: int = 0
    requests: int = 0
    missed: int = 0  # registered here but missed by polls: found by listing a window again
    lateness_seconds: int | None = None  # the most by which one of those appeared after its date
    lookback_needed_seconds: int | None = None  # enough to have found them all
    offered_since: datetime | None = None  # the provider refuses older bounds: nothing before it was listed
    error: str | None = None

    def late(self, now: datetime) -> Late:
        """Return what polls missed of it."""
        return Late(self.missed, timedelta(seconds=self.lateness_seconds or 0), now)

    @property
    def stands_open(self) -> bool:
        """Whether something failed that a later pass or the operator must fix."""
        return bool(self.failed or self.dead or self.quarantined)


@dataclass(slots=True, kw_only=True)
class Report:
    """The report of a whole pass."""

    command: str
    started_at: datetime
    finished_at: datetime | None = None
    interrupted: bool = False
    accounts: dict[tuple[str, str], AccountReport] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    failures_total: int = 0
    codes: set[int] = field(default_factory=set)  # exit codes of the errors met

    def account(self, source: str, provider: str, account_id: str) -> AccountReport:
        """Return an account's row, created if there is none."""
        key = (source, account_id)
        if key not in self.accounts:  # called for each recording: creating an unneeded row would cost most
            self.accounts.setdefault(key, AccountReport(source=source, provider=provider, account_id=account_id))
        return self.accounts[key]

    def failed(self, source: str, provider: str, account_id: str, error: str, code: int) -> None:
        """Set an account's error, and count its exit code."""
        self.account(source, provider, account_id).error = error
        self.codes.add(code)

    @property
    def exit_code(self) -> int:
        """The worst code; only the command knows the signal of an interruption."""
        return worst(self.codes | ({PARTIAL} if any(row.stands_open for row in self.accounts.values()) else set()))

    @property
    def outcome(self) -> str:
        """One of ok, partial, failed, interrupted."""
        if self.interrupted:
            return "interrupted"
        if self.exit_code == 0:
            return "ok"
        errors = [row for row in self.accounts.values() if row.error]
        nothing_done = not any(row.archived or row.already_archived for row in self.accounts.values())
        return "failed" if errors and len(errors) == len(self.accounts) and nothing_done else "partial"

    def document(self) -> JSON:
        """Return the JSON document that `--json` prints."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            "outcome": self.outcome,
            "sources": [_row(row) for row in self.accounts.values()],
            "failures": self.failures[:MOST_FAILURES],
            "failures_total": self.failures_total,
        }


def worst(codes: Iterable[int]) -> int:
    """Return the worst of some exit codes, 0 for none."""
    met = set(codes)
    return next((code for code in _WORST_FIRST if code in met), 0)


def iso(moment: datetime | None) -> str | None:
    """Format as ISO 8601 UTC with Z, to the second."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(row: AccountReport) -> JSON:
    names = AccountReport.__dataclass_fields__
    return {name: iso(value) if isinstance(value := getattr(row, name), datetime) else value for name in names}
