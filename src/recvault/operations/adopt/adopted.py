"""What an adoption did."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from recvault.models import JSON
from recvault.monitoring.report import PARTIAL, iso

SCHEMA = "recvault/adopt/v1"
NAMED_MOST = 1_000  # in the report; all are counted
_COUNTS = ("objects", "adopted", "already_archived", "copies", "others", "bytes", "requests", "provider_bytes")


@dataclass(frozen=True, slots=True)
class Named:
    """An object that was not adopted, and why."""

    key: str
    recording_id: str | None
    reason: str  # a dotted constant
    message: str


@dataclass(slots=True, kw_only=True)
class Adopted:
    """The result. Thread-safe."""

    source: str
    origin: str  # s3://bucket/prefix
    dry_run: bool
    started_at: datetime
    finished_at: datetime | None = None
    objects: int = 0  # listed
    adopted: int = 0  # recordings; in a dry run, those that would be
    already_archived: int = 0  # objects of recordings that were archived before
    copies: int = 0  # further objects of a recording that is adopted
    others: int = 0  # no media, by their names, and recvault's own objects
    bytes: int = 0  # of adopted media
    requests: int = 0  # to the provider, for rows and media
    provider_bytes: int = 0  # of media that the provider sent for the proofs
    interrupted: bool = False
    named: list[Named] = field(default_factory=list)
    named_total: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, **more: int) -> None:
        """Add to counts."""
        with self._lock:
            for name, value in more.items():
                setattr(self, name, getattr(self, name) + value)

    def name(self, named: Named) -> None:
        """Note an object that was not adopted."""
        with self._lock:
            self.named_total += 1
            if len(self.named) < NAMED_MOST:
                self.named.append(named)

    @property
    def exit_code(self) -> int:
        """3 if objects were not adopted."""
        return PARTIAL if self.named_total else 0

    def document(self) -> JSON:
        """Return the report as JSON."""
        outcome = "interrupted" if self.interrupted else "partial" if self.named_total else "ok"
        named = [
            {"key": each.key, "recording_id": each.recording_id, "reason": each.reason, "message": each.message}
            for each in sorted(self.named, key=lambda each: each.key)
        ]
        return {
            "schema": SCHEMA,
            "outcome": outcome,
            "source": self.source,
            "from": self.origin,
            "dry_run": self.dry_run,
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            **{name: getattr(self, name) for name in _COUNTS},
            "named": named,
            "named_total": self.named_total,
        }
