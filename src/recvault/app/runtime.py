"""The composition root: a configuration becomes clients, once per process, and sources in use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from datetime import datetime

from recvault import config
from recvault.app import bucket_setup, wiring
from recvault.app.budgets import Budgets
from recvault.app.source_status import Inquiry
from recvault.app.transfer_setup import Equipment
from recvault.custody import Records, honour
from recvault.discovery.identity import Identity, tell_stranded
from recvault.discovery.source import Source
from recvault.dispatch.backfill import Asked, Backfill
from recvault.dispatch.call_desk import CallDesk
from recvault.dispatch.calls_writer import LateCalls
from recvault.dispatch.sync_pass import Pass, Work
from recvault.dispatch.thread_pool import Threads
from recvault.errors import (
    ConfigError,
    EngineLost,
    Interrupted,
    KeyRefused,
    RecvaultError,
    StoreRefused,
    StoreUnavailable,
)
from recvault.http import Limits, Session
from recvault.ledger import Feed, Policy, running_daemon
from recvault.log.lines import get_logger, redact_text
from recvault.log.meter import LineFacts, Spending
from recvault.monitoring.observer import Observer
from recvault.monitoring.progress import Progress
from recvault.monitoring.report import Report
from recvault.monitoring.verdict import BUCKET_ERROR
from recvault.providers.calls import lists_calls
from recvault.shutdown import Stop
from recvault.store import StoreFacts

log = get_logger("recvault.app.runtime")

_CALLS_SECONDS = 30.0  # at the end of a pass, for the list of calls to be read
_LISTS = 4  # slices of a backfill that are listed in parallel


class Runtime(Equipment, Inquiry):
    """What the commands work with: everything of this process, and what it shares with worker processes."""

    def __init__(
        self,
        settings: config.Config,
        *,
        clock: Callable[[], datetime],
        stop: Stop | None = None,
        executor: Callable[[Runtime], Executor] | None = None,
    ) -> None:
        super().__init__(settings, clock=clock, stop=stop, budget=lambda key, rate, most: Limits(rate, most))
        self._executor = executor or threads
        self.beside: dict[int | str, Spending] = {}  # of other processes, as last reported

    @property
    def lender(self) -> Budgets[Limits]:
        """The budget of each account, held here for worker processes too."""
        return self._budgets

    def spending(self) -> Spending:
        """Return what all processes spent so far."""
        return sum(list(self.beside.values()), super().spending())

    def line_facts(self) -> list[LineFacts]:
        """Return the answers and the present limits of each source used so far."""
        return [
            LineFacts(
                source=name,
                answers=sum(lines.answers.values(), Counter()),
                concurrency=(standing := lines.limits.standing).concurrency,
                max_concurrency=self.source(name).max_concurrency,
                held_by=standing.held_by,
            )
            for name, lines in list(self._lines.items())
        ]

    def prepare_store(self, *, ask_again: bool = False, make: bool = False) -> StoreFacts:
        """Put the sidecar schema and test what the store enforces, once; the ledger remembers it."""
        where = self.settings.archive
        ledger, store = self.ledger, self.store
        facts = self.stop.attend(
            lambda: bucket_setup.facts(store, self.keys, ledger, where, ask_again=ask_again, make=make)
        )
        self.store.facts = facts
        return facts

    def note_archive(self) -> None:
        """Remember in the ledger that this bucket has an archive, e.g. after a rebuild."""
        bucket_setup.note_begun(self.ledger, self.settings.archive)

    def sync(
        self,
        command: str,
        names: Iterable[str],
        observer: Observer | None = None,
    ) -> Report:
        """Run one pass over these sources. A source that cannot be set up is reported, the others continue."""
        names = list(names)
        with self._at_work(command, names, observer or Observer()) as (work, listers, store_error):
            report = Pass(work=work, listers=listers, store_error=store_error).run()
            if {source.name for source in self.settings.sources} <= set(names):
                tell_stranded(report, self.stranded())
            return report

    def backfill(self, name: str, asked: Asked, progress: Progress | None = None) -> Report:
        """Archive a time range of a source, or single calls, rooms or recordings. Beside a daemon, each works on what
        it leased.
        """
        told = progress or Progress()
        with self._at_work("backfill", [name], told, lists_at_once=_LISTS) as (
            work,
            listers,
            store_error,
        ):
            if not work.sources:
                return work.complete()
            return Backfill(
                work=work,
                asked=asked,
                listers=listers,
                threads=_LISTS,
                store_error=store_error,
                progress=told,
            ).run()

    @contextmanager
    def _at_work(
        self,
        command: str,
        names: Sequence[str],
        observer: Observer,
        *,
        lists_at_once: int = 0,
    ) -> Iterator[tuple[Work, Executor, RecvaultError | None]]:
        """Set up sources, threads for listing, and the bucket; yield what is needed, and the bucket's error, if any."""
        report = Report(command=command, started_at=self.clock())
        self.ledger  # noqa: B018 - opened before anything else: without it nothing is begun
        sources = self.usable(names, report)
        store_error = self.store_error()
        if store_error is None:
            self.honour_erasures()
        with (
            Threads(lists_at_once or max(1, len(sources)), "discover", self.stop) as listers,
            self._executor(self) as executor,
        ):
            work = self.work(sources, executor, report, observer)
            try:
                yield work, listers, store_error
            except EngineLost:
                self.stop.asked.set()  # ends listing, too: nothing would transfer what it finds
                raise
            finally:
                work.end_calls(0.0 if self.stop.asked.is_set() or store_error else _CALLS_SECONDS)
        if running_daemon(self.settings.ledger.path) is None:  # a daemon says so itself
            self.note_bucket(work.outcomes.trouble)

    def note_bucket(self, error: str | None) -> None:
        """Remember whether the bucket could be used, for `status` while no daemon runs."""
        noted = redact_text(error or "")
        with suppress(RecvaultError):  # of the ledger: the pass itself is over
            if (self.ledger.fact(BUCKET_ERROR) or "") != noted:
                self.ledger.remember(BUCKET_ERROR, noted)

    def work(
        self,
        sources: Sequence[Source],
        executor: Executor,
        report: Report,
        observer: Observer,
        rest_seconds: float = math.inf,
        *,
        asks_calls: bool = True,
    ) -> Work:
        """Make what lists these sources and transfers their recordings. `asks_calls`: and asks who called whom."""
        workers, least = self.settings.transfer.workers, getattr(executor, "least", 0)
        processes = getattr(executor, "processes", 1)  # only worker processes have several
        work = Work.of(
            sources,
            ledger=self.ledger,
            executor=executor,
            transfer=self.transfer(),
            workers=wiring.places(workers, processes, least),
            stop=self.stop,
            drain_timeout=self.settings.daemon.drain_timeout,
            clock=self.clock,
            report=report,
            on_accounts=Identity(ledger=self.ledger, carriers=self.carriers, stop=self.stop),
            observer=observer,
            rest_seconds=rest_seconds,
            calls=self.call_desk(sources) if asks_calls else None,
        )
        if (on_width := getattr(executor, "on_width", None)) is not None:  # if workers come and go
            on_width(lambda processes: work.dispatch.widen(wiring.places(workers, processes, least)))
        return work

    def call_desk(self, sources: Iterable[Source]) -> CallDesk | None:
        """Make what asks for the calls of these sources; None if none of them has a list of calls to ask for."""
        asked = {source.name: source for source in sources if source.policy.call_facts}
        if not asked:
            return None

        def session(name: str, account_id: str, stop: Stop) -> Session:
            return self.lines(name).calls(account_id, self.source(name).requests_per_second, stop)

        return CallDesk(
            sources=asked,
            ledger=self.ledger,
            memory=self.calls,
            session=session,
            late_calls=lambda: LateCalls(store=self.store, prefix=self.keys.prefix, clock=self.clock),
            clock=self.clock,
            stop=Stop(pulse=self.stop.pulse),
        )

    def usable(self, names: Iterable[str], report: Report) -> list[Source]:
        """Return the sources that can be set up; report, ledger and log say why the others cannot."""
        self.ledger.succession.begin(self.carriers, self.stop.asked.wait)
        sources = []
        for name in names:
            try:
                sources.append(self.listed(name))
            except ConfigError as error:
                provider = self.provider(name)
                feed = Feed(name, provider.provider, provider.account_id)
                report.failed(name, feed.provider, feed.account_id, str(error), error.exit_code)
                self.ledger.note_scan_error(feed, str(error), self.clock())
                log.error("source.unusable", source=name, error=str(error))
        return sources

    def store_error(self, *, ask_again: bool = False) -> RecvaultError | None:
        """Prepare the bucket; return the error, if any, so that sources can still be listed and registered."""
        try:
            self.prepare_store(ask_again=ask_again)
            self.stop.attend(lambda: bucket_setup.clear_unfinished(self.store, self.keys, self.clock()))
        except Interrupted:
            return None  # nothing new is started
        except (StoreUnavailable, StoreRefused, ConfigError) as error:
            return error
        return None

    @property
    def records(self) -> Records:
        """Custody's records in the bucket."""
        return Records(store=self.store, prefix=self.keys.prefix)

    def honour_erasures(self) -> None:
        """Honour the bucket's tombstones, at the start of a pass.

        If the bucket cannot be read, nothing is put either, and the next pass asks again.
        """
        try:
            self.stop.attend(lambda: honour(self.ledger, self.records, self.clock()))
        except Interrupted:
            return
        except (StoreUnavailable, StoreRefused, KeyRefused, ConfigError) as error:
            log.warning("erasures.unread", error=str(error))

    def listed(self, name: str) -> Source:
        """Return a source ready for requests. ConfigError if it cannot be set up."""
        source, lines = self.source(name), self.lines(name)
        transfer = self.settings.transfer
        return Source(
            name=name,
            line=lines,
            account_id=lines.provider.account_id,
            subaccounts=source.subaccounts,
            start_from=source.start_from,
            names_account=wiring.names_account(source),
            lookback=source.lookback,
            policy=Policy(
                max_attempts=transfer.max_attempts,
                retry_base=transfer.retry_base,
                retry_max=transfer.retry_max,
                recheck_every=source.recheck_every,
                give_up_after=source.give_up_after,
                call_facts=source.call_facts and lists_calls(lines.provider),
            ),
        )


def threads(runtime: Runtime) -> Executor:
    """Make an executor in this process: as many threads as workers, and one more per source."""
    settings = runtime.settings
    return Threads(settings.transfer.workers + len(settings.sources), "transfer", runtime.stop)
