"""What each provider account may be asked: one budget an account, whichever sources and processes spend it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from recvault import config
from recvault.http import Budget
from recvault.providers.base import Provider

B = TypeVar("B", bound=Budget)


class Budgets(Generic[B]):
    """Made on first use. Where two sources ask one account, the smaller numbers hold for both. Thread-safe."""

    def __init__(
        self,
        sources: Sequence[config.Source],
        provider: Callable[[str], Provider],
        make: Callable[[str, float, int], B],
    ) -> None:
        self._sources = sources
        self._provider = provider
        self._make = make
        self._made: dict[str, B] = {}
        self._lock = threading.Lock()

    def of(self, source: str) -> B:
        """The budget of a source's account."""
        return self.at(self._key(source))

    def at(self, key: str) -> B:
        """The budget that another process knows by this name."""
        with self._lock:
            if key not in self._made:
                sharing = [source for source in self._sources if self._key(source.name) == key]
                self._made[key] = self._make(
                    key,
                    min(source.requests_per_second for source in sharing),
                    min(source.max_concurrency for source in sharing),
                )
            return self._made[key]

    @property
    def made(self) -> list[B]:
        """Those that are in use."""
        return list(self._made.values())

    def _key(self, source: str) -> str:
        provider = self._provider(source)
        return "|".join((provider.provider, provider.account_id, provider.base_url))
