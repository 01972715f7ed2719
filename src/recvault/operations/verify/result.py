"""The result of a verification: counts, a bounded list of differences, the document and the exit code."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from recvault.errors import RecvaultError
from recvault.models import JSON
from recvault.monitoring.report import PARTIAL, iso, worst
from recvault.operations.verify.differences import MOST, SCHEMA, Difference, DifferenceKind
from recvault.operations.verify.scope import Sample

_UNANSWERED_KEPT = 100
_GIVE_UP_AFTER = 20  # requests in a row without an answer: the bucket is down


@dataclass(slots=True, kw_only=True)
class Result:
    """The result; counted by many threads, read when they are done."""

    started_at: datetime
    sample: Sample
    expected: int = 0  # recordings to check
    finished_at: datetime | None = None
    interrupted: bool = False
    checked: int = 0
    ok: int = 0
    missing: int = 0
    different: int = 0
    orphan_media: int = 0
    uncommitted: int = 0
    unknown: int = 0
    erased: int = 0  # on request; nothing is expected of them
    media: int = 0
    objects: int = 0  # listed
    read_recordings: int = 0  # completely read
    read_bytes: int = 0
    unproven: int = 0  # media of the right size, not read, for which the store keeps no hash
    unproven_sidecars: int = 0  # for which the ledger has no hash: archived by an earlier version
    restored: int = 0  # lost sidecars that were restored from the ledger
    cold: int = 0  # objects in an archive class: not read
    under_way: int = 0  # objects of running transfers
    made_due: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    total: int = 0
    unanswered: list[str] = field(default_factory=list)
    unanswered_total: int = 0
    codes: set[int] = field(default_factory=set)
    _in_a_row: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, **more: int) -> None:
        """Add to counts by their names."""
        with self._lock:
            for name, number in more.items():
                setattr(self, name, getattr(self, name) + number)

    def take(self, found: Iterable[Difference]) -> None:
        """Keep differences, up to the bound."""
        with self._lock:
            for each in found:
                self.total += 1
                if len(self.differences) < MOST:
                    self.differences.append(each)

    def answered(self) -> None:
        """Note that the bucket answers."""
        self._in_a_row = 0

    def note_refused(self, error: RecvaultError) -> None:
        """Record a request for one key that the bucket refused, while it answers others."""
        with self._lock:
            self._note(error)

    def _note(self, error: RecvaultError) -> None:
        self.unanswered_total += 1
        self.codes.add(error.exit_code)
        if len(self.unanswered) < _UNANSWERED_KEPT:
            self.unanswered.append(str(error))

    def note_unanswered(self, error: RecvaultError) -> None:
        """Record a request without an answer; raise its error again after 20 in a row."""
        with self._lock:
            self._in_a_row += 1
            self._note(error)
            if self._in_a_row >= _GIVE_UP_AFTER:
                raise error

    def stray(self, found: Difference) -> None:
        """Record an object that no recording in the ledger names."""
        self.count(**{found.kind.value: 1})
        self.take([found])

    def finish(self, now: datetime) -> None:
        """Sort the differences; nothing is added after this."""
        self.finished_at = now
        self.differences.sort(key=lambda each: (list(DifferenceKind).index(each.kind), each.key))

    @property
    def exit_code(self) -> int:
        """3 if there are differences; the error's own code if the bucket did not answer every request."""
        return worst(self.codes | ({PARTIAL} if self.total else set()))

    @property
    def outcome(self) -> str:
        """One of ok, different, partial, interrupted."""
        if self.interrupted:
            return "interrupted"
        if self.unanswered_total:
            return "partial"
        return "different" if self.total else "ok"

    @property
    def counts(self) -> dict[str, int]:
        """The counts for scripts. missing and different count recordings, the next three count objects."""
        names = ("checked", "ok", "missing", "different", "orphan_media", "unknown", "uncommitted", "erased")
        return {name: getattr(self, name) for name in names}

    def document(self) -> JSON:
        """Return the JSON document that `--json` prints."""
        return {
            "schema": SCHEMA,
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            "outcome": self.outcome,
            "counts": self.counts,
            "expected": self.expected,
            "made_due": self.made_due,
            "media": self.media,
            "objects_listed": self.objects,
            "under_way": self.under_way,
            "unproven": self.unproven,
            "unproven_sidecars": self.unproven_sidecars,
            "restored": self.restored,
            "cold": self.cold,
            "read": {
                "percent": self.sample.percent,
                "seed": self.sample.seed,
                "recordings": self.read_recordings,
                "bytes": self.read_bytes,
            },
            "requests": dict(sorted(self.requests.items())),
            "unanswered": self.unanswered,
            "unanswered_total": self.unanswered_total,
            "differences": [each.document() for each in self.differences],
            "differences_total": self.total,
        }
