"""A source's ways to its accounts: a session for each, which share the source's connections and limits."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace

from recvault.fetch import Line
from recvault.http import Clients, Limits, Session, Standing, Timing
from recvault.proof import Proof
from recvault.providers.base import Provider
from recvault.stopping import Stop


@dataclass(slots=True)
class Lines:
    """One source's lines, each made on first use. Thread-safe."""

    provider: Provider
    authorization: str = field(repr=False)
    clients: Clients
    limits: Limits
    timing: Timing
    formats: tuple[str, ...]
    stop: Stop
    proof: Proof = field(default_factory=Proof)
    beside: dict[int, Standing] = field(default_factory=dict)  # in other processes, as each told last
    _made: dict[str, Line] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, account_id: str) -> Line:
        """The line to an account, made on first use."""
        with self._lock:
            if account_id not in self._made:
                self._made[account_id] = self._make(account_id)
            return self._made[account_id]

    def _make(self, account_id: str) -> Line:
        session = Session(self.provider.base_url, self.authorization, self.clients, self.limits, self.stop, self.timing)
        return Line(replace(self.provider, account_id=account_id), session, self.formats, self.proof)  # type: ignore[type-var]

    def close(self) -> None:
        """Close every connection."""
        self.clients.close()

    @property
    def standing(self) -> Standing:
        """How many requests may run at once in all processes, and what holds that down in any."""
        every = [self.limits.standing, *list(self.beside.values())]
        return Standing(sum(each.concurrency for each in every), next(filter(None, (e.held_by for e in every)), None))

    @property
    def answers(self) -> dict[str, Counter[str]]:
        """How often each status was answered so far, by account."""
        with self._lock:
            return {account_id: line.session.answers for account_id, line in self._made.items()}
