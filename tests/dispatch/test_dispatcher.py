"""Dispatch: from claim to settlement, whatever happens in between."""

from __future__ import annotations

import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from lines import NOW, FakeProvider, FakeSession, a_line, a_recording
from recvault.discovery.source import Source
from recvault.dispatch import dispatcher as dispatch_module
from recvault.dispatch.dispatcher import Dispatch
from recvault.dispatch.sync_pass import Pass, Work
from recvault.errors import LedgerLocked, WorkerLost
from recvault.ledger import Feed, Ledger, Policy
from recvault.models import CREDENTIALS_REFUSED, WORKER_CRASHED, WORKER_LOST, Failure, Job, Outcome, State, Verdict
from recvault.monitoring.report import Report
from recvault.shutdown import Stop
from recvault.transfer import verdicts
from recvault.transfer.fetch import Line


@dataclass
class Book:
    """A ledger that hands out what a test puts in, and keeps what is settled."""

    due: list[Job]
    on_claim: Callable[[], None] = lambda: None
    settled: list[Outcome] = field(default_factory=list)
    alone: list[Job] = field(default_factory=list)  # of any source, due and to be run alone

    def claim(self, source: str, now: Any, limit: int) -> list[Job]:
        taken = [job for job in self.due if job.source == source][:limit]
        self.due = [job for job in self.due if job not in taken]
        self.on_claim()
        return taken

    def claim_alone(self, source: str, now: Any, limit: int, policy: Policy) -> list[Job]:
        taken, self.alone = self.alone[:limit], self.alone[limit:]
        return taken

    def settle(self, outcomes: Iterable[Outcome], now: Any, policies: Any) -> list[State]:
        settled = list(outcomes)
        self.settled += settled
        return [State.FAILING for _ in settled]


def a_job(number: int, source: str = "main") -> Job:
    return Job(source=source, recording=a_recording(number), attempt=1, maybe_archived=False)


def failed(job: Job, reason: str = "media.magic") -> Failure:
    return Failure(source=job.source, recording=job.recording, verdict=Verdict.RETRY, reason=reason, message="")


def a_dispatch(book: Book, executor: Executor, transfer: Callable[[Job], Outcome], **options: Any) -> Dispatch:
    standing = {
        "names": ["main"],
        "workers": 4,
        "stop": Stop(),
        "drain_timeout": timedelta(seconds=5),
        "clock": lambda: NOW,
        "policies": {},
        "on_settled": lambda job, outcome, state: None,
    }
    return Dispatch(ledger=cast("Ledger", book), executor=executor, transfer=transfer, **{**standing, **options})


def test_what_a_scan_registers_at_its_very_end_is_still_claimed() -> None:
    """A job that becomes due at the scan's end, during the last claim, is still run in this pass."""
    scan: Future[None] = Future()
    book = Book([])

    def end_the_scan() -> None:
        if not scan.done():
            book.due.append(a_job(1))
            scan.set_result(None)

    book.on_claim = end_the_scan
    with ThreadPoolExecutor(1) as executor:
        a_dispatch(book, executor, failed).run([scan])
    assert [outcome.recording.recording_id for outcome in book.settled] == ["RE1"]


def test_a_slow_source_holds_back_no_other() -> None:
    """While all transfers of one source hang, another source's complete."""
    book = Book([a_job(n, "slow") for n in range(40)] + [a_job(100 + n, "quick") for n in range(40)])
    release, quick = threading.Event(), threading.Semaphore(0)

    def transfer(job: Job) -> Outcome:
        if job.source == "slow":
            assert release.wait(10)
        else:
            quick.release()
        return failed(job)

    def settled(job: Job, outcome: Outcome, state: State) -> None:
        if sum(each.source == "quick" for each in book.settled) == 40:
            release.set()

    with ThreadPoolExecutor(6) as executor:
        a_dispatch(book, executor, transfer, names=["slow", "quick"], on_settled=settled).run([])
    assert release.is_set()
    assert len(book.settled) == 80


