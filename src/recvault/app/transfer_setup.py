"""What one process transfers recordings with, built from the configuration: the bucket, and the lines to its sources.

No ledger is in it: a worker process has nothing else.
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
        self._store: Bucket | None = None
        self._lines: dict[str, Connections] = {}
        self._making = threading.Lock()

    @property
    def store(self) -> Bucket:
        """The bucket, before `prepare_store` has tested what it enforces."""
        if self._store is None:
            settings = self.settings
            self._store = opened(
                settings.archive, settings.transfer, self.stop, known=lambda: bucket_setup.schema(self.keys)
            )
            self._open.callback(self._store.close)
        return self._store

    def lines(self, name: str) -> Connections:
        """The ways to a source's accounts, its secrets resolved on first use. ConfigError where one cannot be had."""
        with self._making:  # each worker tests it when it starts
            if name in self._lines:
                return self._lines[name]
            budget = self._budgets.of(name)
            self._lines[name] = wiring.lines(self.source(name), self.settings.transfer, self.stop, budget, self.waits)
            self._open.callback(self._lines[name].close)
        return self._lines[name]

    def budget_at(self, key: str) -> Any:
        """An account's budget, by the name that the process which holds it has for it."""
        return self._budgets.at(key)

    def spending(self) -> Spending:
        """What this process spent so far."""
        return self.waits.spending

    def answers(self) -> dict[tuple[str, str], Counter[str]]:
        """How often each status was answered so far, by source and account."""
        made = list(self._lines.items())
        return {(name, account_id): each for name, lines in made for account_id, each in lines.answers.items()}

    def transfer(self) -> Transfer:
        """What carries out a job in this process."""
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
        )
