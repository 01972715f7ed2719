"""Request limits: one budget for each provider account, shared by its sources and processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from recvault import config
from recvault.http import Budget
from recvault.providers.base import Provider

B = TypeVar("B", bound=Budget)


class Budgets(Generic[B]):
    """Budgets, created on first use. If two sources use one account, the smaller limits apply to both. Thread-safe."""

    def __init__(
        self,
        sources: Sequence[config.SourceSettings],
        provider: Callable[[str], Provider],
        make: Callable[[str, float, int], B],
    ) -> None:
        self._sources = sources
        self._provider = provider
        self._make = make
        self._made: dict[str, tuple[tuple[float, int], B]] = {}
        self._lock = threading.Lock()

    def of(self, source: str) -> B:
        """Return the budget of a source's account."""
        return self.at(self.key(source))

    def at(self, key: str) -> B:
        """Return the budget with this key, which is the same in all processes. KeyError if no source uses the
        account."""
        with self._lock:
            if key not in self._made:
                self._made[key] = self._new(key)
            return self._made[key][1]

    def take_over(self, earlier: Budgets[B]) -> None:
        """Keep the budgets of an earlier configuration if their limits are the same, because it may still use them."""
        for key, (numbers, budget) in list(earlier._made.items()):
            if numbers == self._numbers(key):
                self._made.setdefault(key, (numbers, budget))

    @property
    def made(self) -> list[B]:
        """The budgets in use."""
        return [budget for _, budget in list(self._made.values())]

    def _new(self, key: str) -> tuple[tuple[float, int], B]:
        numbers = self._numbers(key)
        if numbers is None:
            raise KeyError(key)
        return numbers, self._make(key, *numbers)

    def _numbers(self, key: str) -> tuple[float, int] | None:
        """Return requests per second and concurrency of an account; None if no source uses it."""
        sharing = [source for source in self._sources if self.key(source.name) == key]
        if not sharing:
            return None
        return min(each.requests_per_second for each in sharing), min(each.max_concurrency for each in sharing)

    def key(self, source: str) -> str:
        """Return the name of a source's account, the same in all processes."""
        provider = self._provider(source)
        return "|".join((provider.provider, provider.account_id, provider.base_url))
