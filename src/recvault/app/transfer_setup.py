"""What a process needs to transfer recordings, made from the configuration: the bucket, and lines to its sources.

It contains no ledger: a worker process has nothing else.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from recvault import config
from recvault.app import bucket_setup, wiring
from recvault.app.budgets import Budgets
from recvault.app.configured_sources import Configured
from recvault.app.connections import Connections
from recvault.app.opened_store import opened
from recvault.dispatch.watchdog import WatchedStore
from recvault.http import Budget
from recvault.log.meter import Spending, Waits
from recvault.shutdown import Stop
from recvault.store import Bucket
from recvault.transfer.archive_recording import Transfer
from recvault.transfer.call_memory import CallMemory
from recvault.transfer.spool import SpoolPlace


class Equipment(Configured):
    """The store, and each source's lines, made on first use."""

    def __init__(
        self,
        settings: config.Config,
        *,
        clock: Callable[[], datetime],
        stop: Stop | None = None,
        budget: Callable[[str, float, int], Budget],
    ) -> None:
        super().__init__(settings, clock=clock, stop=stop)
        self._budgets: Budgets[Any] = Budgets(settings.sources, self.provider, budget)
        self.waits = Waits()
        self.calls = CallMemory()
        self._store: Bucket | None = None
        self._catalog_store: Bucket | None = None
        self._lines: dict[str, Connections] = {}
        self._making = threading.Lock()

    @property
    def store(self) -> Bucket:
        """The bucket; `prepare_store` later tests what it enforces."""
        if self._store is None:
            settings = self.settings
            self._store = opened(
                settings.archive, settings.transfer, self.stop, known=lambda: bucket_setup.schema(self.keys)
            )
            self._open.callback(self._store.close)
        return self._store

    @property
    def catalog_store(self) -> Bucket:
        """The bucket of the catalog: the archive's, or another one at the same endpoint, by the same credentials."""
        settings, store = self.settings, self.store
        if settings.catalog.bucket in ("", settings.archive.bucket):
            return store
        if self._catalog_store is None:
            where = settings.archive.model_copy(update={"bucket": settings.catalog.bucket})
            other = opened(where, settings.transfer, self.stop, known=lambda: bucket_setup.schema(self.keys))
            self._open.callback(other.close)
            other.begin(known=False, make=True)
            other.facts, self._catalog_store = store.facts, other
        return self._catalog_store

    def lines(self, name: str) -> Connections:
        """Return the lines to a source's accounts; its secrets are resolved on first use. ConfigError if one is
        missing."""
        with self._making:  # several threads may be first
            if name in self._lines:
                return self._lines[name]
            budget = self._budgets.of(name)
            self._lines[name] = wiring.lines(self.source(name), self.settings.transfer, self.stop, budget, self.waits)
            self._open.callback(self._lines[name].close)
        return self._lines[name]

    def budget_at(self, key: str) -> Any:
        """Return an account's budget by its key, which is the same in all processes."""
        return self._budgets.at(key)

    def spending(self) -> Spending:
        """Return what this process spent so far."""
        return self.waits.spending

    def answers(self) -> dict[tuple[str, str], Counter[str]]:
        """Return the number of answers so far by status, for each source and account."""
        made = list(self._lines.items())
        return {(name, account_id): each for name, lines in made for account_id, each in lines.answers.items()}

    def transfer(self) -> Transfer:
        """Make what runs jobs in this process."""
        settings = self.settings.transfer
        store = WatchedStore(self.store, self.waits)
        return Transfer(
            store=store,
            keys=self.keys,
            line=lambda source, account_id: self.lines(source)(account_id),
            place=SpoolPlace(
                directory=settings.spool_dir, memory=settings.spool_memory, min_free_disk=settings.min_free_disk
            ),
            clock=self.clock,
            call=self.calls,
        )
