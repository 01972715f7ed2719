"""The work of one configuration: polls on schedule, and meanwhile transfers of whatever is due.

Listing and transferring never wait for each other: each source has its own threads for listing, and one loop claims
what is due. Opened, started, stopped, joined, closed: in that order, once.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from recvault import config
from recvault.app.runtime import Runtime
from recvault.daemon.hint_desk import HintDesk, opened_desk
from recvault.daemon.manifest_job import LOOK_EVERY, ManifestJob
from recvault.daemon.schedule import Schedule
from recvault.discovery.source import Source
from recvault.dispatch.sync_pass import Work
from recvault.errors import ConfigError, LedgerDamaged, LedgerLocked, LedgerUnavailable, RecvaultError
from recvault.ledger import RECONCILE, FeedStatus
from recvault.ledger.uncalled import SOON
from recvault.log.lines import get_logger
from recvault.models import Window
from recvault.monitoring.health import Health
from recvault.monitoring.metrics import Metrics
from recvault.monitoring.observer import Observer, Observers
from recvault.monitoring.report import Report
from recvault.monitoring.risks import Reason, Risk
from recvault.monitoring.verdict import Judgement
from recvault.providers.calendar import moment_before
from recvault.workers.executors import of_daemon

log = get_logger("recvault.daemon.service")

_LISTERS = 4  # threads a source: its own list, its sub-accounts' and a reconcile
_IDLE_SECONDS = 1.0  # between two checks for due work, if nothing is known to be due
_REST_SECONDS = 60.0  # for which refused credentials, or a bucket that takes nothing, are not tried again
_GRACE_SECONDS = 10.0  # after drain_timeout, to store the outcomes of aborted transfers
_LEASES_EVERY = timedelta(minutes=1)
_RECONCILE_LOOK = timedelta(hours=1)  # at most, between two looks whether a reconcile is due
_SILENT_SECONDS = 900.0  # without progress of a thread: each of its waits is far shorter


class DaemonService:
    """The daemon's work with one configuration, from `open` to `close`."""

    def __init__(
        self,
        settings: config.Config,
        *,
        clock: Callable[[], datetime],
        report: Report,
        metrics: Metrics,
        watched_since: Mapping[str, datetime] | None = None,
        earlier: Runtime | None = None,
    ) -> None:
        self.settings = settings
        self.runtime = Runtime(settings, clock=clock)
        self.fatal: RecvaultError | None = None  # the error that ended it
        self._clock = clock
        self._report = report
        self._metrics = metrics
        if earlier is not None:  # it drains in parallel: both share one request budget per account
            self.runtime.lender.take_over(earlier.lender)
        now, known = clock(), watched_since or {}
        self.watched_since = {source.name: known.get(source.name, now) for source in settings.sources}
        self._executor = of_daemon(self.runtime)
        self._schedule = Schedule(self.runtime.stop, on_bug=self._note_bug, on_skip=self._skipped)
        self._carrier = threading.Thread(target=self._carry, name="dispatch")
        self._wake = threading.Event()
        self._turned_at = time.monotonic()
        self._honoured_at: float | None = None
        self._ledger_trouble: str | None = None
        self._bugs: set[str] = set()  # jobs whose last turn ended with an unexpected error
        self._subaccounts: dict[str, set[str]] = {}  # those with jobs, by source
        self._work: Work | None = None
        self.hints: HintDesk | None = None

    # -- its life ------------------------------------------------------------------------------------------------------

    def open(self, *, with_bucket: bool = True) -> None:
        """Open the ledger, the sources and the bucket. ConfigError if no source can be used.

        If the bucket cannot be used, `with_bucket` decides: raise the error, or let only transfers wait.
        """
        report, runtime = self._report, self.runtime
        names = [source.name for source in self.settings.sources]
        sources = runtime.usable(names, report)
        if not sources:
            raise ConfigError("no source can be used; the log says why", "`recvault check` says more")
        error = runtime.store_error()
        if error is not None and with_bucket:
            raise error
        if error is None:
            self._honour_erasures()
        self._work = runtime.work(
            sources, self._executor, report, Observers(self._metrics, _Waker(self._wake)), rest_seconds=_REST_SECONDS
        )
        if error is not None:
            self._work.outcomes.store_failed(error)
        else:
            runtime.note_bucket(None)  # what an earlier pass met is over
        if self.settings.daemon.hints_listen:
            self.hints = opened_desk(self.runtime, self._work, self._metrics, self._end_by)

    def start(self) -> None:
        """Poll every source now and at its interval; transfer what is due."""
        self._metrics.expect_job("dispatch")
        self._schedule.lane("leases", 1)
        self._every("leases", "leases", _LEASES_EVERY, self._free_dead_leases)
        self._schedule.lane("bucket", 1)
        self._every("bucket", "bucket", timedelta(seconds=_REST_SECONDS), self._try_store)
        self._schedule.lane("manifests", 1)
        manifests = ManifestJob(self.runtime, self._metrics)
        self._every("manifests", "manifests", LOOK_EVERY, manifests.look)
        if self.settings.catalog.enabled:
            from recvault.daemon.catalog_job import CatalogJob

            self._schedule.lane("catalog", 1)
            catalog = CatalogJob(self.runtime, lambda: manifests.through, self._metrics)
            self._every("catalog", "catalog", LOOK_EVERY, catalog.look)
        if self.work.calls is not None:
            self._schedule.lane("calls", 1)
            self._every("calls", "calls", SOON, self.work.calls.write_late)
        for settings in self.settings.sources:
            if settings.prune_after is not None:
                from recvault.daemon.prune_job import PRUNE_EVERY, PruneJob

                job = PruneJob(self.runtime, self._metrics, settings.name, settings.prune_after)
                self.look_in(f"prune:{settings.name}", PRUNE_EVERY, job.look)
        for source in self.work.sources:
            self._schedule.lane(source.name, _LISTERS)
            self._every(f"poll:{source.name}", source.name, self._poll_every(source.name), self._poll(source))
            self._keep_reconciling(source, source.account_id)
        self._schedule.start()
        self._carrier.start()
        if self.hints is not None:
            self.hints.start()

    def look_in(self, name: str, interval: timedelta, look: Callable[[], None]) -> None:
        """Run another job of the daemon at an interval, in its own thread."""
        self._schedule.lane(name, 1)
        self._every(name, name, interval, look)

    def ask_stop(self) -> None:
        """Begin nothing more; let transfers end within drain_timeout."""
        self.runtime.stop.asked.set()
        if self._work is not None:
            with contextlib.suppress(RecvaultError):  # the file is removed with the process
                self.runtime.ledger.succession.end()
        self._wake.set()
        if self._work is not None and self._work.calls is not None:
            self._work.calls.end()
        if self.hints is not None:
            self.hints.wake()
        self._schedule.end()

    def join(self) -> bool:
        """Wait for the drain, a little longer than it may take; return whether everything has ended.

        A thread that still waits for an answer is abandoned: everything it knows is in the ledger.
        """
        if self._carrier.ident is not None:
            self._carrier.join(self.settings.daemon.drain_timeout.total_seconds() + _GRACE_SECONDS)
        return self._schedule.wait(1.0) and not self._carrier.is_alive()

    def close(self) -> None:
        """Close what was opened."""
        if self._work is not None and self._work.calls is not None:
            self._work.calls.finish(0.0)
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.runtime.__exit__(None, None, None)

    @property
    def work(self) -> Work:
        """The opened parts."""
        assert self._work is not None, "opened before it is used"  # noqa: S101
        return self._work

    # -- how it does ---------------------------------------------------------------------------------------------------

    def silent(self, patience_seconds: float) -> str | None:
        """Which part hangs, if one does: the watchdog keep-alive must then stop."""
        moment = time.monotonic()
        if moment - self._schedule.beat_at > patience_seconds:
            return f"the scheduler has been stuck for {moment - self._schedule.beat_at:.0f} s"
        if moment - self._turned_at > patience_seconds:
            return f"the dispatcher has been stuck for {moment - self._turned_at:.0f} s"
        quiet = self.runtime.stop.pulse.quiet_seconds()
        return f"a thread has made no progress for {quiet:.0f} s" if quiet > _SILENT_SECONDS else None

    def troubles(self) -> list[Reason]:
        """Errors of the daemon itself."""
        bucket, check = self.work.outcomes.trouble, "recvault check"
        found = [Reason(risk=Risk.BUCKET, message=f"bucket: {bucket}", command=check)] if bucket else []
        if (lost := self.work.dispatch.lost) is not None:
            found.append(Reason(risk=Risk.STUCK, message=lost.message, command=check))
        if self._ledger_trouble:
            found.append(Reason(risk=Risk.LEDGER, message=self._ledger_trouble, command=check))
        return found

    def bugs(self) -> list[Reason]:
        """Jobs whose last turn ended with an unexpected error; the next turn may succeed."""
        words = "ended with an unexpected error, a bug: the log has its traceback"
        return [
            Reason(risk=Risk.BUG, message=f"the last turn of {job} {words}", command="recvault support-bundle")
            for job in sorted(self._bugs)
        ]

    def verdict(self, beside: Iterable[Reason] = ()) -> Judgement:
        """Judge whether all is safe, from the ledger and what else is known."""
        return self.runtime.verdict(beside, self.watched_since)

    def judged(self) -> list[tuple[FeedStatus, Health]]:
        """Return every list of a configured source with its health."""
        return self.runtime.judged(self.watched_since)

    def clock_was_set(self) -> None:
        """Make due now what was scheduled by the old clock."""
        self._schedule.again()
        self._wake.set()

    def _every(self, name: str, lane: str, interval: timedelta, work: Callable[[], None]) -> None:
        """Run it at an interval. A damaged ledger ends the daemon: no later turn could repair it."""

        def turn() -> None:
            try:
                work()
            except LedgerDamaged as error:
                self._end_by(error)
            self._bugs.discard(name)

        self._metrics.expect_job(name)
        self._schedule.every(name, lane, interval, turn)

    def _note_bug(self, job: str) -> None:
        self._bugs.add(job)
        self._metrics.job_failed(job)

    def _skipped(self, lane: str) -> None:
        """Count a skipped poll; for the daemon's other jobs a late turn does not matter."""
        if any(source.name == lane for source in self.settings.sources):
            self._metrics.poll_skipped(lane)

    def _end_by(self, error: LedgerDamaged) -> None:
        if self.fatal is None:
            log.critical("ledger.damaged", error=str(error))
            self.fatal = error
        self._wake.set()

    # -- listing -------------------------------------------------------------------------------------------------------

    def _poll(self, source: Source) -> Callable[[], None]:
        """A source's poll: list its accounts, then its own recordings. Each sub-account has its own job."""

        def poll() -> None:
            self._honour_erasures()
            accounts = self.work.listing.accounts(source)
            if not accounts:
                return
            self._keep_accounts(source, accounts)
            self._poll_account(source, source.account_id)()

        return poll

    def _honour_erasures(self) -> None:
        """Read the bucket's tombstones, at most every ten minutes: `erase` on this machine tells the ledger itself."""
        if self._honoured_at is None or time.monotonic() - self._honoured_at > LOOK_EVERY.total_seconds():
            self._honoured_at = time.monotonic()
            self.runtime.honour_erasures()

    def _keep_accounts(self, source: Source, accounts: list[str]) -> None:
        """Keep jobs for the sub-accounts that the provider names, and for no others."""
        subaccounts = set(accounts[1:])
        for account_id in accounts[1:]:
            work = self._poll_account(source, account_id)
            self._every(f"poll:{source.name}:{account_id}", source.name, self._poll_every(source.name), work)
            self._keep_reconciling(source, account_id)
        for account_id in self._subaccounts.get(source.name, set()) - subaccounts:
            self._schedule.drop(f"poll:{source.name}:{account_id}")
            self._schedule.drop(f"reconcile:{source.name}:{account_id}")
        self._subaccounts[source.name] = subaccounts

    def _poll_account(self, source: Source, account_id: str) -> Callable[[], None]:
        def poll() -> None:
            error = self.work.listing.poll(source, account_id)
            if error is None or isinstance(error, LedgerLocked | LedgerUnavailable):
                self._note_ledger(str(error) if error else None)

        return poll

    def _keep_reconciling(self, source: Source, account_id: str) -> None:
        """Check often whether a reconcile is due, so that restarts and failures do not delay it by a whole interval."""
        settings = self.runtime.source(source.name)
        every, window = settings.reconcile_every, settings.reconcile_window
        feed = replace(source.feed(account_id), list=RECONCILE)

        def reconcile() -> None:
            now, ledger = self._clock(), self.runtime.ledger
            last = ledger.ask.last_success(feed)
            if last is None and ledger.ask.last_success(source.feed(account_id)) is None:
                return  # the first scan reads it all
            since = last or ledger.born_at
            if not timedelta() <= now - since < every * 0.95:  # the checks have a jitter
                self.work.listing.reconcile(source, account_id, Window(since=moment_before(now, window)))

        name = f"reconcile:{source.name}:{account_id}"
        self._every(name, source.name, min(every, _RECONCILE_LOOK), reconcile)

    def _poll_every(self, name: str) -> timedelta:
        return self.runtime.source(name).poll_every

    # -- carrying ------------------------------------------------------------------------------------------------------

    def _carry(self) -> None:
        """Until a stop: claim what is due, store outcomes. Then drain."""
        while not self.runtime.stop.asked.is_set() and self.fatal is None:
            if not self._turn():
                self._wake.wait(_IDLE_SECONDS)
                self._wake.clear()
        try:
            self.work.dispatch.drain()
        except RecvaultError as error:  # leases end with the ledger: nothing is lost
            log.warning("daemon.drain_failed", error=str(error))

    def _turn(self) -> bool:
        """One turn; False if nothing was to be done. An error ends only this turn."""
        try:
            busy = self._dispatch()
        except LedgerDamaged as error:
            self._end_by(error)
            return False
        except RecvaultError as error:
            self._note_ledger(str(error))
            busy = False
        except Exception as error:  # the daemon's turn: if it keeps failing, the watchdog ends it
            log.error("job.failed", job="dispatch", exc_info=error)
            self._note_bug("dispatch")
            return False
        else:
            if busy:
                self._note_ledger(None)
        self._bugs.discard("dispatch")
        self._turned_at = time.monotonic()
        return busy

    def _dispatch(self) -> bool:
        work, ledger = self.work, self.runtime.ledger
        if not (work.dispatch.running or work.dispatch.waiting):
            due = ledger.ask.next_due(work.dispatch.names)
            if due is None or due > self._clock():
                return False
        return work.dispatch.turn()

    def _try_store(self) -> None:
        """Retry a failed bucket from time to time, with the schema object; and a cluster that was lost."""
        if self.work.dispatch.lost is not None and self.work.outcomes.trouble is None:
            self.work.dispatch.resume()
            self._wake.set()
        if self.work.dispatch.paused and self.runtime.store_error(ask_again=True) is None:
            self.work.outcomes.store_works()
            self._wake.set()

    def _free_dead_leases(self) -> None:
        """Release leases of a killed one-shot pass, and work that a wrong clock delayed."""
        try:
            if self.work.dispatch.tidy():
                self._wake.set()
        except LedgerDamaged:
            raise
        except RecvaultError as error:
            self._note_ledger(str(error))
        else:
            self._note_ledger(None)

    def _note_ledger(self, trouble: str | None) -> None:
        """Note why the ledger could not be written at the last attempt; None if it could."""
        if trouble and self._ledger_trouble is None:
            log.error("ledger.failed", error=trouble)
        elif trouble is None and self._ledger_trouble is not None:
            log.info("ledger.recovered")
        self._ledger_trouble = trouble
        self._metrics.trouble("ledger", trouble is not None)


class _Waker(Observer):
    """Wakes the dispatcher as soon as recordings are found."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake

    def found(self) -> None:
        self._wake.set()
