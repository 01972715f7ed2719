"""Who may begin: so many at once, and of each source one at least that is its own.

Invariant: a source that is slow, with however much to do, holds back no other. That one comes next, of those that wait,
which has the fewest at work.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Places(Generic[T]):
    """What waits, by source in its order, and how many of each are at work. Whoever shares it among threads locks it.

    At most `most` and one more a source are at work at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.ready: defaultdict[str, deque[T]] = defaultdict(deque)
        self._busy: Counter[str] = Counter()

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
        """What waits, which begins no more."""
        waiting = [each for ready in self.ready.values() for each in ready]
        self.ready.clear()
        return waiting

    def over(self, source: str) -> None:
        """One of a source is at work no more."""
        self._busy[source] -= 1
