"""A scrape shows what operators alert on, and continues if something cannot be read."""

from __future__ import annotations

import inspect
import os
import re
import stat
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.ended import settled
from recvault import __version__
from recvault.errors import ConfigError, LedgerLocked
from recvault.ledger import Feed, FeedStatus, StateCounts
from recvault.log.meter import LineFacts
from recvault.models import State
from recvault.monitoring.health import Condition, Health
from recvault.monitoring.metrics import CONTENT_TYPE, NAMES, Metrics
from recvault.monitoring.observer import Observer, Observers

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
FEED = FeedStatus(
    feed=Feed("main", "twilio", "AC1"),
    watermark=NOW - 26 * HOUR,
    last_success_at=NOW - HOUR,
    standing=StateCounts(pending=5, failing=2, not_ready=1, archived=7, gone=3, external=4, dead=6, quarantined=8),
    oldest_pending_at=NOW - 3 * HOUR,
    waiting_since=NOW - 2 * HOUR,
    last_archived_at=NOW - 4 * HOUR,
    next_attempt_at=NOW + HOUR,
)
AC1 = {"source": "main", "account_id": "AC1"}
LINE = LineFacts(source="main", answers={"200": 41, "error": 1}, concurrency=16, max_concurrency=32)


def a_metrics(*judged: tuple[FeedStatus, Health], lines: Iterable[LineFacts] = ()) -> Metrics:
    metrics = Metrics()
    metrics.observe_feeds(lambda: judged, lambda: NOW)
    metrics.observe_lines(lambda: lines)
    return metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return a sample's value, as Prometheus parses it."""
    found = [
        sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) < 2, f"{name} stands twice: Prometheus refuses such a scrape"
    return found[0] if found else None


def families(metrics: Metrics) -> dict[str, str]:
    """Return every family of a scrape and its HELP text."""
    return dict(re.findall(r"^# HELP (\S+) ?(.*)$", metrics.text().decode(), re.MULTILINE))


def busy() -> Metrics:
    """A Metrics to which everything has happened."""
    metrics = a_metrics((FEED, Health(Condition.OK)), lines=[LINE])
    metrics.expect(["main"], timedelta(days=1))
    metrics.polled("main", "AC1", 0.3, None)
    metrics.poll_skipped("main")
    settled(metrics, State.ARCHIVED, size=100, suspect=True)
    settled(metrics, State.FAILING, "media.truncated")
    metrics.transferred("main", 3.0)
    metrics.job_failed("poll")
    metrics.missed("main", 2, 90.0)
    metrics.ping_failed()
    metrics.reloaded(True, NOW)
    return metrics


@pytest.mark.parametrize("metrics", [Metrics, busy], ids=["nothing happened", "everything happened"])
def test_names_are_those_of_a_scrape(metrics: type[Metrics]) -> None:
    """A scrape has exactly the families in NAMES, plus the process's own."""
    shown = families(metrics())
    assert {name for name in shown if not name.startswith(("process_", "python_"))} == NAMES
    assert all(name.startswith("recvault_") for name in NAMES)
    assert [name for name, text in shown.items() if not text.strip()] == []


def test_names_keep_to_prometheus_conventions() -> None:
    """Only counters end in _total, and there are no _created series."""
    text = busy().text().decode()
    types = dict(re.findall(r"^# TYPE (recvault_\S+) (\w+)$", text, re.MULTILINE))
    assert {n for n in types if n.endswith("_total")} == {n for n, kind in types.items() if kind == "counter"}
    assert "_created" not in text


def test_the_process_is_shown() -> None:
    """The process's memory, open files and garbage collections are shown."""
    shown = families(Metrics())
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info", "python_gc_collections_total"} <= set(
        shown
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("recvault_last_success_timestamp_seconds", (NOW - HOUR).timestamp()),
        ("recvault_watermark_timestamp_seconds", (NOW - 26 * HOUR).timestamp()),
        ("recvault_watermark_lag_seconds", 26 * 3600),
        ("recvault_last_archived_timestamp_seconds", (NOW - 4 * HOUR).timestamp()),
        ("recvault_oldest_pending_age_seconds", 3 * 3600),
        ("recvault_oldest_waiting_age_seconds", 2 * 3600),
        ("recvault_next_attempt_timestamp_seconds", (NOW + HOUR).timestamp()),
        ("recvault_source_stale", 0),
    ],
)
def test_an_account_as_it_stands(name: str, expected: float) -> None:
    """Times and ages of an account are in seconds."""
    assert value(a_metrics((FEED, Health(Condition.OK))), name, **AC1) == expected


