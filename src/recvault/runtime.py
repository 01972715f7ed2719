"""The composition root: a configuration becomes clients, once per process, and sources that are put to work."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from recvault import config, groundwork, wiring
from recvault.archive import KeyTemplate
from recvault.backfill import Asked, Backfill
from recvault.budgets import Budgets
from recvault.errors import ConfigError, Interrupted, RecvaultError, StoreRefused, StoreUnavailable, UnknownName
from recvault.health import Health, judge
from recvault.http import Budget, Limits
from recvault.identity import Identity, judged_stranded, tell_stranded
from recvault.ledger import Carrier, Feed, FeedStatus, Ledger, Policy, Standing, Stranded
from recvault.lines import Lines
from recvault.listing import ACCOUNTS, RECONCILE, Source
from recvault.manifests import Manifests
from recvault.meter import LineFacts, Meter, Spending, Waits
from recvault.models import ACCOUNT
from recvault.observe import get_logger
from recvault.progress import Progress
from recvault.providers.base import Provider
from recvault.report import Report
from recvault.spool import SpoolPlace
from recvault.stopping import Stop
from recvault.store import S3Store, StoreFacts
from recvault.sync import Pass, Work
from recvault.threads import Threads
from recvault.transfer import Transfer
from recvault.watched import WatchedStore

log = get_logger("recvault.runtime")

_UNREADABLE = ("GLACIER", "DEEP_ARCHIVE")  # storage classes from which nothing can be read at once
_LISTS = 4  # slices of a backfill that are listed side by side
_BESIDE = {ACCOUNTS: "the list of sub-accounts", RECONCILE: "the last reconcile"}


class Told(TypedDict, total=False):
    """Who is told what while sources are at work, and how long one that refuses is left alone."""

    meter: Meter | None
    on_change: Callable[[Report], None]
    on_found: Callable[[], None]
    rest_seconds: float


class Runtime:
    """What the commands work with. A context that closes all it opened."""

    def __init__(
        self,
        settings: config.Config,
        *,
        clock: Callable[[], datetime],
        stop: Stop | None = None,
        executor: Callable[[Runtime], Executor] | None = None,
        budget: Callable[[str, float, int], Budget] | None = None,
    ) -> None:
        wiring.hide_keys(settings)
        self.settings = settings
        self._executor = executor or threads
        self.lender = Budgets(settings.sources, self.provider, lambda key, rate, most: Limits(rate, most))
        """What each account may be asked, held here for worker processes too."""
        self._budgets: Budgets[Any] = Budgets(settings.sources, self.provider, budget) if budget else self.lender
        self.waits = Waits()
        self.beside: dict[int, Spending] = {}  # of other processes, as each told last
        self.clock = clock
        self.stop = stop or Stop()
        self.keys = KeyTemplate(settings.archive.key_template, settings.archive.prefix)
        self._open = ExitStack()
        self._ledger: Ledger | None = None
        self._store: S3Store | None = None
        self._lines: dict[str, Lines] = {}
        self._providers: dict[str, Provider] = {}
        self._making = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def ledger(self) -> Ledger:
        """The ledger, opened on first use."""
        if self._ledger is None:
            self._ledger = self.stop.attend(lambda: Ledger.open(self.settings.ledger.path, self.clock()))
            self._open.callback(self._ledger.close)
        return self._ledger

    @property
    def store(self) -> S3Store:
        """The bucket, not yet asked what it enforces: `prepare_store` does."""
        if self._store is None:
            where = self.settings.archive
            client = wiring.client(where, self.settings.transfer.workers)
            self._open.callback(client.close)
            self._store = S3Store(
                client,
                where.bucket,
                options=wiring.write_options(where),
                stop=self.stop,
                send=wiring.sender(client, where, self.stop),
                known=lambda: groundwork.schema(self.keys),
            )
        return self._store

    def lines(self, name: str) -> Lines:
        """The ways to a source's accounts, its secrets resolved on first use. ConfigError where one cannot be had."""
        with self._making:  # workers ask for it, each as it begins
            if name in self._lines:
                return self._lines[name]
            budget = self._budgets.of(name)
            self._lines[name] = wiring.lines(self.source(name), self.settings.transfer, self.stop, budget, self.waits)
            self._open.callback(self._lines[name].close)
        return self._lines[name]

    def source(self, name: str) -> config.Source:
        """A source of the configuration by its name. UnknownName where there is none."""
        for source in self.settings.sources:
            if source.name == name:
                return source
        known = ", ".join(source.name for source in self.settings.sources)
        raise UnknownName(f"no source is named {name}", f"the configuration has {known}")

    def provider(self, name: str) -> Provider:
        """A source's provider, from its plain settings: no secret is needed."""
        if name not in self._providers:
            self._providers[name] = wiring.provider(self.source(name))
        return self._providers[name]

    @property
    def has_ledger(self) -> bool:
        """Whether a ledger was ever made: questions alone do not make one."""
        return self.settings.ledger.path.exists()

    def feeds(self) -> list[FeedStatus]:
        """Every account's list as the ledger knows it, and every configured source's accounts that have none yet.

        Where the list itself is well, an error of what belongs to it is told in its place.
        """
        known = self.ledger.ask.feeds() if self.has_ledger else []
        beside = {each.feed.key[:2]: each for each in known if each.feed.list in _BESIDE and each.error}
        feeds = [_with_error(each, beside.get(each.feed.key[:2])) for each in known if each.feed.list == ACCOUNT.kind]
        met = {status.feed.key[:2] for status in feeds}
        for source in self.settings.sources:
            provider = self.provider(source.name)
            accounts = self.ledger.ask.accounts(source.name) if self.has_ledger else []
            for account_id in accounts or [provider.account_id]:
                if (source.name, account_id) not in met:
                    feed = Feed(source.name, provider.provider, account_id)
                    feeds.append(self.ledger.ask.unread(feed) if accounts else FeedStatus(feed=feed))
        return [each for each in feeds if self.is_configured(each.feed) or each.standing != Standing()]

    def judged(self, watched_since: Mapping[str, datetime]) -> list[tuple[FeedStatus, Health]]:
        """Every list of a configured source, and how it does; by source, since when it is watched.

        Before them, accounts of which recordings wait although no source lists them any more.
        """
        now, after = self.clock(), self.settings.daemon.stale_after
        found = judged_stranded(self.ledger, self.stranded(), now, after) if self.has_ledger else []
        feeds = [each for each in self.feeds() if self.is_configured(each.feed)]
        return found + [(each, self.health(each, now, watched_since.get(each.feed.source))) for each in feeds]

    def health(self, feed: FeedStatus, now: datetime, watched_since: datetime | None) -> Health:
        """How an account's list of a configured source does."""
        return judge(
            feed,
            now=now,
            watched_since=watched_since,
            poll_every=self.source(feed.feed.source).poll_every,
            stale_after=self.settings.daemon.stale_after,
            slow_after=5 * self.settings.transfer.stall_timeout,
        )

    def is_configured(self, feed: Feed) -> bool:
        """Not a list of an earlier configuration: another source or account, or sub-accounts not asked for any more."""
        named = [each for each in self.settings.sources if each.name == feed.source]
        return any(each.subaccounts or feed.account_id == self.provider(each.name).account_id for each in named)

    @cached_property
    def carriers(self) -> list[Carrier]:
        """The configured sources, as far as they decide which recordings are their own."""
        return wiring.carriers(self.settings.sources)

    def stranded(self, *, dead: bool = False) -> list[Stranded]:
        """What waits in the ledger, or is dead, and nothing that is configured will ever archive."""
        return self.ledger.succession.stranded(self.carriers, dead=dead) if self.has_ledger else []

    def line_facts(self) -> list[LineFacts]:
        """How each source that was asked so far was asked, and is."""
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

    def spending(self) -> Spending:
        """What all processes spent so far."""
        return sum(list(self.beside.values()), self.waits.spending)

    def answers(self) -> dict[tuple[str, str], Counter[str]]:
        """How often each status was answered so far, by source and account."""
        made = list(self._lines.items())
        return {(name, account_id): each for name, lines in made for account_id, each in lines.answers.items()}

    def find(self, text: str) -> list[dict[str, Any]]:
        """The ledger's rows for `ID` or `SOURCE:ID`. UnknownName where there is none."""
        source, colon, rest = text.partition(":")
        named = bool(colon) and any(each.name == source for each in self.settings.sources)
        recording_id, source_name = (rest, source) if named else (text, None)
        rows = self.ledger.ask.find(recording_id, source_name) if self.has_ledger else []
        if not rows:
            raise UnknownName(f"no recording {text} is in the ledger", "`recvault sync` registers what is listed")
        return rows

    def prepare_store(self, *, ask_again: bool = False) -> StoreFacts:
        """Put the sidecar's schema in place and learn what the store enforces: asked once, remembered in the ledger."""
        where = self.settings.archive
        ledger, store = self.ledger, self.store
        facts = self.stop.attend(lambda: groundwork.facts(store, self.keys, ledger, where, ask_again=ask_again))
        self.store.facts = facts
        return facts

    def sync(
        self,
        command: str,
        names: Iterable[str],
        on_change: Callable[[Report], None] = lambda report: None,
        meter: Meter | None = None,
    ) -> Report:
        """One pass over these sources. One that cannot even be set up is reported, the others go on."""
        names = list(names)
        with self._at_work(command, names, on_change, meter) as (work, listers, store_error):
            report = Pass(work=work, listers=listers, store_error=store_error, on_change=on_change).run()
            if {source.name for source in self.settings.sources} <= set(names):
                tell_stranded(report, self.stranded())
            return report

    def backfill(self, name: str, asked: Asked, progress: Progress | None = None) -> Report:
        """Bring home a window of a source, or what is named of it. Beside a daemon each works on what it leased."""
        told = progress or Progress()
        with self._at_work("backfill", [name], told.changed, None, lists_at_once=_LISTS) as (
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
                on_change=told.changed,
                progress=told,
            ).run()

    @contextmanager
    def _at_work(
        self,
        command: str,
        names: Sequence[str],
        on_change: Callable[[Report], None],
        meter: Meter | None,
        *,
        lists_at_once: int = 0,
    ) -> Iterator[tuple[Work, Executor, RecvaultError | None]]:
        """Sources at work, threads to list in, and what keeps the bucket from being used, if anything does."""
        report = Report(command=command, started_at=self.clock())
        self.ledger  # noqa: B018 - opened before anything else: without it nothing is begun
        sources = self.usable(names, report)
        store_error = self.store_error()
        with (
            Threads(lists_at_once or max(1, len(sources)), "discover", self.stop) as listers,
            self._executor(self) as executor,
        ):
            told = Told(meter=meter, on_change=on_change, on_found=lambda: on_change(report))
            yield self.work(sources, executor, report, **told), listers, store_error

    def work(self, sources: Sequence[Source], executor: Executor, report: Report, **told: Unpack[Told]) -> Work:
        """What lists and carries these sources' recordings."""
        processes = getattr(executor, "processes", 1)  # which worker processes say
        return Work.of(
            sources,
            ledger=self.ledger,
            executor=executor,
            transfer=self.transfer(),
            workers=wiring.places(self.settings.transfer.workers, processes),
            stop=self.stop,
            drain_timeout=self.settings.daemon.drain_timeout,
            clock=self.clock,
            report=report,
            on_accounts=Identity(ledger=self.ledger, carriers=self.carriers, stop=self.stop),
            **told,
        )

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

    def manifests(self, *, threads: int) -> Manifests:
        """What writes the manifests that are due, with so many threads to read sidecars in."""
        return Manifests(
            ledger=self.ledger,
            store=self.store,
            keys=self.keys,
            clock=self.clock,
            stop=self.stop,
            threads=threads,
            by_metadata=self.settings.archive.storage_class in _UNREADABLE,
        )

    def usable(self, names: Iterable[str], report: Report) -> list[Source]:
        """The sources that can be set up; of the others the report, the ledger and the log tell why not."""
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
        """Make the bucket ready; what stands in the way, so that sources are still listed and registered."""
        try:
            self.prepare_store(ask_again=ask_again)
            self.stop.attend(lambda: groundwork.abort_stale_uploads(self.store, self.keys, self.clock()))
        except Interrupted:
            return None  # nothing is begun any more
        except (StoreUnavailable, StoreRefused, ConfigError) as error:
            return error
        return None

    def listed(self, name: str) -> Source:
        """A source ready to be asked. ConfigError where it cannot be set up."""
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
            ),
        )


def threads(runtime: Runtime) -> Executor:
    """Carry out jobs in threads of this process: as many as there are workers, and one more a source."""
    settings = runtime.settings
    return Threads(settings.transfer.workers + len(settings.sources), "transfer", runtime.stop)


def _with_error(feed: FeedStatus, beside: FeedStatus | None) -> FeedStatus:
    if feed.error is not None or beside is None:
        return feed
    return replace(feed, error=f"{_BESIDE[beside.feed.list]}: {beside.error}", error_at=beside.error_at)
