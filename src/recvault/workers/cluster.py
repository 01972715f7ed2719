"""A Dask cluster as an executor: each call runs on the worker with the fewest.

Invariants: nothing is sent over an unprotected link: TLS, or loopback. A worker gets nothing before it has shown that
it has the planner's version, configuration and secrets; one that joins is asked at once. What a worker had is reported
as lost if it is gone or silent, and everything is if the scheduler is. So each future ends within seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from recvault.config.settings import TransferSettings
from recvault.errors import ConfigError, EngineLost, RecvaultError, WorkerLost
from recvault.log.lines import get_logger, redact_text
from recvault.shutdown import Stop
from recvault.workers import carrier
from recvault.workers.equality import Inspected, inspect
from recvault.workers.link import Heartbeat, Link, is_private
from recvault.workers.spec import Spec

log = get_logger("recvault.workers.cluster")

_LOOK_SECONDS = 0.5  # between two checks of which workers are there
_ANSWER_SECONDS = 6.0  # for the scheduler's answer, after which it counts as lost
_LEAVE_SECONDS = 1.0  # for disconnecting; a worker that misses it notices later
_VET_SECONDS = 30.0  # for a worker's answers about itself: it must load recvault first
_HUNG_SECONDS = 20.0  # without a heartbeat: a live worker sends one each second
_JOIN_SECONDS = 30.0  # until the first worker, or the next one after all are gone


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker with the planner's version, configuration and secrets."""

    address: str
    executor: Executor
    seen: float  # its last heartbeat, by the scheduler's clock
    seen_at: float  # when that was first seen, by ours; not while it is paused
    is_running: bool = True  # a paused one starts nothing
    under: dict[Future[Any], Future[Any]] = field(default_factory=dict)  # our future: Dask's


