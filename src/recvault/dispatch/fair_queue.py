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
        """Change how many run at most."""
        self._most = most

    @property
    def waiting(self) -> int:
        """Number of waiting jobs."""
        return sum(map(len, self.ready.values()))

    def free(self, source: str) -> int:
        """Return how many jobs of a source can start now."""
        free = self._most - self._busy.total()
        return max(free, 1 if self._busy[source] == 0 else 0)

    def next(self, rests: Callable[[str], bool] = lambda source: False) -> T | None:
        """Take the next job to start and count it as running; None if none may start. Skips sources that rest."""
        waiting = [source for source, ready in list(self.ready.items()) if ready and not rests(source)]
        for source in sorted(waiting, key=self._busy.__getitem__):
            if self.free(source):
                self._busy[source] += 1
                return self.ready[source].popleft()
        return None

    def take_back(self) -> list[T]:
        """Remove and return all waiting jobs."""
        waiting = [each for ready in self.ready.values() for each in ready]
        self.ready.clear()
        return waiting

    def over(self, source: str) -> None:
        """Note that a job of a source has ended."""
        self._busy[source] -= 1
