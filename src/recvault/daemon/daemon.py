"""The daemon: one lock, one endpoint, and a new service after each reload of the configuration.

The main thread does nothing that can block: it checks the flags that signals set and sends systemd its keep-alive. A
hung daemon stops its watchdog keep-alive, so systemd restarts it. kill -9 is always safe.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta

from recvault.alerts import Teller
from recvault.alerts.event import TROUBLE
from recvault.app import notification, wiring
from recvault.config import Config
from recvault.daemon.changes import changes, secret_prints
from recvault.daemon.endpoint import TEXT, Endpoint, EndpointAnswer, Posted
from recvault.daemon.healthz import healthz
from recvault.daemon.notify import Notify
from recvault.daemon.service import DaemonService
from recvault.daemon.vigil import Vigil
from recvault.errors import ConfigError, Interrupted, LedgerDamaged, RecvaultError
from recvault.http import Ping
from recvault.ledger import DaemonLock, DaemonTrouble
from recvault.log.lines import get_logger, redact_text
from recvault.monitoring.health import Condition
from recvault.monitoring.metrics import CONTENT_TYPE, Metrics
from recvault.monitoring.report import Report
from recvault.monitoring.risks import Reason, Risk
from recvault.monitoring.verdict import Judgement
from recvault.shutdown import Stop

log = get_logger("recvault.daemon")

_LOOK_SECONDS = 0.5  # between two checks of the flags: a signal taken by another thread wakes nobody
_STATUS_EVERY = timedelta(seconds=5)
_VIGIL_EVERY = timedelta(seconds=60)
_TELL_EVERY = timedelta(seconds=30)
_PATIENCE_SECONDS = 60.0  # how long a part may hang if systemd sets no watchdog time
_CLOCK_JUMP_SECONDS = 30.0
_END_SECONDS = 15.0  # past drain_timeout, for all that the end takes
_RELOAD_SECONDS = 1.0  # that a stop waits for a reload under way
_UNWELL = (Condition.SLOW, Condition.FAILING, Condition.STALE)


class Daemon:
    """`run` returns when a stop is requested, with a report of everything since its start."""

    def __init__(
        self,
        load: Callable[[], Config],
        *,
        clock: Callable[[], datetime],
        stop: Stop,
        reload: threading.Event,
        environment: Mapping[str, str],
    ) -> None:
        self._load = load
        self._clock = clock
        self._stop = stop
        self._reload_asked = reload
        self._notify = Notify(environment)
        self._metrics = Metrics()
        self._vigil = Vigil(self._metrics)
        self._report = Report(command="run", started_at=clock())
        self._open = ExitStack()
        self._lock: DaemonLock
        self._endpoint: Endpoint | None = None
        self._hints_endpoint: Endpoint | None = None
        self._hints_at = ""  # where it listens
        self._ping = Ping("")
        self._teller: Teller | None = None
        self._prints: dict[str, str] = {}
        self._reloader = threading.Thread()
        self._retired: list[threading.Thread] = []
        self._silence: str | None = None
        self._refused: str | None = None  # the configuration that a reload found, and why it is not in use
        self._error: str | None = None  # the one that ends it
        self.lingers = False  # a thread waits for an answer and cannot be joined: end the process without it

    def run(self) -> Report:
        """Work until a stop is requested. Raises what prevents its start, and what ends it."""
        settings = self._load()
        self._notify.status("opening ledger and bucket")
        self._lock = DaemonLock(settings.ledger.path, self._clock())
        self._open.callback(lambda: self._lock.close(self._error))
        with self._open, self._noting_errors():
            self._service = self._opened(settings)
            self._open.callback(lambda: self._service.close())
            self._endpoint = self._listening(settings)
            self._take(settings)
            self._metrics.reloaded(True, self._clock())
            drift = self._drift()
            self._notify.ready()
            log.info("daemon.ready", sources=[source.name for source in settings.sources], ledger=settings.ledger.path)
            try:
                self._keep(drift)
            finally:
                self._end()
            if self._service.fatal is not None:
                raise self._service.fatal
        return self._report

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        """Store an error that ends the daemon, for `status`; a requested stop is none."""
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            self._error = redact_text(str(error) or type(error).__name__)
            raise

    # -- while it runs -------------------------------------------------------------------------------------------------

    def _keep(self, drift: float) -> None:
        """Check the flags, again and again, until a stop. `drift`: the clock's, from before the daemon was ready."""
        alive_at = 0.0
        while not self._stop.asked.wait(_LOOK_SECONDS) and self._service.fatal is None:
            moment = time.monotonic()
            if self._reload_asked.is_set() and not self._reloader.is_alive():
                self._reload_asked.clear()
                self._reloader = threading.Thread(target=self._reload, name="reload")
                self._reloader.start()
            if abs(self._drift() - drift) > _CLOCK_JUMP_SECONDS:
                log.warning("clock.jumped", seconds=round(self._drift() - drift))
                drift = self._drift()
                self._service.clock_was_set()
            if moment - alive_at >= self._notify.watchdog_seconds / 4 and self._goes_on():
                alive_at = moment
                self._notify.alive()

    def _drift(self) -> float:
        """Difference between wall clock and monotonic clock; suspending the machine changes it too."""
        return self._clock().timestamp() - time.monotonic()

    def _goes_on(self) -> bool:
        silence = self._service.silent(self._notify.watchdog_seconds / 2 or _PATIENCE_SECONDS)
        if silence is not None and self._silence is None:
            log.error("watchdog.silent", reason=silence)
        self._silence = silence
        return silence is None

    def _words(self) -> str:
        """Make the line of `systemctl status`."""
        if troubles := [*self._troubles(), *self._warnings()]:
            return troubles[0].message
        work, judged = self._service.work, self._service.judged()
        unwell = [f"{status.feed.source} {how.condition}" for status, how in judged if how.condition in _UNWELL]
        waiting = sum(status.standing.pending for status, _ in judged)
        archived = sum(row.archived for row in self._report.accounts.values())
        names = f" ({', '.join(unwell[:3])}{' …' if len(unwell) > 3 else ''})" if unwell else ""
        return (
            f"{len(work.sources)} sources, {len(unwell)} with problems{names}; {work.dispatch.running} transfers "
            "running, "
            f"{waiting} recordings waiting, {archived} archived since start"
        )

    def _troubles(self) -> list[Reason]:
        found = self._service.troubles()
        if self._silence is not None:
            found.insert(0, Reason(risk=Risk.STUCK, message=self._silence, command="recvault support-bundle"))
        return found

    def _warnings(self) -> list[Reason]:
        """Problems that do not stop the daemon."""
        bugs = self._service.bugs()
        if self._refused is None:
            return bugs
        words = f"the last reload was refused, the old configuration stays in use: {self._refused}"
        return [Reason(risk=Risk.RELOAD, message=words, command="recvault check --config-only"), *bugs]

    def _verdict(self) -> Judgement:
        return self._service.verdict([*self._troubles(), *self._warnings()])

    # -- what is asked of it -------------------------------------------------------------------------------------------

    def _metrics_page(self) -> EndpointAnswer:
        return EndpointAnswer(200, CONTENT_TYPE, self._metrics.text())

    def _healthz(self) -> EndpointAnswer:
        return healthz(self._service.judged(), self._verdict())

    def _look(self) -> None:
        self._vigil.look(self._service.judged(), [each.message for each in self._troubles()], self._ping)

    def _publish(self) -> None:
        """Tell `recvault status` what is wrong, so that it does not call safe what /healthz does not."""
        told = [*self._troubles(), *self._warnings()]
        self._lock.tell([DaemonTrouble(each.risk.value, redact_text(each.message), each.command) for each in told])

    def _tell(self, teller: Teller) -> None:
        """Notify about changes. An error affects only this turn: the next one checks again."""
        try:
            teller.look(self._service.judged(), self._verdict())
            teller.deliver()
        except (Interrupted, LedgerDamaged):
            raise
        except RecvaultError as error:
            log.warning("notify.look_failed", error=str(error))

    # -- configurations ------------------------------------------------------------------------------------------------

    def _opened(
        self, settings: Config, before: DaemonService | None = None, *, with_bucket: bool = True
    ) -> DaemonService:
        service = DaemonService(
            settings,
            clock=self._clock,
            report=self._report,
            metrics=self._metrics,
            watched_since=before.watched_since if before else None,
            earlier=before.runtime if before else None,
        )
        try:
            self._stop.attend(lambda: service.open(with_bucket=with_bucket))
        except BaseException:
            service.close()
            raise
        return service

    def _take(self, settings: Config) -> None:
        """Connect endpoint, ping and metrics to the current service, and start it."""
        self._ping = wiring.ping(settings.daemon)
        self._prints = secret_prints(settings)
        self._metrics.observe_feeds(lambda: self._service.judged(), self._clock)
        self._metrics.observe_verdict(self._verdict)
        self._metrics.expect([source.name for source in settings.sources], settings.daemon.stale_after)
        self._metrics.observe_lines(lambda: self._service.runtime.line_facts())
        self._service.look_in("vigil", _VIGIL_EVERY, self._look)
        self._service.look_in("troubles", _STATUS_EVERY, self._publish)
        self._teller = notification.teller(self._service.runtime, self._metrics.notified)
        if (teller := self._teller) is not None:
            self._service.look_in("notify", _TELL_EVERY, lambda: self._tell(teller))
        if self._notify.is_heard:
            self._service.look_in("status", _STATUS_EVERY, lambda: self._notify.status(self._words()))
        self._service.start()
        self._listen_for_hints(settings.daemon.hints_listen)

    def _listen_for_hints(self, listen: str) -> None:
        """Receive hints at this address. If that fails, polls still find everything."""
        if listen == self._hints_at:
            return
        if self._hints_endpoint is not None:
            self._hints_endpoint.close()
        self._hints_endpoint, self._hints_at = None, listen
        if not listen:
            return
        try:
            self._hints_endpoint = Endpoint(listen, {}, receiver=self._hint, key="daemon.hints_listen")
        except ConfigError as error:
            self._hints_at = ""  # a reload tries again
            log.error("hints.not_listening", error=str(error))

    def _hint(self, posted: Posted) -> EndpointAnswer:
        desk = self._service.hints
        return desk.receive(posted) if desk is not None else EndpointAnswer(404, TEXT, b"not found\n")

    def _listening(self, settings: Config) -> Endpoint | None:
        """Open the configured endpoint. ConfigError if it cannot listen."""
        routes = {"/metrics": self._metrics_page, "/healthz": self._healthz}
        listen = settings.daemon.metrics_listen
        return Endpoint(listen, routes) if listen else None

    def _reload(self) -> None:
        """Reload the configuration. An invalid one is refused, and the old one stays."""
        self._notify.reloading()
        try:
            self._exchange(self._load())
        except Interrupted:
            return
        except RecvaultError as error:
            self._refused = "; ".join(str(error).splitlines())
            log.error("config.refused", error=self._refused, hint="the old configuration stays")
            self._metrics.reloaded(False, self._clock())
        else:
            self._refused = None
            self._metrics.reloaded(True, self._clock())
        finally:
            self._notify.ready()

    def _exchange(self, settings: Config) -> None:
        """Replace the service; the old one drains meanwhile."""
        old = self._service
        told = changes(old.settings, settings, self._prints, secret_prints(settings))
        with ExitStack() as undo:
            lock, endpoint = self._lock, self._endpoint
            if settings.ledger.path != old.settings.ledger.path:
                lock = DaemonLock(settings.ledger.path, self._clock())
                undo.callback(lock.close)
            # An unreachable bucket must not prevent a reload with a corrected token.
            new = self._opened(settings, old, with_bucket=settings.archive != old.settings.archive)
            undo.callback(new.close)
            if lost := sorted(_usable(old) & {source.name for source in settings.sources} - _usable(new)):
                raise ConfigError(f"{', '.join(lost)} can no longer be used; the log says why")
            if settings.daemon.metrics_listen != old.settings.daemon.metrics_listen:
                endpoint = self._listening(settings)
            self._stop.check()
            undo.pop_all()
        old.ask_stop()
        self._retire(old, self._lock if lock is not self._lock else None)
        if self._endpoint is not None and endpoint is not self._endpoint:
            self._endpoint.close()
        self._service, self._lock, self._endpoint = new, lock, endpoint
        self._take(settings)
        log.info("config.reloaded", changes=told or ["nothing"])

    def _retire(self, old: DaemonService, lock: DaemonLock | None) -> None:
        def end() -> None:
            old.join()
            old.work.complete()
            old.close()
            if lock is not None:
                lock.close()

        self._retired = [thread for thread in self._retired if thread.is_alive()]
        self._retired.append(threading.Thread(target=end, name="retire"))
        self._retired[-1].start()

    # -- the end -------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Drain, commit, and report what was done."""
        self._stop.allowance.extend(self._service.settings.daemon.drain_timeout.total_seconds() + _END_SECONDS)
        self._notify.stopping("draining: waiting for running transfers")
        if self._reloader.is_alive():
            self._reloader.join(_RELOAD_SECONDS)
        log.info("daemon.stopping", running=self._service.work.dispatch.running)
        self._service.ask_stop()
        ended = self._service.join() and not self._reloader.is_alive()
        for thread in self._retired:
            thread.join()
        try:
            self._service.work.complete()
        except LedgerDamaged as error:
            self._service.fatal = self._service.fatal or error
        self._report.interrupted = self._stop.asked.is_set()
        self._say_end()
        if self._service.fatal is not None:
            self._ping.fail(str(self._service.fatal))
            if self._teller is not None:
                self._teller.tell_now(TROUBLE, "daemon", f"the daemon ends: {self._service.fatal}")
        for endpoint in (self._endpoint, self._hints_endpoint):
            if endpoint is not None:
                endpoint.close()
        self.lingers = not ended

    def _say_end(self) -> None:
        rows = self._report.accounts.values()
        counted = ("listed", "registered", "archived", "bytes", "failed", "dead", "quarantined", "requests")
        log.info("daemon.stopped", **{name: sum(getattr(row, name) for row in rows) for name in counted})


def _usable(service: DaemonService) -> set[str]:
    return {source.name for source in service.work.sources}