def test_what_has_not_been_is_left_out() -> None:
    """Unset times are left out, ages of nothing are 0, and a slow clock gives no negative age."""
    metrics = a_metrics((FeedStatus(feed=FEED.feed, oldest_pending_at=NOW + HOUR), Health(Condition.NEW)))
    for name in ("last_success_timestamp", "watermark_timestamp", "watermark_lag", "next_attempt_timestamp"):
        assert value(metrics, f"recvault_{name}_seconds", **AC1) is None
    assert value(metrics, "recvault_oldest_pending_age_seconds", **AC1) == 0
    assert value(metrics, "recvault_oldest_waiting_age_seconds", **AC1) == 0


def test_each_recording_is_counted_once() -> None:
    """Each recording is counted in one state: pending excludes failing."""
    metrics = a_metrics((FEED, Health(Condition.OK)))
    states = ("pending", "failing", "not_ready", "archived", "gone", "external", "dead", "quarantined")
    counts = {state: value(metrics, "recvault_recordings", state=state, **AC1) for state in states}
    assert list(counts.values()) == [3, 2, 1, 7, 3, 4, 6, 8]


@pytest.mark.parametrize("condition", list(Condition))
def test_a_condition_is_one_of_a_set(condition: Condition) -> None:
    """One condition is 1, the others 0, and stale has its own gauge."""
    metrics = a_metrics((FEED, Health(condition, "words")))
    shown = {each: value(metrics, "recvault_source_condition", condition=each, **AC1) for each in Condition}
    assert shown == {each: float(each is condition) for each in Condition}
    assert value(metrics, "recvault_source_stale", **AC1) == float(condition is Condition.STALE)


@pytest.mark.parametrize("order", [1, -1], ids=["own list first", "own list last"])
def test_several_lists_of_an_account_are_one_series(order: int) -> None:
    """An account is one series: gauges of its own list, the worst condition of all its lists."""
    other = replace(FEED, feed=replace(FEED.feed, list="reconcile"), last_success_at=NOW - 9 * HOUR)
    metrics = a_metrics(*[(FEED, Health(Condition.SLOW)), (other, Health(Condition.STALE))][::order])
    own = value(metrics, "recvault_last_success_timestamp_seconds", **AC1)
    assert own == (NOW - HOUR).timestamp()
    assert value(metrics, "recvault_source_condition", condition="stale", **AC1) == 1
    assert value(metrics, "recvault_source_condition", condition="slow", **AC1) == 0


def test_a_provider_as_it_is_asked() -> None:
    """Requests by status and the concurrency limits are shown."""
    metrics = a_metrics(lines=[LINE])
    assert value(metrics, "recvault_api_requests_total", source="main", status="200") == 41
    assert value(metrics, "recvault_api_requests_total", source="main", status="error") == 1
    assert value(metrics, "recvault_api_concurrency", source="main") == 16
    assert value(metrics, "recvault_api_concurrency_max", source="main") == 32


def test_observing_anew_replaces() -> None:
    """After a reload a removed source is not shown, and none is shown twice."""
    metrics = a_metrics((FEED, Health(Condition.OK)), lines=[LINE])
    metrics.observe_feeds(list, lambda: NOW)
    metrics.observe_lines(lambda: [replace(LINE, source="new")])
    assert value(metrics, "recvault_source_stale", **AC1) is None
    assert value(metrics, "recvault_api_concurrency", source="main") is None
    assert value(metrics, "recvault_api_concurrency", source="new") == 16


def locked() -> Iterable[tuple[FeedStatus, Health]]:
    yield FEED, Health(Condition.OK)
    raise LedgerLocked("the ledger is locked by another process", "wait")


def test_a_locked_ledger_costs_its_own_metrics_only(caplog: pytest.LogCaptureFixture) -> None:
    """If the ledger is locked, only its metrics are missing, which is shown and logged."""
    metrics = a_metrics(lines=[LINE])
    assert value(metrics, "recvault_scrape_error") == 0
    metrics.observe_feeds(locked, lambda: NOW)
    metrics.ping_failed()
    assert value(metrics, "recvault_scrape_error") == 1
    assert value(metrics, "recvault_source_stale", **AC1) is None
    assert value(metrics, "recvault_api_concurrency", source="main") == 16
    assert value(metrics, "recvault_pings_failed_total") == 1
    assert "metrics.scrape_failed" in caplog.text
    metrics.observe_feeds(lambda: [(FEED, Health(Condition.OK))], lambda: NOW)
    assert value(metrics, "recvault_scrape_error") == 0


