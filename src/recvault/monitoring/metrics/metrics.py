"""Counters of events, and the scrape."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from recvault import __version__
from recvault.errors import ConfigError
from recvault.ledger import FeedStatus
from recvault.log.lines import get_logger
from recvault.log.meter import LineFacts
from recvault.models import Failure, Job, Outcome, Receipt, State
from recvault.monitoring.health import Health
from recvault.monitoring.metrics.catalogue import FEED, HELP
from recvault.monitoring.metrics.standing import StandingCollector, feed_families, line_families, verdict_families
from recvault.monitoring.observer import Observer
from recvault.monitoring.verdict import Judgement

log = get_logger("recvault.monitoring.metrics")

SUCCESS, OTHER = "success", "other"
_MOST_VALUES = 100  # values of one label, as plug-ins may use any
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)


class Metrics(Observer):
    """The metrics of a process; create one. Thread-safe."""

    def __init__(self) -> None:
        # Else each counter has a second series, which only OpenMetrics uses.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry, self._process = CollectorRegistry(), CollectorRegistry()
        for collector in (
            prometheus_client.ProcessCollector,
            prometheus_client.PlatformCollector,
            prometheus_client.GCCollector,
        ):
            collector(registry=self._process)
        self._standing = StandingCollector()
        self._registry.register(self._standing)
        self._bounds = _Bounds()
        self._lateness: dict[str, float] = {}
        self._lock = threading.Lock()
        self._counters: dict[str, Counter] = {}
        self._polls = self._counter("recvault_polls_total", *FEED, "result")
        self._poll_seconds = self._histogram("recvault_poll_duration_seconds")
        self._skipped = self._counter("recvault_polls_skipped_total", "source")
        self._attempts = self._counter("recvault_attempts_total", "source", "state")
        self._failures = self._counter("recvault_failures_total", "source", "reason")
        self._archived = self._counter("recvault_archived_recordings_total", "source")
        self._bytes = self._counter("recvault_archived_bytes_total", "source")
        self._suspect = self._counter("recvault_suspect_media_total", "source")
        self._transfer_seconds = self._histogram("recvault_transfer_duration_seconds")
        self._job_errors = self._counter("recvault_job_errors_total", "task")
        self._pings_failed = self._counter("recvault_pings_failed_total")
        self._hints = self._counter("recvault_hints_total", "source", "result")
        self._hints_followed = self._counter("recvault_hints_followed_total", "source", "result")
        self._notifications = self._counter("recvault_notifications_total", "channel", "result")
        self._manifests_at = self._gauge("recvault_manifests_complete_timestamp_seconds")
        self._manifest_troubles = self._counter("recvault_manifest_troubles_total")
        self._catalog_at = self._gauge("recvault_catalog_written_timestamp_seconds")
        self._pruned = self._counter("recvault_pruned_recordings_total", "source")
        self._prune_failures = self._counter("recvault_prune_failures_total", "source")
        self._missed = self._counter("recvault_reconcile_missed_recordings_total", "source")
        self._latest = self._gauge("recvault_reconcile_lateness_max_seconds", "source")
        self._trouble = self._gauge("recvault_trouble", "part")
        self._stale_after = self._gauge("recvault_stale_after_seconds")
        self._gauge("recvault_build_info", "version").labels(__version__).set(1)

    # -- pushed --------------------------------------------------------------------------------------------------------

    def expect(self, sources: Iterable[str], stale_after: timedelta) -> None:
        """Show these sources' counters at 0: Prometheus does not see the first step of a series that begins at 1."""
        for source in sources:
            for counter in (self._skipped, self._archived, self._bytes, self._suspect, self._missed):
                counter.labels(source)
        for part in ("bucket", "ledger"):
            self._trouble.labels(part)
        self._stale_after.set(stale_after.total_seconds())

    def expect_job(self, job: str) -> None:
        """Show the errors of a scheduled job at 0, for the same reason."""
        self._job_errors.labels(self._bounds("job", job))

    def trouble(self, part: str, is_on: bool) -> None:
        """Set whether the bucket or the ledger is unusable."""
        self._trouble.labels(part).set(is_on)

    def manifests_since(self, moment: datetime) -> None:
        """Set when manifests were complete before this process began, or when their ledger was created."""
        self._manifests_at.set(moment.timestamp())

    def polled(self, source: str, account_id: str, seconds: float, error: str | None) -> None:
        """Count a finished scan of an account's list; `error` is the class of its error, None for success."""
        self._polls.labels(source, account_id, self._bounds("result", error or SUCCESS)).inc()
        self._poll_seconds.labels(source).observe(seconds)

    def poll_skipped(self, source: str) -> None:
        """Count a poll that was skipped because the previous one was still running."""
        self._skipped.labels(source).inc()

    def settled(self, job: Job, outcome: Outcome, state: State) -> None:
        self._attempts.labels(job.source, state.value).inc()
        if state is State.ARCHIVED:
            self._archived.labels(job.source).inc()
        elif isinstance(outcome, Failure) and state in (State.FAILING, State.DEAD):
            self._failures.labels(job.source, self._bounds("reason", outcome.reason or OTHER)).inc()
        if isinstance(outcome, Receipt):
            self._bytes.labels(job.source).inc(outcome.bytes)
            if suspect := 0 if outcome.already_archived else _suspect(outcome):
                self._suspect.labels(job.source).inc(suspect)

    def transferred(self, source: str, seconds: float) -> None:
        """Record the duration of an attempt."""
        self._transfer_seconds.labels(source).observe(seconds)

    def job_failed(self, job: str) -> None:
        """Count a scheduled job's unexpected error."""
        self._job_errors.labels(self._bounds("job", job)).inc()

    def missed(self, source: str, recordings: int, lateness_seconds: float) -> None:
        """Count recordings that polls had missed, and keep the largest lateness."""
        self._missed.labels(source).inc(recordings)
        with self._lock:
            self._lateness[source] = max(self._lateness.get(source, 0.0), lateness_seconds)
            self._latest.labels(source).set(self._lateness[source])

    def manifests_complete(self, now: datetime, troubles: int) -> None:
        """Set when manifests listed everything due, and count the problems found."""
        self._manifests_at.set(now.timestamp())
        self._manifest_troubles.inc(troubles)

    def catalog_written(self, moment: datetime) -> None:
        """Set when the catalog was last written; before the first time, when the ledger was created."""
        self._catalog_at.set(moment.timestamp())

    def ping_failed(self) -> None:
        """Count a failed ping to ping_url."""
        self._pings_failed.inc()

    def expect_hints(self, source: str, results: Iterable[str]) -> None:
        """Show the hints of a source at 0."""
        for result in results:
            self._hints.labels(source, result)

    def hinted(self, source: str, result: str) -> None:
        """A webhook was received."""
        self._hints.labels(source, result).inc()

    def hint_followed(self, source: str, result: str) -> None:
        """What a hint named was looked for."""
        self._hints_followed.labels(source, result).inc()

    def notified(self, channel: str, result: str, count: int) -> None:
        """Notifications were sent by a channel, failed or were dropped; a count of 0 shows the series."""
        self._notifications.labels(self._bounds("channel", channel), result).inc(count)

    def pruned(self, source: str, count: int, *, failed: int) -> None:
        """A prune deleted so many recordings at the provider, and failed to delete so many; 0 shows the series."""
        self._pruned.labels(source).inc(count)
        self._prune_failures.labels(source).inc(failed)

    def reloaded(self, ok: bool, now: datetime) -> None:
        """Record that the configuration was loaded or reloaded, or that this failed."""
        self._standing.reload_ok = ok
        if ok:
            self._standing.read_at = now

    # -- asked at each scrape ------------------------------------------------------------------------------------------

    def observe_feeds(
        self, judged: Callable[[], Iterable[tuple[FeedStatus, Health]]], clock: Callable[[], datetime]
    ) -> None:
        """Set where the state of feeds is read at each scrape."""
        self._standing.feeds = lambda: feed_families(judged(), clock())

    def observe_verdict(self, found: Callable[[], Judgement]) -> None:
        """Read whether all is safe from here from now on."""
        self._standing.verdict = lambda: verdict_families(found())

    def observe_lines(self, lines: Callable[[], Iterable[LineFacts]]) -> None:
        """Set where the state of providers is read at each scrape."""
        self._standing.lines = lambda: line_families(lines())

    # -- shown ---------------------------------------------------------------------------------------------------------

    def text(self) -> bytes:
        """Return a scrape in CONTENT_TYPE, including the process's own metrics."""
        return prometheus_client.generate_latest(self._registry) + prometheus_client.generate_latest(self._process)

    def continue_from(self, path: Path) -> None:
        """Start each counter with its value in the file of an earlier pass, so that it counts over all passes."""
        try:
            families = list(text_string_to_metric_families(path.read_text()))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("metrics.file_unreadable", path=path, error=str(error), hint="counters begin at 0")
            return
        for sample in (sample for family in families for sample in family.samples):
            if (counter := self._counters.get(sample.name)) is not None:
                (counter.labels(**sample.labels) if sample.labels else counter).inc(sample.value)

    def write_textfile(self, path: Path) -> None:
        """Replace a file of node_exporter's textfile collector. Raises ConfigError if that is impossible.

        The process's own metrics are left out: node_exporter has some of the same names, and would refuse the file.
        """
        if path.suffix != ".prom":
            raise ConfigError(
                f"the metrics' file {path} does not end in .prom", "node_exporter only reads files with that ending"
            )
        try:
            _replace(path, prometheus_client.generate_latest(self._registry))
        except OSError as error:
            raise ConfigError(
                f"the metrics cannot be written to {path}: {error.strerror}",
                "create its directory with free space and write permission, or use another file",
            ) from error

    def _counter(self, name: str, *labels: str) -> Counter:
        self._counters[name] = Counter(name, HELP[name], labels, registry=self._registry)
        return self._counters[name]

    def _gauge(self, name: str, *labels: str) -> Gauge:
        return Gauge(name, HELP[name], labels, registry=self._registry)

    def _histogram(self, name: str) -> Histogram:
        return Histogram(name, HELP[name], ["source"], registry=self._registry, buckets=_BUCKETS)


def _replace(path: Path, body: bytes) -> None:
    """Replace a file atomically, by way of a file with an unpredictable name, so that nobody can place a link there."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(beside, new, 0o666), "wb") as file:  # minus the umask: node_exporter must be able to read it
        try:
            file.write(body)
            file.flush()
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


class _Bounds:
    """Limits the number of values of each label: every value is a permanent series."""

    def __init__(self) -> None:
        self._met: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def __call__(self, label: str, value: str) -> str:
        """Return the value, or `other` if the label has too many already."""
        with self._lock:
            met = self._met.setdefault(label, set())
            if len(met) < _MOST_VALUES:
                met.add(value)
            return value if value in met else OTHER


def _suspect(receipt: Receipt) -> int:
    """Return how many media were archived although their check failed."""
    return sum(medium.check.status == "suspect" for medium in receipt.media)
