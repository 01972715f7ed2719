"""The result of writing the catalog: files, counts, and problems."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from recvault.log.lines import get_logger
from recvault.models import JSON
from recvault.monitoring.report import PARTIAL, iso

SCHEMA = "recvault/catalog/v1"
MOST_TOLD = 100

log = get_logger("recvault.operations.catalog")

PROBLEMS = {
    "missing": "its sidecar is not in the bucket: run `recvault verify` for details",
    "cold": "its sidecar is in an archive storage class: restore it, then run `recvault catalog` again",
    "refused": "the bucket denies access to it: check this key's policy and owner",
    "unreadable": "it was not written by recvault, or was changed: it is not in the catalog",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWritten:
    """A file of the catalog that was put."""

    key: str
    rows: int
    bytes: int


@dataclass(slots=True, kw_only=True)
class CatalogSummary:
    """The summary of one run."""

    started_at: datetime
    finished_at: datetime | None = None
    sidecars: int = 0  # read
    calls: int = 0  # objects with call facts that were joined
    written: list[FileWritten] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)  # kind and key, at most MOST_TOLD
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def exit_code(self) -> int:
        return PARTIAL if self.counts else 0

    def wrote(self, written: FileWritten) -> None:
        """Record and log a written file."""
        self.written.append(written)
        log.info("catalog.written", key=written.key, rows=written.rows, bytes=written.bytes)

    def problem(self, kind: str, key: str) -> None:
        """Count a problem; the first ones are kept and logged."""
        self.counts[kind] += 1
        if len(self.problems) < MOST_TOLD:
            self.problems.append((kind, key))
            log.error("catalog.problem", kind=kind, key=key, message=PROBLEMS[kind])

    def document(self) -> JSON:
        """Return the document that `recvault catalog --json` prints."""
        return {
            "schema": SCHEMA,
            "command": "catalog",
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            "outcome": "partial" if self.counts else "ok",
            "sidecars": self.sidecars,
            "calls": self.calls,
            "written": [{"key": each.key, "rows": each.rows, "bytes": each.bytes} for each in self.written],
            "errors": [{"kind": kind, "key": key, "message": PROBLEMS[kind]} for kind, key in self.problems],
            "errors_total": sum(self.counts.values()),
        }