def test_a_bug_that_one_recording_brings_out_costs_no_other_its_turn() -> None:
    """An unexpected exception is a failure of its recording; the others are settled normally."""

    def transfer(job: Job) -> Outcome:
        if job.recording.recording_id == "RE2":
            raise ZeroDivisionError
        return failed(job)

    book = Book([a_job(1), a_job(2), a_job(3)])
    with ThreadPoolExecutor(1) as executor:
        a_dispatch(book, executor, transfer).run([])
    reasons = {each.recording.recording_id: cast("Failure", each).reason for each in book.settled}
    assert reasons == {"RE1": "media.magic", "RE2": verdicts.UNEXPECTED, "RE3": "media.magic"}


def test_an_executor_that_broke_is_no_recording_s_failure() -> None:
    """A broken executor ends the pass, as it would fail every recording; running jobs stay leased."""

    def transfer(job: Job) -> Outcome:
        raise BrokenExecutor("no thread begins any more")

    book = Book([a_job(1)])
    with ThreadPoolExecutor(1) as executor, pytest.raises(BrokenExecutor):
        a_dispatch(book, executor, transfer).run([])
    assert book.settled == []


def test_a_stop_gives_back_what_was_not_begun() -> None:
    """At a stop running transfers finish, and claimed ones that have not begun are due again at once."""
    stop = Stop()

    def transfer(job: Job) -> Outcome:
        stop.asked.set()
        time.sleep(0.05)  # longer than outcomes are collected
        return failed(job)

    book = Book([a_job(n) for n in range(20)])
    with ThreadPoolExecutor(1) as executor:
        a_dispatch(book, executor, transfer, stop=stop, workers=8).run([])
    claimed = 20 - len(book.due)
    drained = [each for each in book.settled if cast("Failure", each).reason == "drained"]
    assert (len(book.settled), len(drained) > 0) == (claimed, True)


@pytest.mark.parametrize(("reason", "code"), [(CREDENTIALS_REFUSED, 77), (verdicts.RESTING, 75)])
def test_refused_credentials_and_long_rests_end_a_source_s_claims_in_this_pass(
    tmp_path: Path, reason: str, code: int
) -> None:
    """After refused credentials or a long rest nothing more of that source is claimed in this pass."""
    provider = FakeProvider(listed=[a_recording(n) for n in range(200)])
    line: Line = a_line(provider, FakeSession())
    ledger = Ledger.open(tmp_path / "ledger.db", NOW)
    transferred: list[Job] = []

    def transfer(job: Job) -> Outcome:
        transferred.append(job)
        return replace(failed(job, reason), retry_after=300.0)

    with ThreadPoolExecutor(1) as listers, ThreadPoolExecutor(1) as executor:
        source = Source(
            name="main",
            line=lambda account_id: line,
            account_id="AC1",
            subaccounts=False,
            start_from=None,
            lookback=timedelta(hours=26),
            policy=Policy(),
        )
        work = Work.of(
            [source],
            ledger=ledger,
            executor=executor,
            transfer=transfer,
            workers=1,
            stop=Stop(),
            drain_timeout=timedelta(seconds=5),
            clock=lambda: NOW,
            report=Report(command="sync", started_at=NOW),
        )
        report = Pass(work=work, listers=listers).run()
    standing = ledger.ask.standing("main", "AC1")
    ledger.close()
    assert report.exit_code == code
    assert len(transferred) < 10
    assert standing.pending == 200


