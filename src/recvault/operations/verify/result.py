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
_GIVE_UP_AFTER = 20  # questions in a row without an answer: the bucket is down


@dataclass(slots=True, kw_only=True)
class Result:
    """Counted by many threads; read when they are done."""

    started_at: datetime
    sample: Sample
    expected: int = 0  # recordings that are to be checked
    finished_at: datetime | None = None
    interrupted: bool = False
    checked: int = 0
    ok: int = 0
    missing: int = 0
    different: int = 0
    orphan_media: int = 0
    uncommitted: int = 0
    unknown: int = 0
    media: int = 0
    objects: int = 0  # that were listed
    read_recordings: int = 0  # whose every byte was read
    read_bytes: int = 0
    unproven: int = 0  # media of which the store keeps no sum: of the right size, and not read
    unproven_sidecars: int = 0  # of which the ledger has no sum: an earlier version archived them
    restored: int = 0  # lost sidecars that were restored from the ledger
    cold: int = 0  # objects in an archive class: not read
    under_way: int = 0  # objects that a transfer at work will name
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
        """The bucket answers."""
        self._in_a_row = 0

    def note_refused(self, error: RecvaultError) -> None:
        """One key's question has no answer, and the bucket gives others."""
        with self._lock:
            self._note(error)

    def _note(self, error: RecvaultError) -> None:
        self.unanswered_total += 1
        self.codes.add(error.exit_code)
        if len(self.unanswered) < _UNANSWERED_KEPT:
            self.unanswered.append(str(error))

    def note_unanswered(self, error: RecvaultError) -> None:
        """One question has no answer. Raised again where none before it had one either."""
        with self._lock:
            self._in_a_row += 1
            self._note(error)
            if self._in_a_row >= _GIVE_UP_AFTER:
                raise error

    def stray(self, found: Difference) -> None:
        """An object that no recording of the ledger names."""
        self.count(**{found.kind.value: 1})
        self.take([found])

    def finish(self, now: datetime) -> None:
        """Nothing more is added."""
        self.finished_at = now
        self.differences.sort(key=lambda each: (list(DifferenceKind).index(each.kind), each.key))

    @property
    def exit_code(self) -> int:
        """3 where there are differences; the error's own where the bucket did not answer every question."""
        return worst(self.codes | ({PARTIAL} if self.total else set()))

    @property
    def outcome(self) -> str:
        """ok, different, partial or interrupted."""
        if self.interrupted:
            return "interrupted"
        if self.unanswered_total:
            return "partial"
        return "different" if self.total else "ok"

    @property
    def counts(self) -> dict[str, int]:
        """Those that scripts look at. missing and different count recordings, the last three objects."""
        names = ("checked", "ok", "missing", "different", "orphan_media", "unknown", "uncommitted")
        return {name: getattr(self, name) for name in names}

    def document(self) -> JSON:
        """As `--json` prints it."""
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
