"""The state of feeds and providers, read at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from recvault.ledger import FeedStatus, StateCounts
from recvault.log.lines import get_logger
from recvault.log.meter import LineFacts
from recvault.models import ACCOUNT
from recvault.monitoring.health import Condition, Health
from recvault.monitoring.metrics.catalogue import FEED_GAUGES, HELP
from recvault.monitoring.risks import Risk
from recvault.monitoring.verdict import Judgement

log = get_logger("recvault.monitoring.metrics")

_NEVER = datetime.min.replace(tzinfo=UTC)
_WORST_LAST = tuple(Condition)
_REQUESTS = "recvault_api_requests_total"
_CONCURRENCY, _CONCURRENCY_MAX = "recvault_api_concurrency", "recvault_api_concurrency_max"


class StandingCollector(Collector):
    """Collects the current state at each scrape."""

    def __init__(self) -> None:
        self.feeds: Callable[[], Iterable[GaugeMetricFamily]] = lambda: feed_families((), _NEVER)
        self.verdict: Callable[[], Iterable[GaugeMetricFamily]] = lambda: verdict_families(None)
        self.lines: Callable[[], Iterable[CounterMetricFamily | GaugeMetricFamily]] = lambda: line_families(())
        self.reload_ok: bool | None = None
        self.read_at: datetime | None = None

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield every family that can be read, and whether any could not."""
        broken = 0
        for part, ask in (("feeds", self.feeds), ("verdict", self.verdict), ("lines", self.lines)):
            try:
                yield from ask()
            except Exception as error:  # noqa: BLE001 - no failure here may lose the rest of the scrape
                broken = 1
                log.warning("metrics.scrape_failed", part=part, error=str(error), kind=type(error).__name__)
        yield _gauge("recvault_scrape_error", broken)
        yield _gauge("recvault_config_last_reload_successful", self.reload_ok)
        read_at = self.read_at.timestamp() if self.read_at else None
        yield _gauge("recvault_config_last_reload_success_timestamp_seconds", read_at)


def _gauge(name: str, value: float | None) -> GaugeMetricFamily:
    """Return a gauge without labels, and without a sample if the value is None."""
    return GaugeMetricFamily(name, HELP[name], value=None if value is None else float(value))


def feed_families(judged: Iterable[tuple[FeedStatus, Health]], now: datetime) -> Iterable[GaugeMetricFamily]:
    """Return the gauges of every account, from its own list; its condition is the worst of its lists.

    One sample per account: with a duplicate series Prometheus rejects the whole scrape.
    """
    families = {name: GaugeMetricFamily(name, HELP[name], labels=labels) for name, labels in FEED_GAUGES.items()}
    accounts: dict[tuple[str, str], tuple[FeedStatus, Condition]] = {}
    quiet: set[tuple[str, str]] = set()
    for feed, health in judged:
        key = (feed.feed.source, feed.feed.account_id)
        shown, condition = accounts.get(key, (feed, health.condition))
        own = feed if feed.feed.list == str(ACCOUNT) else shown
        accounts[key] = own, max(condition, health.condition, key=_WORST_LAST.index)
        quiet |= {key} if any(reason.risk is Risk.QUIET for reason in health.reasons) else set()
    for key, (feed, condition) in accounts.items():
        for name, labels, value in _measures(feed, condition, now):
            families[name].add_metric([*key, *labels], value)
        families["recvault_source_quiet"].add_metric(key, key in quiet)
    return families.values()


def verdict_families(found: Judgement | None) -> Iterable[GaugeMetricFamily]:
    """Whether all is safe, and each kind of risk as 0 or 1: a series that is born at 1 is easily missed."""
    safe = _gauge("recvault_safe", None)
    risk = GaugeMetricFamily("recvault_risk", HELP["recvault_risk"], labels=["reason"])
    if found is not None:
        safe.add_metric([], found.is_safe)
        for each in Risk:
            risk.add_metric([each.value], each in found.risks)
    return safe, risk


def _measures(feed: FeedStatus, condition: Condition, now: datetime) -> Iterator[tuple[str, Sequence[str], float]]:
    """Yield a feed's gauges; times that are not set are left out."""
    moments = {
        "recvault_last_success_timestamp_seconds": feed.last_success_at,
        "recvault_watermark_timestamp_seconds": feed.watermark,
        "recvault_last_archived_timestamp_seconds": feed.last_archived_at,
        "recvault_next_attempt_timestamp_seconds": feed.next_attempt_at,
    }
    yield from ((name, (), moment.timestamp()) for name, moment in moments.items() if moment)
    if feed.watermark:
        yield "recvault_watermark_lag_seconds", (), _age(feed.watermark, now)
    yield "recvault_oldest_pending_age_seconds", (), _age(feed.oldest_pending_at, now)
    yield "recvault_oldest_waiting_age_seconds", (), _age(feed.waiting_since, now)
    yield "recvault_oldest_transfer_age_seconds", (), _age(feed.transfer_since, now)
    for state, count in _counts(feed.standing).items():
        yield "recvault_recordings", (state,), count
    for each in Condition:
        yield "recvault_source_condition", (each.value,), each is condition
    yield "recvault_source_stale", (), condition is Condition.STALE


def _counts(standing: StateCounts) -> dict[str, int]:
    """Count each recording once: the ledger's pending includes the failing ones."""
    counts = {name: int(getattr(standing, name)) for name in StateCounts.__dataclass_fields__}
    return counts | {"pending": standing.pending - standing.failing}


def _age(moment: datetime | None, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0


def line_families(lines: Iterable[LineFacts]) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
    """Return the request counts and limits of each source's provider."""
    requests = CounterMetricFamily(_REQUESTS, HELP[_REQUESTS], labels=["source", "status"])
    now = GaugeMetricFamily(_CONCURRENCY, HELP[_CONCURRENCY], labels=["source"])
    most = GaugeMetricFamily(_CONCURRENCY_MAX, HELP[_CONCURRENCY_MAX], labels=["source"])
    for line in {line.source: line for line in lines}.values():
        for status, count in line.answers.items():
            requests.add_metric([line.source, status], count)
        now.add_metric([line.source], line.concurrency)
        most.add_metric([line.source], line.max_concurrency)
    return (requests, now, most)