class Ticking:
    """A clock that advances a tenth of a second at each look."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=0.1)
        return self.moment


@pytest.mark.parametrize("verdict", [Verdict.RETRY, Verdict.NOT_READY])
def test_a_run_is_not_kept_alive_by_what_it_has_tried(tmp_path: Path, verdict: Verdict) -> None:
    """If all that is left fails and is due at once, each is tried once, and the run ends."""
    second = timedelta(milliseconds=1)
    policy = Policy(max_attempts=10_000, retry_base=second, retry_max=second, recheck_every=second)
    ledger = Ledger.open(tmp_path / "ledger.db", NOW)
    ledger.register(Feed("main", "twilio", "AC1"), [a_recording(n) for n in range(4)], [], NOW, second)
    tried: list[str] = []

    def transfer(job: Job) -> Outcome:
        tried.append(job.recording.recording_id)
        return replace(failed(job), verdict=verdict)

    with ThreadPoolExecutor(2) as executor:
        run = a_dispatch(cast("Book", ledger), executor, transfer, policies={"main": policy}, clock=Ticking())
        run.run([])
    standing = ledger.ask.standing("main", "AC1")
    ledger.close()
    assert set(tried) == {"RE0", "RE1", "RE2", "RE3"}
    assert len(tried) < 40
    assert standing.failing + standing.not_ready == 4


def test_what_failed_is_tried_again_while_there_is_more_to_do(tmp_path: Path) -> None:
    """A long run retries failed recordings while some were not tried yet."""
    second = timedelta(milliseconds=1)
    policy = Policy(retry_base=second, retry_max=second)
    ledger = Ledger.open(tmp_path / "ledger.db", NOW)
    ledger.register(Feed("main", "twilio", "AC1"), [a_recording(n) for n in range(40)], [], NOW, second)
    tried: Counter[str] = Counter()

    def transfer(job: Job) -> Outcome:
        tried[job.recording.recording_id] += 1
        return failed(job) if tried["RE0"] < 2 else replace(failed(job), verdict=Verdict.GONE)

    with ThreadPoolExecutor(1) as executor:
        run = a_dispatch(
            cast("Book", ledger), executor, transfer, workers=1, policies={"main": policy}, clock=Ticking()
        )
        run.run([])
    ledger.close()
    assert len(tried) == 40
    assert tried["RE0"] >= 2


def test_what_no_right_clock_would_put_off_so_far_is_due_after_a_tidying(tmp_path: Path) -> None:
    """Retries that a wrong clock set decades ahead are due at once, for each source."""
    ledger = Ledger.open(tmp_path / "ledger.db", NOW)
    decades = timedelta(days=20_000)
    policy = Policy()
    for number, name in enumerate(("main", "other")):
        ledger.register(Feed(name, "twilio", "AC1"), [a_recording(number)], [], NOW, timedelta(minutes=2))
        [job] = ledger.claim(name, NOW, 9)
        ledger.settle([failed(job)], NOW + decades, {name: policy})
    assert (ledger.claim("main", NOW, 9), ledger.claim("other", NOW, 9)) == ([], [])

    with ThreadPoolExecutor(1) as executor:
        policies = {"main": policy, "other": policy}
        tidied = a_dispatch(cast("Book", ledger), executor, failed, names=["main", "other"], policies=policies).tidy()

    due = [job.recording.recording_id for name in ("main", "other") for job in ledger.claim(name, NOW, 9)]
    ledger.close()
    assert (tidied, due) == (2, ["RE0", "RE1"])


def test_a_source_that_has_all_workers_leaves_the_others_a_place() -> None:
    """If one source's backlog occupies every worker, another source's later recordings begin nevertheless."""
    book = Book([a_job(n, "slow") for n in range(40)])
    release, began = threading.Event(), threading.Semaphore(0)

    def transfer(job: Job) -> Outcome:
        began.release()
        if job.source == "slow":
            assert release.wait(10)
        return failed(job)

    def settled(job: Job, outcome: Outcome, state: State) -> None:
        if job.source == "quick":
            release.set()

    with ThreadPoolExecutor(4) as executor:
        dispatch = a_dispatch(
            book, executor, transfer, names=["slow", "quick"], workers=2, stop=Stop(), on_settled=settled
        )
        dispatch.turn()
        for _ in range(2):
            assert began.acquire(timeout=10)
        assert dispatch.running == 2
        book.due.append(a_job(100, "quick"))
        dispatch.run([])
    assert book.settled[0].source == "quick"
    assert len(book.settled) == 41


def test_outcomes_that_cannot_be_written_down_are_kept() -> None:
    """If the ledger is locked when a transfer ends, the next turn stores it, and nothing is transferred twice."""
    book = Book([a_job(1)])
    settle, locked = book.settle, [True, True]

    def sometimes(outcomes: Iterable[Outcome], now: Any, policies: Any) -> list[State]:
        if locked and locked.pop():
            raise LedgerLocked("busy")
        return settle(outcomes, now, policies)

    book.settle = sometimes  # type: ignore[method-assign]
    transferred: list[Job] = []

    def transfer(job: Job) -> Outcome:
        transferred.append(job)
        return failed(job)

    with ThreadPoolExecutor(2) as executor:
        dispatch = a_dispatch(book, executor, transfer)
        for _ in range(2):
            with pytest.raises(LedgerLocked):
                dispatch.turn()
        dispatch.run([])
    assert (len(transferred), len(book.settled)) == (1, 1)


def test_a_pause_begins_nothing_more_and_a_drain_gives_back_what_waits() -> None:
    """Jobs claimed in advance are due again at once after a drain: no lease outlives the pass."""
    book = Book([a_job(n) for n in range(20)])

    def transfer(job: Job) -> Outcome:
        dispatch.paused = True
        return failed(job)

    with ThreadPoolExecutor(2) as executor:
        dispatch = a_dispatch(book, executor, transfer, workers=1)
        dispatch.run([])
    reasons = [cast("Failure", each).reason for each in book.settled]
    assert (reasons.count("media.magic"), len(reasons)) == (1, 20 - len(book.due))
    assert (dispatch.running, dispatch.waiting) == (0, 0)


class Starved(ThreadPoolExecutor):
    """An executor that gets no threads at first."""

    def __init__(self, refusals: int) -> None:
        super().__init__(2)
        self.refusals = refusals

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("can't start new thread")
        return super().submit(fn, *args, **kwargs)


def test_what_cannot_be_begun_is_settled_and_frees_its_place() -> None:
    """Jobs that cannot begin are retried later without being counted, and the others run."""
    book = Book([a_job(n) for n in range(5)])
    with Starved(2) as executor:
        dispatch = a_dispatch(book, executor, failed, workers=1)
        dispatch.run([])
    failures = [cast("Failure", each) for each in book.settled]
    assert Counter(each.reason for each in failures) == {verdicts.WORKER_UNSTARTED: 2, "media.magic": 3}
    assert [each.counted for each in failures if each.reason == verdicts.WORKER_UNSTARTED] == [False] * 2
    assert (dispatch.running, dispatch.waiting) == (0, 0)


def test_a_bug_before_a_transfer_begins_is_that_job_s_end() -> None:
    """A bug while preparing a job is handled like one in its transfer, and occupies no place."""

    def prepared(job: Job) -> Job:
        if job.recording.recording_id == "RE1":
            raise ZeroDivisionError
        return job

    book = Book([a_job(n) for n in range(300)])  # far more than recursion would allow
    with ThreadPoolExecutor(1) as executor:
        a_dispatch(book, executor, failed, workers=1, prepared=prepared).run([])
    reasons = {each.recording.recording_id: cast("Failure", each).reason for each in book.settled}
    assert (len(reasons), reasons.pop("RE1"), set(reasons.values())) == (300, verdicts.UNEXPECTED, {"media.magic"})


def test_many_jobs_that_are_over_at_once_go_through() -> None:
    """Any number of jobs that end at once are processed without recursion."""

    class Instant(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(WorkerLost("was killed by signal 9", begun=False))
            return future

    book = Book([a_job(n) for n in range(900)])
    dispatch = a_dispatch(book, Instant(), failed, workers=300)
    dispatch.run([])
    assert len(book.settled) == 900


@pytest.mark.parametrize(
    ("error", "reason", "counted"),
    [
        (WorkerLost("was killed by signal 9"), WORKER_LOST, False),
        (WorkerLost("was killed by signal 9", alone=True), WORKER_CRASHED, True),
        (WorkerLost("was killed by signal 9", begun=False), verdicts.WORKER_UNSTARTED, False),
    ],
)
def test_the_death_of_a_process_is_a_fault_only_of_what_was_alone_in_it(
    error: WorkerLost, reason: str, counted: bool
) -> None:
    """A dead process counts only against a job alone in it, with its own reason, never as a bug."""

    def transfer(job: Job) -> Outcome:
        raise pickle.loads(pickle.dumps(error))

    book = Book([a_job(1)])
    with ThreadPoolExecutor(1) as executor:
        a_dispatch(book, executor, transfer).run([])
    [settled] = [cast("Failure", each) for each in book.settled]
    assert (settled.reason, settled.counted) == (reason, counted)


def test_what_may_end_its_process_is_carried_out_beside_the_others() -> None:
    """Jobs that may crash run alone, at most two at a time, outside the places; a stop gives back waiting ones."""
    stop, release = Stop(), threading.Event()
    lone = [replace(a_job(100 + n), alone=True) for n in range(5)]
    seen: list[bool] = []

    def transfer(job: Job) -> Outcome:
        seen.append(job.alone)
        assert release.wait(10)
        return failed(job)

    book = Book([a_job(n) for n in range(2)], alone=lone)
    with ThreadPoolExecutor(8) as executor:
        dispatch = a_dispatch(book, executor, transfer, workers=2, stop=stop)
        dispatch.turn()
        assert (dispatch.running, sorted(seen)) == (4, [False, False, True, True])
        stop.asked.set()
        release.set()
        dispatch.drain()
    assert (dispatch.running, dispatch.waiting) == (0, 0)


def test_a_drain_ends_whatever_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer that ignores the drain is abandoned shortly after drain_timeout; its lease ends with the process.

    The log says what it waits for, and for how long.
    """
    monkeypatch.setattr(dispatch_module, "_CUT_SECONDS", 0.05)
    stop, begun, hangs = Stop(), threading.Event(), threading.Event()

    def transfer(job: Job) -> Outcome:
        begun.set()
        hangs.wait(30)
        return failed(job)

    book = Book([a_job(1)])
    with ThreadPoolExecutor(1) as executor:
        dispatch = a_dispatch(book, executor, transfer, stop=stop, drain_timeout=timedelta())
        threading.Thread(target=lambda: (begun.wait(10), stop.asked.set())).start()
        with capture_logs() as told:
            dispatch.run([])
        waiting = {"event": "drain.waiting", "log_level": "info", "transfers": 1, "at_most": "0 s"}
        assert [{name: each[name] for name in waiting} for each in told if each["event"] != "drain.abandoned"] == [
            waiting
        ]
        assert (dispatch.running, stop.enforced.is_set(), book.settled) == (1, True, [])
        hangs.set()


