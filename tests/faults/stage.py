"""The stage of a history: an account at a simulated provider, a bucket, a ledger's file, and passes that are struck.

All runs in one thread, so that effects have a fixed order. A crash drops all memory; the next pass opens the ledger
anew. Other strikes: the provider changes, time passes, another list is polled during a transfer, or another process
runs a whole pass.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crash.effects import LOOKBACK, NOW, Crash, Inline, _die
from faults.near import Honest, NearClients, NearSimulator, NoLimits
from faults.steps import (
    Backfill,
    Delete,
    Grow,
    LoseLedger,
    Reconcile,
    Row,
    Scene,
    Skew,
    Step,
    Strike,
    Sync,
    Trouble,
    Wait,
)
from faults.struck import StruckStore
from recvault.archive import KeyTemplate
from recvault.discovery.identity import Identity
from recvault.discovery.source import Source
from recvault.dispatch.backfill import Asked
from recvault.dispatch.backfill import Backfill as BackfillRun
from recvault.dispatch.sync_pass import Pass, Work
from recvault.errors import LedgerLocked
from recvault.http import Session, Timing
from recvault.ledger import Carrier, Ledger, Policy
from recvault.ledger.connection import Connection
from recvault.models import ACCOUNT, Window
from recvault.monitoring.report import Report
from recvault.providers import provider_class
from recvault.providers.base import readable_apis
from recvault.shutdown import Stop
from recvault.simulator import SimRecording
from recvault.simulator.switches import Switches
from recvault.store import ObjectStore
from recvault.testing import MemoryStore
from recvault.transfer.archive_recording import Transfer
from recvault.transfer.fetch import Line
from recvault.transfer.spool import SpoolPlace

PROVIDERS = {
    "voice": ("twilio", "twilio"),
    "legacy": ("twilio-legacy", "twilio"),
    "video": ("twilio-video", "twilio"),
    "telnyx": ("telnyx", "telnyx"),
    "signalwire": ("signalwire", "signalwire"),
}
POLICY = Policy(retry_base=timedelta(seconds=1), retry_max=timedelta(seconds=1))
NEW = Row(age=0)
COVERED = LOOKBACK  # the latest listing of a row


@dataclass
class Stage:
    """What survives a crash, and what strikes."""

    directory: Path
    scene: Scene
    bucket: MemoryStore = field(default_factory=MemoryStore)
    now: datetime = NOW  # the provider's clock
    skew: timedelta = timedelta()  # of our clock
    has_begun: bool = False
    lost_ledger: bool = False
    of_lost_ledgers: set[str] = field(default_factory=set)  # keys whose content nothing proves any more
    tardy: set[str] = field(default_factory=set)  # ids listed later than any lookback covers
    ways: list[str] = field(default_factory=list)  # the effects of the last pass
    policy: Policy = POLICY
    duration_seconds: float = 0.05  # of each recording
    names: dict[str, str] = field(default_factory=dict)  # of sources, by list, if they differ
    _strikes: list[Strike] = field(default_factory=list)
    _put_off: list[Strike] = field(default_factory=list)  # until no transaction is open
    _ledger: Ledger | None = None
    _providers: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.simulator = NearSimulator(seed=5)
        self.simulator.start()
        self.simulator.set_now(self.now)
        order: Any = self.scene.order
        self.simulator.switches = Switches(
            telnyx_order=order, video_order=order, telnyx_visible="creation", signalwire_created_at="start"
        )
        kind: Any = PROVIDERS[self.scene.lists[0]][1]
        self.account = self.simulator.add_account(kind)
        self.api: Any = "voice" if "legacy" in self.scene.lists else self.scene.lists[0]
        self.clients = NearClients(self.simulator, self.effect, self.between)
        self.start_from = None
        if self.scene.start_from is not None:
            self.start_from = NOW - timedelta(minutes=self.scene.start_from)
        self.turn_to_pages_of(self.scene.page_size)

    @property
    def path(self) -> Path:
        return self.directory / "ledger.db"

    @property
    def store(self) -> ObjectStore:
        """The store that passes write to."""
        return self.bucket

    def clock(self) -> datetime:
        return self.now + self.skew

    def between(self, kind: str, request: Any, honest: Honest) -> Any:
        """What is between a client and its provider: nothing."""
        return honest()

    # -- steps ---------------------------------------------------------------------------------------------------------

    def play(self, step: Step) -> None:
        """Play one step of a history."""
        match step:
            case Grow(rows):
                for row in rows:
                    self.grow(row)
            case Delete(which):
                self.delete(which)
            case Wait(minutes):
                self.wait(timedelta(minutes=minutes))
            case Skew(minutes):
                self.skew = timedelta(minutes=minutes)
            case Trouble(fault, kind, skip):
                self.simulator.faults.plan(fault, times=2, kind=kind, skip=skip)  # type: ignore[arg-type]
            case LoseLedger():
                self.lost_ledger = True
                self.of_lost_ledgers = set(self.bucket.objects)
                for path in self.directory.glob("ledger.db*"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            case _:
                self._strikes = list(step.strikes)
                self.passes(step)
                self._strikes, self._put_off = [], []

    def grow(self, row: Row) -> SimRecording:
        created = self.now - timedelta(minutes=row.age)
        visible = max(self.now if self.has_begun else created, created + timedelta(minutes=row.late))
        final: Any = row.kind if row.kind in ("absent", "failed") else "completed"
        malformed: Any = row.kind if row.kind.endswith("date") else None
        completed = created + timedelta(minutes=row.unfinished)
        made = self.simulator.add(
            self.account,
            self.api,
            created_at=created,
            visible_at=visible,
            completed_at=completed,
            media_ready_at=completed + timedelta(minutes=row.lag),
            duration_seconds=self.duration_seconds,
            channels=row.channels,
            status_final=final,
            encrypted=row.kind == "encrypted",
            external_location="s3://theirs/a.wav" if row.kind == "external" else None,
            malformed=malformed,
        )
        if visible - created > COVERED and (self.has_begun or visible > self.now):
            self.tardy.add(made.recording_id)
        return made

    def delete(self, which: int) -> None:
        live = [each for each in self.simulator.recordings(self.account) if each.listed(self.now)]
        if live:
            self.simulator.delete(live[which % len(live)])

    def wait(self, time: timedelta) -> None:
        self.now += time
        self.simulator.set_now(self.now)

    # -- passes --------------------------------------------------------------------------------------------------------

    def passes(self, step: Sync | Backfill | Reconcile) -> Report | None:
        """Run one pass; None if it crashed or the ledger failed."""
        self.has_begun, self.ways = True, []
        ledger = None
        before = self._ledger
        if not self.path.exists():
            self.path.write_bytes(_empty_ledger())
        try:
            self._ledger = ledger = Ledger.open(self.path, self.clock())
            report = self._run(ledger, step)
            ledger.close()
            return report
        except (Crash, LedgerLocked) as end:
            if ledger is not None:
                _die(ledger, tidily=isinstance(end, LedgerLocked))
            return None
        finally:
            self._ledger = before

    def _run(self, ledger: Ledger, step: Sync | Backfill | Reconcile) -> Report:
        if isinstance(step, Backfill):
            name = self.scene.lists[step.which % len(self.scene.lists)]
            days = (None if each is None else self.clock() - timedelta(days=each) for each in (step.since, step.until))
            asked = Asked(window=Window(*days))
            return BackfillRun(work=self._work(ledger, [name]), asked=asked, listers=Inline(), threads=1).run()
        work = self._work(ledger, self.scene.lists)
        if isinstance(step, Reconcile):
            for source in work.sources:
                window = Window(since=self.clock() - timedelta(days=step.days))
                work.listing.reconcile(source, source.account_id, window)
        return Pass(work=work, listers=Inline()).run()

    def _work(self, ledger: Ledger, names: Any) -> Work:
        stop = Stop()
        made: dict[str, Line] = {self.name(each): self._line(each, stop) for each in self.scene.lists}
        transfer = Transfer(
            store=StruckStore(self.store, self.effect),
            keys=KeyTemplate(),
            line=lambda source, account_id: made[source],
            place=SpoolPlace(directory=self.directory, memory=1 << 20, min_free_disk=0),
            clock=self.clock,
        )
        work = Work.of(
            [self._source(name, made[name]) for name in map(self.name, names)],
            ledger=ledger,
            executor=Inline(),
            transfer=transfer,
            workers=2,
            stop=stop,
            drain_timeout=timedelta(seconds=5),
            clock=self.clock,
            report=Report(command="sync", started_at=self.clock()),
        )
        carriers = [_carrier(name, line) for name, line in made.items()]
        ledger.succession.begin(carriers, stop.asked.wait)
        identity = Identity(ledger=ledger, carriers=carriers, stop=stop)
        return replace(work, listing=replace(work.listing, on_accounts=identity))

    def _source(self, name: str, line: Line) -> Source:
        return Source(
            name=name,
            line=lambda account_id: line,
            account_id=line.provider.account_id,
            subaccounts=False,
            start_from=self.start_from,
            lookback=LOOKBACK,
            policy=self.policy,
        )

    def name(self, each: str) -> str:
        """Return the current name of a list's source."""
        return self.names.get(each, each)

    def _line(self, name: str, stop: Stop) -> Line:
        provider, authorization = self._providers[name]
        clients: Any = self.clients
        timing = Timing(tries=2, backoff_base=0.0, backoff_most=0.0)
        limits: Any = NoLimits()
        session = Session(
            provider.base_url,
            authorization,
            clients,
            limits,
            stop,
            timing,
            own_list=lambda: provider.list_request(Window(since=self.now - timedelta(hours=1)), ACCOUNT),
        )
        return Line(provider, session, ("wav",))

    def turn_to_pages_of(self, size: int) -> None:
        """Let lists have pages of this many rows from now on."""
        values = {**self.account.credentials, "base_url": self.simulator.base_url}
        self._providers = {}
        for name in self.scene.lists:
            known = _paged(PROVIDERS[name][0], size)
            self._providers[name] = (known.from_settings(name, values), known.authorization(values))

    # -- strikes -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def effect(self, kind: str, error: Callable[[], Exception]) -> Iterator[None]:
        """Run an effect, with the strikes planned before and after it."""
        self.ways.append(kind)
        due = [strike for strike in self._strikes if strike.at == len(self.ways)]
        may_act = kind != "ledger"
        for strike in [each for each in due if not each.after] + (self._put_off if may_act else []):
            self._strike(strike, error, may_act=may_act)
        yield
        for strike in [each for each in due if each.after]:
            self._strike(strike, error, may_act=may_act)

    def _strike(self, strike: Strike, error: Callable[[], Exception], *, may_act: bool) -> None:
        for waiting in (self._strikes, self._put_off):
            if strike in waiting:
                waiting.remove(strike)
        if strike.act == "crash":
            raise Crash
        if strike.act == "error":
            raise error()
        if not may_act:
            self._put_off.append(strike)
            return
        held, self._strikes, ways = self._strikes, [], self.ways
        try:
            self._act(strike)
        finally:
            self._strikes, self.ways = held, ways

    def _act(self, strike: Strike) -> None:
        match strike.act:
            case "grow":
                self.grow(NEW)
            case "delete":
                self.delete(strike.which)
            case "swap":
                self.delete(strike.which)
                self.grow(Row(age=strike.which * 100))
            case "wait":
                self.wait(timedelta(minutes=1 + strike.which))
            case "poll" if self._ledger is not None:
                work = self._work(self._ledger, self.scene.lists)
                source = work.sources[strike.which % len(work.sources)]
                work.listing.poll(source, source.account_id)
            case "beside":
                self.passes(Sync())


def _carrier(name: str, line: Line) -> Carrier:
    provider = line.provider
    return Carrier(
        source=name,
        provider=provider.provider,
        api=provider.api,
        apis=readable_apis(provider),
        account_id=provider.account_id,
    )


@functools.cache
def _empty_ledger() -> bytes:
    """A new ledger's file, shared because making one costs more than a short history."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.db"
        Connection(path).close()
        return path.read_bytes()


@functools.cache
def _paged(word: str, size: int) -> Any:
    known = provider_class(word)
    return type(known.__name__, (known,), {"page_size": size, "__slots__": ()})
