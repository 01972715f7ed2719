"""Alerts and dashboard use only existing metrics and labels."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from monitoring.ended import settled
from recvault.ledger import Feed, FeedStatus
from recvault.log.meter import LineFacts
from recvault.models import State
from recvault.monitoring.health import Condition, Health
from recvault.monitoring.metrics import Metrics
from recvault.monitoring.verdict import Judgement
from systemd.lab import UNITS

NOW = datetime(2026, 10, 1, tzinfo=UTC)
RULES: list[dict[str, Any]] = yaml.safe_load((UNITS / "recvault.rules.yml").read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((UNITS / "dashboard.json").read_text())
TARGETS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [*(rule["expr"] for rule in RULES), *TARGETS]
_SERIES = re.compile(r"\b(recvault_\w+)(\{[^}]*\})?")
_LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')


@pytest.fixture(scope="module")
def scraped() -> dict[str, list[dict[str, str]]]:
    """Return the labels of every sample in a scrape in which everything has happened."""
    metrics = Metrics()
    metrics.expect(["main"], timedelta(days=1))
    metrics.polled("main", "AC1", 1.0, None)
    settled(metrics, State.ARCHIVED, size=10, suspect=True)
    settled(metrics, State.DEAD, "media.truncated")
    metrics.transferred("main", 1.0)
    metrics.job_failed("poll:main")
    metrics.missed("main", 1, 60.0)
    metrics.ping_failed()
    metrics.notified("webhook", "dropped", 1)
    metrics.reloaded(True, NOW)
    feed = FeedStatus(feed=Feed("main", "twilio", "AC1"), watermark=NOW, last_success_at=NOW, last_archived_at=NOW)
    metrics.observe_feeds(lambda: [(feed, Health(Condition.OK))], lambda: NOW)
    metrics.observe_verdict(Judgement)
    metrics.observe_lines(
        lambda: [LineFacts(source="main", answers={"200": 1, "error": 1}, concurrency=1, max_concurrency=2)]
    )
    families = text_string_to_metric_families(metrics.text().decode())
    samples: dict[str, list[dict[str, str]]] = {}
    for sample in (sample for family in families for sample in family.samples):
        samples.setdefault(sample.name, []).append(dict(sample.labels))
    return samples


def test_the_alarms_fire_when_they_must_and_only_then(tmp_path: Path) -> None:
    """Prometheus' own rule tests pass: machines down, timers, outages, the first error of each kind."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with Debian's prometheus")
    for path in (UNITS / "recvault.rules.yml", Path(__file__).with_name("rules_test.yml")):
        shutil.copy(path, tmp_path)
    for arguments in (["check", "rules", "recvault.rules.yml"], ["test", "rules", "rules_test.yml"]):
        said = subprocess.run([promtool, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert said.returncode == 0, said.stdout + said.stderr


def named(expression: str) -> list[tuple[str, dict[str, str]]]:
    """Return the series in an expression, with the label values that it selects."""
    return [(name, dict(_LABEL.findall(labels or ""))) for name, labels in _SERIES.findall(expression)]


@pytest.mark.parametrize("number", range(len(EXPRESSIONS)))
def test_every_series_named_is_scraped(scraped: dict[str, list[dict[str, str]]], number: int) -> None:
    """Every series in an alert is in a scrape, since an alert on a missing metric never fires."""
    for name, wanted in named(EXPRESSIONS[number]):
        assert name in scraped
        for label, value in wanted.items():
            there = {labels.get(label) for labels in scraped[name]}
            assert None not in there, f"{name} has no label {label}"
            assert value.startswith("$") or set(value.split("|")) <= there, f"{name} is never of {label} {value}"


@pytest.mark.parametrize("number", range(len(EXPRESSIONS)))
def test_what_is_summed_by_is_a_label(scraped: dict[str, list[dict[str, str]]], number: int) -> None:
    """Every label in a sum exists."""
    expression = EXPRESSIONS[number]
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        for label in labels.split(", "):
            assert all(label in _labels(scraped, name) for name, _ in named(expression)), (label, expression)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_every_alarm_says_what_to_do(rule: dict[str, Any], scraped: dict[str, list[dict[str, str]]]) -> None:
    """Every alert has a severity, a one-line summary with existing labels, and a description."""
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert len(rule["annotations"]["description"]) > 60
    labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = re.findall(r"by \(([^)]*)\)", rule["expr"])
    every = {label for name, _ in named(rule["expr"]) for label in _labels(scraped, name)}
    had = set(kept[0].split(", ")) if kept else every
    assert labels <= had


def test_what_must_wake_somebody_does() -> None:
    """Every way to lose recordings unnoticed has an alert."""
    watched = {name for rule in RULES for name, _ in named(rule["expr"])}
    assert {
        "recvault_safe",
        "recvault_source_stale",
        "recvault_source_quiet",
        "recvault_source_condition",
        "recvault_recordings",
        "recvault_oldest_waiting_age_seconds",
        "recvault_last_archived_timestamp_seconds",
        "recvault_trouble",
        "recvault_reconcile_missed_recordings_total",
        "recvault_config_last_reload_successful",
        "recvault_pings_failed_total",
        "recvault_scrape_error",
        "recvault_api_concurrency",
        "recvault_job_errors_total",
    } <= watched
    assert 'up{job="recvault"} == 0 or absent(recvault_build_info)' in {rule["expr"] for rule in RULES}


def _labels(scraped: dict[str, list[dict[str, str]]], name: str) -> set[str]:
    """Return a series' labels: its samples', and those that Prometheus adds."""
    return {*scraped[name][0], "job", "instance"}


def test_the_dashboard_lays_nothing_over_another() -> None:
    """Every panel has its own place, a title and a series."""
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["title"] and panel["targets"] for panel in DASHBOARD["panels"])