def test_polls_by_result() -> None:
    """Each poll counts once by result, and its duration is in one histogram."""
    metrics = Metrics()
    for error in (None, None, "CredentialsRefused"):
        metrics.polled("main", "AC1", 90.0, error)
    assert value(metrics, "recvault_polls_total", result="success", **AC1) == 2
    assert value(metrics, "recvault_polls_total", result="CredentialsRefused", **AC1) == 1
    assert value(metrics, "recvault_poll_duration_seconds_sum", source="main") == 270
    assert value(metrics, "recvault_poll_duration_seconds_bucket", source="main", le="60.0") == 0
    assert value(metrics, "recvault_poll_duration_seconds_bucket", source="main", le="120.0") == 3


def test_outcomes_of_transfers() -> None:
    """Archived recordings and bytes are counted; not ready and drained are no failures."""
    metrics = Metrics()
    for state, reason, count in (
        ("archived", None, 100),
        ("archived", None, 20),
        ("failing", "media.truncated", 0),
        ("dead", "media.truncated", 0),
        ("dead", None, 0),
        ("not_ready", "provider.unfinished", 0),
        ("pending", "drained", 0),
    ):
        settled(metrics, State(state), reason, size=count)
    assert value(metrics, "recvault_archived_recordings_total", source="main") == 2
    assert value(metrics, "recvault_archived_bytes_total", source="main") == 120
    assert value(metrics, "recvault_failures_total", source="main", reason="media.truncated") == 2
    assert value(metrics, "recvault_failures_total", source="main", reason="other") == 1
    assert value(metrics, "recvault_failures_total", source="main", reason="drained") is None
    assert value(metrics, "recvault_attempts_total", source="main", state="dead") == 2
    assert value(metrics, "recvault_attempts_total", source="main", state="not_ready") == 1


def test_what_polls_missed() -> None:
    """Missed recordings are added up, and the largest lateness is kept."""
    metrics = Metrics()
    for recordings, lateness in ((2, 90.0), (0, 0.0), (1, 30.0)):
        metrics.missed("main", recordings, lateness)
    assert value(metrics, "recvault_reconcile_missed_recordings_total", source="main") == 3
    assert value(metrics, "recvault_reconcile_lateness_max_seconds", source="main") == 90


def test_reloads() -> None:
    """Before the first reload nothing is shown; a failed one keeps the time of the current configuration."""
    metrics = Metrics()
    ok, at = "recvault_config_last_reload_successful", "recvault_config_last_reload_success_timestamp_seconds"
    seen = [(value(metrics, ok), value(metrics, at))]
    for worked, now in ((True, NOW), (False, NOW + HOUR)):
        metrics.reloaded(worked, now)
        seen.append((value(metrics, ok), value(metrics, at)))
    assert seen == [(None, None), (1, NOW.timestamp()), (0, NOW.timestamp())]


def test_expected_sources_begin_at_zero() -> None:
    """Counters of expected sources begin at 0, so that increase() sees their first step."""
    metrics = Metrics()
    metrics.expect(["main"], timedelta(days=1))
    metrics.poll_skipped("main")
    metrics.expect(["main"], timedelta(days=1))  # a reload resets nothing
    assert value(metrics, "recvault_reconcile_missed_recordings_total", source="main") == 0
    assert value(metrics, "recvault_polls_skipped_total", source="main") == 1
    assert value(metrics, "recvault_pings_failed_total") == 0


def test_a_label_has_few_values() -> None:
    """A label has at most a hundred values, even if a plug-in puts ids into reasons."""
    metrics = Metrics()
    for number in range(150):
        settled(metrics, State.FAILING, f"plugin.{number}")
    settled(metrics, State.FAILING, "plugin.7")
    assert value(metrics, "recvault_failures_total", source="main", reason="plugin.7") == 2
    assert value(metrics, "recvault_failures_total", source="main", reason="other") == 50


def test_the_version_is_shown() -> None:
    """The running version is shown."""
    assert value(Metrics(), "recvault_build_info", version=__version__) == 1


