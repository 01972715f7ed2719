"""A source's lines to its accounts: a session for each; they share the source's connections and limits."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from recvault.http import Aside, Budget, Clients, RequestCount, Session, Timing, Tokens
from recvault.log.meter import Waits
from recvault.media.assess import Proof
from recvault.models import ACCOUNT, Window
from recvault.providers.base import Provider, own_origins
from recvault.shutdown import Stop
from recvault.transfer.fetch import Line

_CALLS_TRIES, _CALLS_SECONDS = 3, 60.0  # of a page of calls, and for its whole answer
_DELETE_TRIES = 3  # of a deletion: one that stays uncertain is asked for
_SHORT = timedelta(hours=1)  # for a list request that only tests for an answer


@dataclass(slots=True)
class Connections:
    """One source's lines, each made on first use. Thread-safe."""

    provider: Provider
    authorization: str | Tokens = field(repr=False)
    clients: Clients
    limits: Budget
    timing: Timing
    formats: tuple[str, ...]
    stop: Stop
    proof: Proof = field(default_factory=Proof)
    waits: Waits = field(default_factory=Waits, repr=False)
    max_attempts: int = 12
    give_up_after: timedelta = timedelta(days=3)
    call_facts: bool = True
    _made: dict[str, Line] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, account_id: str) -> Line:
        """Return the line to an account, made on first use."""
        with self._lock:
            if account_id not in self._made:
                self._made[account_id] = self._make(account_id)
            return self._made[account_id]

    def _make(self, account_id: str) -> Line:
        provider: Provider = replace(self.provider, account_id=account_id)  # type: ignore[type-var]
        session = Session(
            self.provider.base_url,
            self.authorization,
            self.clients,
            self.limits,
            self.stop,
            self.timing,
            waits=self.waits,
            own_origins=own_origins(provider),
            own_list=lambda: provider.list_request(Window(since=datetime.now(UTC) - _SHORT), ACCOUNT),
        )
        return Line(provider, session, self.formats, self.proof, self.max_attempts, self.give_up_after, self.call_facts)

    def calls(self, account_id: str, rate: float, stop: Stop) -> Session:
        """Return a session for an account's list of calls, whose answers must not slow down recordings."""
        timing = replace(self.timing, tries=_CALLS_TRIES, reply_deadline=_CALLS_SECONDS)
        return self._aside(self(account_id).session, rate, stop, timing)

    def deletions(self, account_id: str, rate: float, stop: Stop) -> Session:
        """Return a session for deletions, with a pace of its own: refusals slow down neither lists nor media."""
        timing = replace(self.timing, tries=_DELETE_TRIES)
        return self._aside(self(account_id).session, rate, stop, timing, has_list=True)

    def _aside(self, own: Session, rate: float, stop: Stop, timing: Timing, *, has_list: bool = False) -> Session:
        """Return a session beside an account's own one: paced apart from it, and counted with it."""
        return Session(
            self.provider.base_url,
            self.authorization,
            self.clients,
            Aside(self.limits, rate),
            stop,
            timing,
            own.own_list if has_list else None,
            count=RequestCount(own.count),
        )

    def close(self) -> None:
        """Close every connection."""
        self.clients.close()

    @property
    def answers(self) -> dict[str, Counter[str]]:
        """Number of answers so far, by account and status."""
        with self._lock:
            return {account_id: line.session.count.answers for account_id, line in self._made.items()}
