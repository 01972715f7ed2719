"""The effects of a pass, named and countable (requests, puts, ledger writes), and faults planned for them.

A pass runs here in one thread, so that effects have a fixed order. A fault is planned for the moment before or after
an effect. A crash drops all memory: the next pass opens the ledger anew and finds what was committed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from recvault.archive import KeyTemplate
from recvault.discovery.source import Source
from recvault.dispatch.sync_pass import Pass, Work
from recvault.errors import LedgerLocked, StoreUnavailable, Unavailable
from recvault.http import AddressRule, Clients, Limits, Session, Timing
from recvault.ledger import Ledger, Policy
from recvault.ledger.connection import Connection
from recvault.monitoring.report import Report
from recvault.providers import provider_class
from recvault.providers.base import Provider
from recvault.shutdown import Stop
from recvault.simulator import SimAccount, Simulator
from recvault.store import SMALL_MOST, Put, Stored
from recvault.testing import MemoryStore
from recvault.transfer.archive_recording import Transfer
from recvault.transfer.fetch import Line
from recvault.transfer.spool import SpoolPlace

NAME = "main"
NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
LOOKBACK = timedelta(hours=26)
MOST_PASSES = 8


class Crash(BaseException):
    """The death of the process: not caught, no cleanup."""


@dataclass(frozen=True)
class Fault:
    """At which effect, before or after it, and whether the process dies or only the effect fails."""

    effect: str
    side: str  # before | after
    kind: str  # crash | error


@dataclass
class Effects:
    """Names each effect, and fails where a fault is planned."""

    fault: Fault | None = None
    seen: list[str] = field(default_factory=list)
    struck: bool = False

    @contextlib.contextmanager
    def effect(self, kind: str, error: Callable[[], Exception]) -> Iterator[None]:
        name = f"{kind}#{sum(each.partition('#')[0] == kind for each in self.seen) + 1}"
        self.seen.append(name)
        self._strike(name, "before", error)
        yield
        self._strike(name, "after", error)

    def _strike(self, name: str, side: str, error: Callable[[], Exception]) -> None:
        if self.fault is None or self.struck or (self.fault.effect, self.fault.side) != (name, side):
            return
        self.struck = True
        raise Crash(name) if self.fault.kind == "crash" else error()


@dataclass
class WatchedStore:
    """A bucket whose puts are effects. Reads are none, as they change nothing."""

    bucket: MemoryStore
    effects: Effects

    def put(self, put: Put) -> bool:
        with self.effects.effect(f"put {put.key.rpartition('.')[2]}", lambda: StoreUnavailable("planned")):
            return self.bucket.put(put)

    def head(self, key: str) -> Stored | None:
        return self.bucket.head(key)

    def get(self, key: str, most: int = SMALL_MOST) -> bytes | None:
        return self.bucket.get(key, most)

    def stream(self, key: str) -> Iterator[bytes]:
        return self.bucket.stream(key)

    def list(self, prefix: str) -> Iterator[Stored]:
        return self.bucket.list(prefix)


class Inline(Executor):
    """Runs submitted work at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@dataclass
class World:
    """What survives a crash: the provider, the bucket, the ledger's file, and the time."""

    directory: Path
    simulator: Simulator
    account: SimAccount
    provider_name: str = "twilio"
    bucket: MemoryStore = field(default_factory=MemoryStore)
    now: datetime = NOW

    @property
    def provider(self) -> Provider:
        values = {"base_url": self.simulator.base_url, **self.account.credentials}
        return provider_class(self.provider_name).from_settings(NAME, values)

    def run(self, effects: Effects) -> Report | None:
        """Run one pass; None if it crashed or the ledger failed."""
        stop = Stop()
        provider = self.provider
        rule = AddressRule.of(self.simulator.base_url, [self.simulator.media_host])
        clients, limits = Clients(rule, 5.0), Limits(100_000, 8)
        authorization = provider.authorization(self.account.credentials)
        timing = Timing(tries=2, backoff_base=0.0, backoff_most=0.0)
        session = Session(provider.base_url, authorization, clients, limits, stop, timing)
        line = Line(provider, session, ("wav",))
        with _watched_requests(effects), _watched_ledger(effects):
            ledger = None
            try:
                ledger = Ledger.open(self.directory / "ledger.db", self.now)
                report = self._pass(ledger, line, stop, effects).run()
                ledger.close()
                return report
            except (Crash, LedgerLocked) as end:
                if ledger is not None:
                    _die(ledger, tidily=isinstance(end, LedgerLocked))
                return None
            finally:
                clients.close()

    def _pass(self, ledger: Ledger, line: Line, stop: Stop, effects: Effects) -> Pass:
        store = WatchedStore(self.bucket, effects)
        source = Source(
            name=NAME,
            line=lambda account_id: line,
            account_id=line.provider.account_id,
            subaccounts=False,
            start_from=None,
            lookback=LOOKBACK,
            policy=Policy(retry_base=timedelta(seconds=1), retry_max=timedelta(seconds=1)),
        )
        transfer = Transfer(
            store=store,
            keys=KeyTemplate(),
            line=lambda source, account_id: line,
            place=SpoolPlace(directory=self.directory, memory=1 << 20, min_free_disk=0),
            clock=lambda: NOW,
        )
        work = Work.of(
            [source],
            ledger=ledger,
            executor=Inline(),
            transfer=transfer,
            workers=2,
            stop=stop,
            drain_timeout=timedelta(seconds=5),
            clock=lambda: self.now,
            report=Report(command="sync", started_at=self.now),
        )
        return Pass(work=work, listers=Inline())

    def settle(self) -> None:
        """Run passes without faults until nothing is open."""
        for _ in range(MOST_PASSES):
            self.now += timedelta(minutes=1)
            report = self.run(Effects())
            if report is not None and report.exit_code == 0:
                return
        raise AssertionError(f"the passes after the fault never came to an end: {report and report.document()}")


def _die(ledger: Ledger, *, tidily: bool) -> None:
    """Do what the kernel does for a killed process: locks and the open transaction are gone, files stay."""
    if tidily:
        ledger.close()
        return
    os.close(ledger._owner._lock)
    ledger._connection.close()


@contextlib.contextmanager
def _watched_requests(effects: Effects) -> Iterator[None]:
    send, download = Session._send_once, Session._download_once

    def watched_send(self: Session, request: Any, kind: str) -> Any:
        with effects.effect("request", lambda: Unavailable("planned")):
            return send(self, request, kind)

    def watched_download(self: Session, request: Any, receive: Any, signed: bool) -> Any:
        with effects.effect("download", lambda: Unavailable("planned")):
            return download(self, request, receive, signed)

    with (
        mock.patch.object(Session, "_send_once", watched_send),
        mock.patch.object(Session, "_download_once", watched_download),
    ):
        yield


@contextlib.contextmanager
def _watched_ledger(effects: Effects) -> Iterator[None]:
    write = Connection.write

    @contextlib.contextmanager
    def watched(self: Connection) -> Iterator[Any]:
        with effects.effect("ledger", lambda: LedgerLocked("planned")), write(self) as db:
            yield db

    with mock.patch.object(Connection, "write", watched):
        yield