def test_a_text_file_for_node_exporter(tmp_path: Path) -> None:
    """The file has our metrics without node_exporter's names, and replaces the old one."""
    path = tmp_path / "recvault.prom"
    path.write_text("old")
    busy().write_textfile(path)
    shown = {family.name for family in text_string_to_metric_families(path.read_text())}
    assert shown == {name.removesuffix("_total") for name in NAMES}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_no_pass_wrote_costs_no_pass(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An unreadable file is logged, and counters begin at 0."""
    path = tmp_path / "recvault.prom"
    path.write_text("recvault_archived_recordings_total{source=main 3")
    metrics = Metrics()
    metrics.continue_from(path)
    metrics.expect(["main"], timedelta(days=1))
    assert value(metrics, "recvault_archived_recordings_total", source="main") == 0


def test_what_an_alarm_counts_begins_at_zero() -> None:
    """Counters for alerts begin at 0."""
    metrics = Metrics()
    metrics.expect(["main"], timedelta(days=1))
    metrics.expect_job("poll:main")
    assert value(metrics, "recvault_job_errors_total", task="poll:main") == 0
    assert [value(metrics, "recvault_trouble", part=part) for part in ("bucket", "ledger")] == [0, 0]
    metrics.trouble("bucket", True)
    assert value(metrics, "recvault_trouble", part="bucket") == 1


def test_a_text_file_goes_through_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link at the file's name is replaced, and one at the temporary name is refused."""
    secret, path = tmp_path / "secret", tmp_path / "recvault.prom"
    secret.write_text("ours")
    path.symlink_to(secret)
    for foretold in (os.getpid(), threading.get_ident()):
        (tmp_path / f"recvault.prom.{foretold}").symlink_to(secret)
    (tmp_path / f"recvault.prom.{os.getpid()}.{threading.get_ident()}").symlink_to(secret)
    Metrics().write_textfile(path)
    assert (secret.read_text(), path.is_symlink()) == ("ours", False)
    assert "recvault_build_info" in path.read_text()
    monkeypatch.setattr("recvault.monitoring.metrics.metrics.secrets.token_hex", lambda length: "guessed")
    (tmp_path / ".recvault.prom.guessed").symlink_to(secret)
    with pytest.raises(ConfigError, match="File exists"):
        Metrics().write_textfile(path)
    assert secret.read_text() == "ours"


@pytest.mark.parametrize("umask", [0o022, 0o077], ids=oct)
def test_a_text_file_has_the_rights_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    """The file's mode follows the umask, so that node_exporter can read it unless forbidden."""
    before = os.umask(umask)
    try:
        Metrics().write_textfile(tmp_path / "recvault.prom")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "recvault.prom").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none/recvault.prom", "No such file or directory (create its directory"),
        ("recvault.txt", "end in .prom (node_exporter only reads"),
    ],
)
def test_a_text_file_that_cannot_be(tmp_path: Path, name: str, words: str) -> None:
    """If the file cannot be written, the error names it with a hint."""
    with pytest.raises(ConfigError) as caught:
        Metrics().write_textfile(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert words in str(caught.value)


def test_each_is_alone() -> None:
    """Two instances share nothing."""
    first, second = Metrics(), Metrics()
    first.ping_failed()
    assert value(second, "recvault_pings_failed_total") == 0


def test_the_content_type_is_prometheus_text() -> None:
    """The content type is the classic text format."""
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


def test_suspect_media_are_counted_once() -> None:
    """Suspect media count when archived, not again when found archived."""
    metrics = Metrics()
    settled(metrics, State.ARCHIVED, size=5, suspect=True)
    settled(metrics, State.ARCHIVED, size=5, suspect=True, already_archived=True)
    settled(metrics, State.ARCHIVED, size=5)
    assert value(metrics, "recvault_suspect_media_total", source="main") == 1


def test_several_observers_are_told_the_same() -> None:
    """Every event reaches each of several observers, with all its values."""
    told: list[tuple[str, ...]] = []
    names = [name for name in vars(Observer) if not name.startswith("_")]
    kinds = [type(each, (Observer,), {}) for each in ("First", "Second")]
    for kind in kinds:
        for name in names:
            setattr(kind, name, lambda self, *args, name=name: told.append((type(self).__name__, name, *args)))
    both = Observers(*(kind() for kind in kinds))
    for name in names:
        arguments = [str(number) for number, _ in enumerate(inspect.signature(getattr(Observer, name)).parameters)][1:]
        getattr(both, name)(*arguments)
        assert told == [("First", name, *arguments), ("Second", name, *arguments)]
        told.clear()