def test_an_outcome_that_cannot_be_written_down_costs_no_other_its_own() -> None:
    """An outcome that cannot be stored fails its recording only; an observer's bug hides no other outcome."""
    book, told = Book([a_job(n) for n in range(3)]), []
    settle = book.settle

    def strict(outcomes: Iterable[Outcome], now: Any, policies: Any) -> list[State]:
        listed = list(outcomes)
        if any(
            cast("Failure", each).reason == "media.magic" and "RE1" in each.recording.recording_id for each in listed
        ):
            raise UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates not allowed")
        return settle(listed, now, policies)

    def tell(job: Job, outcome: Outcome, state: State) -> None:
        told.append(job.recording.recording_id)
        if len(told) == 1:
            raise ZeroDivisionError

    book.settle = strict  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as executor:
        dispatch = a_dispatch(book, executor, failed, on_settled=tell)
        with pytest.raises(ZeroDivisionError):
            dispatch.run([])
    with ThreadPoolExecutor(1) as executor:
        dispatch.drain()
    reasons = {each.recording.recording_id: cast("Failure", each).reason for each in book.settled}
    assert reasons == {"RE0": "media.magic", "RE1": verdicts.UNEXPECTED, "RE2": "media.magic"}
    assert sorted(told) == ["RE0", "RE1", "RE2"]
