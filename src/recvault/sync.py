"""A pass: discover what each source lists, and meanwhile run the due jobs on an executor.

Invariant: kill -9 at any instant loses nothing, duplicates nothing and leaves no orphan that the next pass does not
clean. A source that fails does not hold back another; a recording that fails does not hold back another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from recvault import verdicts
from recvault.discovery import Discovery, Found, subaccounts
from recvault.dispatch import Dispatch
from recvault.errors import ConfigError, CredentialsRefused, Interrupted, RecvaultError, StoreRefused, StoreUnavailable
from recvault.fetch import Line
from recvault.ledger import Feed, Ledger, Policy
from recvault.models import ACCOUNT, Failure, Job, Outcome, Receipt, State, Verdict
from recvault.observe import get_logger
from recvault.report import MOST_FAILURES, Report
from recvault.stopping import Stop

log = get_logger("recvault.sync")

_STORE_PATIENCE = 8  # transfers in a row that the store did not take, after which the pass ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A configured source, ready to be asked."""

    name: str
    line: Callable[[str], Line]  # of an account's id
    account_id: str
    subaccounts: bool
    start_from: datetime | None
    lookback: timedelta
    policy: Policy


@dataclass(slots=True, kw_only=True)
class Pass:
    """One pass over some sources. Made for one run."""

    sources: Sequence[Source]
    ledger: Ledger
    listers: Executor  # a thread per source, so that a slow one delays no other
    executor: Executor
    transfer: Callable[[Job], Outcome]
    workers: int
    stop: Stop
    drain_timeout: timedelta
    clock: Callable[[], datetime]
    report: Report
    store_error: RecvaultError | None = None  # the bucket is not there: list and register, transfer nothing
    on_change: Callable[[Report], None] = lambda report: None
    _dispatch: Dispatch = field(init=False)
    _store_strikes: int = 0
    _trouble: str | None = None  # of the store itself: no more transfers in this pass

    def __post_init__(self) -> None:
        self._dispatch = Dispatch(
            ledger=self.ledger,
            executor=self.executor,
            transfer=self.transfer,
            workers=self.workers,
            stop=self.stop,
            drain_timeout=self.drain_timeout,
            clock=self.clock,
            policies={source.name: source.policy for source in self.sources},
            on_settled=self._settled,
        )

    def run(self) -> Report:
        """Discover and transfer all that is due; the report. Raises nothing that concerns a source or a recording."""
        names = [source.name for source in self.sources]
        self.ledger.free_dead_leases(self.clock())  # e.g. of a backfill beside the daemon that was killed
        if self.store_error is not None:
            self._end_transfers(str(self.store_error), self.store_error.exit_code)
        scans = [self.listers.submit(self._discover, source) for source in self.sources]
        self._dispatch.run(names, scans)
        for scan in scans:
            scan.result()  # a bug in discovery is not swallowed
        self._finish()
        return self.report

    # -- discovery -----------------------------------------------------------------------------------------------------

    def _discover(self, source: Source) -> None:
        """Scan every account of a source; one that fails is reported, the others go on."""
        accounts = dict.fromkeys([source.account_id])
        if source.subaccounts:
            with self._reported(source, source.account_id):
                root = source.line(source.account_id)
                accounts |= dict.fromkeys(subaccounts(root.provider, root.session))
        for account_id in accounts:
            with self._reported(source, account_id):
                self._scan(source, account_id)

    def _scan(self, source: Source, account_id: str) -> None:
        line = source.line(account_id)
        row = self.report.account(source.name, line.provider.provider, account_id)

        def on_page(found: Found) -> None:
            row.listed += found.listed + found.rejected
            row.registered += found.registered
            row.gone += found.gone
            row.external += found.external
            self.on_change(self.report)

        Discovery(
            feed=_feed(source, line, account_id),
            provider=line.provider,
            session=line.session,
            ledger=self.ledger,
            scope=ACCOUNT,
            start_from=source.start_from,
            lookback=source.lookback,
            recheck_every=source.policy.recheck_every,
            clock=self.clock,
            on_page=on_page,
        ).run()
        log.info("discover.done", source=source.name, account_id=account_id, listed=row.listed, new=row.registered)

    @contextlib.contextmanager
    def _reported(self, source: Source, account_id: str) -> Iterator[None]:
        """An error of one account stands in its row, in the log and in the exit code, and ends there."""
        try:
            yield
        except Interrupted:
            return
        except RecvaultError as error:
            line = source.line(account_id)
            self.ledger.note_scan_error(_feed(source, line, account_id), str(error), self.clock())
            if self.report.account(source.name, line.provider.provider, account_id).error is None:
                log.error("discover.failed", source=source.name, account_id=account_id, error=str(error))
            self.report.failed(source.name, line.provider.provider, account_id, str(error), error.exit_code)

    # -- outcomes ------------------------------------------------------------------------------------------------------

    def _settled(self, job: Job, outcome: Outcome, state: State) -> None:
        """Count an outcome that is written down, say it in one line, and heed what it means for others."""
        recording = outcome.recording
        row = self.report.account(job.source, recording.provider, recording.account_id)
        if isinstance(outcome, Receipt):
            self._store_strikes = 0
            if outcome.already_archived:
                row.already_archived += 1
            else:
                row.archived += 1
                row.bytes += outcome.bytes
        else:
            row.gone += state is State.GONE
            row.external += state is State.EXTERNAL
            self._heed(job, outcome)
        _say(job, outcome, state)
        self.on_change(self.report)

    def _heed(self, job: Job, failure: Failure) -> None:
        """Act on a failure that concerns more than its recording."""
        if failure.reason == verdicts.UNEXPECTED:
            self.report.codes.add(RecvaultError.exit_code)
        elif failure.reason == verdicts.CREDENTIALS_REFUSED:
            recording, code = failure.recording, CredentialsRefused.exit_code
            self.report.failed(job.source, recording.provider, recording.account_id, failure.message, code)
            if not any(source.subaccounts for source in self.sources if source.name == job.source):
                self._dispatch.blocked.add(job.source)
        elif failure.reason in _STORE_CODES:
            self._store_strikes += 1
            code = _STORE_CODES[failure.reason]
            if self._store_strikes >= (_STORE_PATIENCE if code == StoreUnavailable.exit_code else 1):
                self._end_transfers(failure.message, code)

    def _end_transfers(self, trouble: str, code: int) -> None:
        """The bucket takes nothing now: what is due stays due, listing and registering go on."""
        if self._trouble is None:
            self._trouble = trouble
            self._dispatch.ended = True
            self.report.codes.add(code)
            log.error("store.failed", error=trouble)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Complete the report from the ledger: what stands open counts, whichever pass left it."""
        for source in self.sources:
            line = source.line(source.account_id)
            self.report.account(source.name, line.provider.provider, source.account_id)
            for account_id in self.ledger.ask.accounts(source.name):
                self._complete_row(source, account_id)
        names = {source.name for source in self.sources}
        self.report.failures_total = self.ledger.ask.failures_total(names)
        self.report.failures = [_failure_row(row) for row in self.ledger.ask.failures(MOST_FAILURES, names)]
        self.report.interrupted = self.stop.asked.is_set()
        self.report.finished_at = self.clock()
        self.on_change(self.report)

    def _complete_row(self, source: Source, account_id: str) -> None:
        line = source.line(account_id)
        row = self.report.account(source.name, line.provider.provider, account_id)
        standing = self.ledger.ask.standing(source.name, account_id)
        row.watermark = self.ledger.watermark(_feed(source, line, account_id))
        row.not_ready, row.failed, row.dead = standing.not_ready, standing.failing, standing.dead
        row.quarantined = standing.quarantined
        row.requests = line.session.requests
        row.error = row.error or self._trouble


_STORE_CODES = {
    verdicts.STORE_UNAVAILABLE: StoreUnavailable.exit_code,
    verdicts.SPOOL_FULL: StoreUnavailable.exit_code,
    verdicts.STORE_REFUSED: StoreRefused.exit_code,
    verdicts.CONFIG_WRONG: ConfigError.exit_code,
}


def _feed(source: Source, line: Line, account_id: str) -> Feed:
    return Feed(source.name, line.provider.provider, account_id)


def _say(job: Job, outcome: Outcome, state: State) -> None:
    """The one canonical line of an attempt."""
    recording = outcome.recording
    names = {
        "source": job.source,
        "provider": recording.provider,
        "account_id": recording.account_id,
        "recording_id": recording.recording_id,
        "attempt": job.attempt,
    }
    if isinstance(outcome, Receipt):
        media = [f"{medium.media_format}:{medium.sha256[:12]}" for medium in outcome.media]
        event = "transfer.already_archived" if outcome.already_archived else "transfer.archived"
        log.info(event, **names, bytes=outcome.bytes, media=media, key=outcome.sidecar_key)
        for medium in outcome.media:
            if medium.check.status == "suspect":
                log.warning("transfer.suspect", **names, key=medium.key, reason=medium.check.reason)
        return
    level = log.info if outcome.verdict not in (Verdict.RETRY, Verdict.FATAL) else log.warning
    level(f"transfer.{state}", **names, reason=outcome.reason, message=outcome.message)


def _failure_row(row: dict[str, object]) -> dict[str, object]:
    names = ("source", "recording_id", "verdict", "reason", "attempts", "next_attempt_at")
    return {name: row[name] for name in names}