class Cluster(Executor):
    """Connected once created. Raises ConfigError or EngineLost if it has no usable worker."""

    def __init__(self, transfer: TransferSettings, spec: Spec, stop: Stop) -> None:
        self._spec, self._stop = spec, stop
        self._workers: dict[str, _Worker] = {}
        self._refused: dict[str, str] = {}
        self._silent: dict[str, float] = {}  # dropped for it, and their last heartbeat
        self._paused: set[str] = set()
        self._vetting: set[str] = set()
        self._held: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._orphans: deque[tuple[str, Future[Any]]] = deque()
        self._told: Callable[[int], None] = lambda processes: None
        self._lost: EngineLost | None = None
        self._lock = threading.RLock()
        self._is_shut = False
        self._ended = threading.Event()
        self._changed = threading.Event()
        self._empty_since = time.monotonic()
        self._link = Link(transfer)
        self._thread = threading.Thread(target=self._watch, name="cluster", daemon=True)
        self._thread.start()
        try:
            self._await_workers()
        except BaseException:
            self.shutdown()
            raise

    @property
    def processes(self) -> int:
        """Number of workers that start calls, at least 1."""
        return max(1, sum(each.is_running for each in list(self._workers.values())))

    def on_width(self, told: Callable[[int], None]) -> None:
        """Call this now, and whenever the number of workers changes."""
        self._told = told
        told(self.processes)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it on the worker with the fewest calls, or on the first that joins."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._is_shut:
                raise RuntimeError("the cluster is shut down: nothing more is sent to it")
            if self._lost is None:
                self._held.append((future, fn, args))
        if self._lost is not None:
            _resolve(future, self._lost)
        self._give()
        return future

    def tell(self, run: str, order: str) -> None:
        """Send an order to each worker; one that hangs delays no other."""
        for address in list(self._workers):
            thread = threading.Thread(target=self._say, args=[address, run, order], name="order", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads: one after the other
                self._say(address, run, order)

    def _say(self, address: str, run: str, order: str) -> None:
        with contextlib.suppress(Exception):  # the worker may be gone
            self._link.ask(_tell, run, order, workers=[address], seconds=_ANSWER_SECONDS)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Disconnect, and give back what has not ended; workers of our own cluster end."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._lost is None and self._workers:
            with contextlib.suppress(Exception):
                self._link.ask(_let_go, self._spec.run, workers=list(self._workers), seconds=_LEAVE_SECONDS)
        if threading.current_thread() is not self._thread:
            self._thread.join(_LEAVE_SECONDS)
        with self._lock:
            self._is_shut = True
        self._give_back(EngineLost(f"the connection to the cluster at {self._link.name} was closed"))
        self._link.close()

    # -- who carries what ----------------------------------------------------------------------------------------------

    def _give(self) -> None:
        while True:
            with self._lock:
                running = [each for each in self._workers.values() if each.is_running]
                if not (self._held and running):
                    return
                worker = min(running, key=lambda each: len(each.under))
                future, fn, args = self._held.popleft()
                try:
                    theirs = worker.executor.submit(_apart, fn, *args)
                except Exception as error:  # noqa: BLE001 - its client closed just now: the watch tells why
                    _resolve(future, WorkerLost(f"cannot be reached: {type(error).__name__}", begun=False))
                    continue
                worker.under[future] = theirs
            theirs.add_done_callback(functools.partial(self._end, worker, future))

    def _end(self, worker: _Worker, future: Future[Any], theirs: Future[Any]) -> None:
        with self._lock:
            if worker.under.pop(future, None) is None:
                return
            if theirs.cancelled():  # its worker is gone, or the scheduler: the next check shows which
                self._orphans.append((worker.address, future))  # locked, so that `_give_up` finds it here or there
                return
        if (error := theirs.exception()) is not None:
            _resolve(future, WorkerLost(f"at {worker.address} failed: {type(error).__name__}"))
        else:
            _resolve(future, theirs.result())

    def _drop(self, worker: _Worker, why: str) -> None:
        """Remove a worker that is gone; report what it had as lost."""
        with self._lock:
            self._workers.pop(worker.address, None)
            under, worker.under = worker.under, {}
            if not self._workers:
                self._empty_since = time.monotonic()
        log.warning("cluster.worker_lost", worker=worker.address, reason=why, batches=len(under))
        for future, theirs in under.items():
            theirs.cancel()
            _resolve(future, WorkerLost(f"at {worker.address} {why}"))
        self._told(self.processes)

    # -- in its own thread ---------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        looked_at = time.monotonic()
        while not self._ended.wait(_LOOK_SECONDS if self._workers else _LOOK_SECONDS / 5):
            try:
                seen = self._link.heartbeats(_ANSWER_SECONDS)
            except Exception as error:  # noqa: BLE001 - of a link that broke
                if not self._ended.is_set():
                    self._give_up(f"its scheduler no longer answers ({type(error).__name__})")
                return
            moment = time.monotonic()
            if moment - looked_at > _HUNG_SECONDS / 2:  # this process itself was paused
                for worker in list(self._workers.values()):
                    worker.seen_at = moment
            looked_at = moment
            self._compare(seen, moment)
            if not self._workers and moment - self._empty_since > _JOIN_SECONDS:
                self._give_up(self._words())
                return

    def _compare(self, seen: Mapping[str, Heartbeat], moment: float) -> None:
        while self._orphans:
            address, future = self._orphans.popleft()
            _resolve(future, WorkerLost(f"at {address} was lost"))
        processes = self.processes
        for worker in list(self._workers.values()):
            if worker.address not in seen:
                self._drop(worker, "is gone")
            else:
                self._look_at(worker, seen[worker.address], moment)
        self._paused = {address for address, each in seen.items() if not each.is_running}
        self._silent = {
            address: at for address, at in self._silent.items() if address in seen and seen[address].at == at
        }
        unusable = self._refused.keys() | self._silent.keys() | self._paused
        for address in seen.keys() - self._workers.keys() - self._vetting - unusable:
            self._vetting.add(address)
            try:
                threading.Thread(target=self._vet, args=[address, seen[address].at], name="vet", daemon=True).start()
            except RuntimeError:  # no more threads: it is asked after the next look
                self._vetting.discard(address)
        for address in self._refused.keys() - seen.keys():
            del self._refused[address]
        self._changed.set()
        if self.processes != processes:
            self._told(self.processes)
        self._give()  # one may go on after a pause

    def _look_at(self, worker: _Worker, heard: Heartbeat, moment: float) -> None:
        """Drop a worker that has been silent or paused for too long. After a pause it is asked again."""
        if heard.is_running and (heard.at != worker.seen or not worker.is_running):
            worker.seen_at = moment
        worker.seen, worker.is_running = heard.at, heard.is_running
        quiet = moment - worker.seen_at
        if quiet <= _HUNG_SECONDS:
            return
        if not worker.is_running:
            self._drop(worker, f"was paused for {quiet:.0f} s: its memory is full")
            return
        self._silent[worker.address] = heard.at
        self._drop(worker, f"gave no sign of life for {quiet:.0f} s")

    def _vet(self, address: str, seen: float) -> None:
        """Ask a new worker whether it may be used."""
        try:
            refused = vetted(self._link, address, self._spec)
        except OSError:  # of a link that broke, or of a patience that is over: it is asked again
            self._vetting.discard(address)
            return
        except Exception as error:  # noqa: BLE001 - whatever it raises: it has no recvault, say
            refused = f"it cannot be asked: {redact_text(f'{type(error).__name__}: {error}')}"
        with self._lock:
            self._vetting.discard(address)
            if refused is not None:
                self._refused[address] = refused
            else:
                self._workers[address] = _Worker(address, self._link.executor(address), seen, time.monotonic())
        if refused is not None:
            log.error("cluster.worker_refused", worker=address, reason=refused)
        else:
            log.info("cluster.worker_joined", worker=address, workers=len(self._workers))
            self._told(self.processes)
            self._give()
        self._changed.set()

    def _await_workers(self) -> None:
        """Wait for the first usable worker. ConfigError if all present workers are refused."""
        while not self._workers:
            self._stop.check()
            self._changed.wait(_LOOK_SECONDS)
            self._changed.clear()
            if self._lost is not None:
                raise self._lost
            if self._refused and not self._vetting and not self._workers:
                raise ConfigError(self._words(), f"recvault check --cluster {self._link.name} tells of each worker")

    def _words(self) -> str:
        """Say why there is no worker."""
        found = [f"the worker {address} is refused: {why}" for address, why in sorted(self._refused.items())]
        found += [f"the worker {address} gives no sign of life" for address in sorted(self._silent)]
        found += [f"the worker {address} is paused: its memory is full" for address in sorted(self._paused)]
        return "; ".join(found) or "no worker has joined"

    def _give_up(self, why: str) -> None:
        error = EngineLost(
            f"the cluster at {self._link.name} is lost: {why}", "see to it, and run the same command again: it goes on"
        )
        with self._lock:
            self._lost = error
        self._give_back(error)
        self._changed.set()

    def _give_back(self, error: EngineLost) -> None:
        """End each call with this error."""
        with self._lock:
            left = [each[0] for each in self._held] + [future for _, future in self._orphans]
            for worker in self._workers.values():
                left += worker.under
                worker.under.clear()
            self._workers.clear()
            self._held.clear()
            self._orphans.clear()
        for future in left:
            _resolve(future, error)


def joined(link: Link) -> list[str]:
    """Return the addresses of the present workers."""
    return sorted(link.heartbeats(_ANSWER_SECONDS))


def inspected(link: Link, address: str, spec: Spec, *, probes: bool) -> Inspected:
    """Ask a worker about itself. ConfigError if its link is unprotected, so that it must not be asked."""
    if not is_private(address):
        raise ConfigError("rows and signed URLs would travel to it without TLS", "use tls:// for all of the cluster")
    answers = link.ask(_inspect, spec, probes, link.is_own, workers=[address], seconds=_VET_SECONDS)
    if address not in answers:
        raise ConnectionError(f"{address} has gone")
    found: Inspected = answers[address]
    return found


def vetted(link: Link, address: str, spec: Spec) -> str | None:
    """Return why a worker must not be used; None if it may."""
    try:
        inspected(link, address, spec, probes=False).check(spec)
    except RecvaultError as error:
        return str(error)
    return None


def _resolve(future: Future[Any], found: Any) -> None:
    if future.done():
        return
    if isinstance(found, BaseException):
        future.set_exception(found)
    else:
        future.set_result(found)


# -- on a worker -------------------------------------------------------------------------------------------------------


def _apart(fn: Callable[..., Any], *args: Any) -> Any:
    """Leave Dask's thread to its next task: our own threads do the work."""
    from distributed import secede

    secede()
    return fn(*args)


async def _inspect(spec: Spec, probes: bool, is_own: bool) -> Inspected:
    if is_own and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes: the planner ends its own
    return await asyncio.to_thread(inspect, spec, probes)


async def _tell(run: str, order: str) -> None:
    carrier.tell(run, order)


async def _let_go(run: str) -> None:
    await asyncio.to_thread(carrier.let_go, run)  # it may wait for a call that makes its clients: heartbeats go on
