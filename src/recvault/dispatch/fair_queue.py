"""Which job may start: a limited number at once, with at least one place per source.

Invariant: a slow source delays no other. Of the waiting sources, the one with the fewest running jobs is next.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Places(Generic[T]):
    """Waiting jobs by source, in order, and how many of each run.

    The caller locks it. At most `most` plus one per source run at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.ready: defaultdict[str, deque[T]] = defaultdict(deque)
        self._busy: Counter[str] = Counter()

    def widen(self, most: int) -> None:
        """From now on so many run at most."""
        self._most = most

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self.ready.values()))

    def free(self, source: str) -> int:
        """How many of a source can begin now."""
        free = self._most - self._busy.total()
        return max(free, 1 if self._busy[source] == 0 else 0)

    def next(self, rests: Callable[[str], bool] = lambda source: False) -> T | None:
        """What begins now, counted as at work; None where nothing may. Of a source that rests nothing does."""
        waiting = [source for source, ready in list(self.ready.items()) if ready and not rests(source)]
        for source in sorted(waiting, key=self._busy.__getitem__):
            if self.free(source):
                self._busy[source] += 1
                return self.ready[source].popleft()
        return None

    def take_back(self) -> list[T]:
        """Take back what waits, which will not start."""
        waiting = [each for ready in self.ready.values() for each in ready]
        self.ready.clear()
        return waiting

    def over(self, source: str) -> None:
        """A job of a source has ended."""
        self._busy[source] -= 1
