"""Series as a real recvault exports them: its passes at times of a simulated clock, scraped hourly, for promtool.

Only `up`, which Prometheus adds, is invented.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from recvault.app.runtime import Runtime
from recvault.monitoring.metrics import Metrics
from recvault.monitoring.observer import Observer, Observers
from recvault.monitoring.risks import Reason, Risk
from recvault.operations.manifests import complete_at
from rig import START, Rig
from systemd.lab import UNITS

HOUR = timedelta(hours=1)
EVERY = 5  # minutes between samples: to Prometheus an older one is gone
_HELD = 60 // EVERY
_RULES: list[dict[str, Any]] = yaml.safe_load((UNITS / "recvault.rules.yml").read_text())["groups"][0]["rules"]
_ASKED = " ".join(str(rule["expr"]) for rule in _RULES)

Key = tuple[str, str]  # a series' name and labels


@dataclass
class Recorder(Observer):
    """A daemon's metrics and problems, over passes at its clock's times."""

    rig: Rig
    moment: datetime = START
    metrics: Metrics = field(default_factory=Metrics)
    hours: list[dict[Key, float]] = field(default_factory=list)  # the samples of each scrape
    beside: dict[str, Reason] = field(default_factory=dict)  # the daemon's own problems

    def trouble(self, part: str, is_on: bool) -> None:
        self.beside.pop(part, None)
        if is_on:
            self.beside[part] = Reason(risk=Risk(part), message=f"{part}: refused", command="recvault check")

    @property
    def watched(self) -> dict[str, datetime]:
        return {source["name"]: START for source in self.rig.sources}

    def opened(self) -> Runtime:
        """Open a runtime with our clock."""
        self.rig.simulator.set_now(self.moment)
        return self.rig.runtime(lambda: self.moment)

    def observe(self, runtime: Runtime) -> None:
        """Let the metrics read this runtime, as the daemon does."""
        self.metrics.expect([source["name"] for source in self.rig.sources], timedelta(hours=24))
        self.metrics.expect_job("poll:voice")
        self.metrics.manifests_since(complete_at(runtime.ledger) or runtime.ledger.born_at)
        self.metrics.observe_feeds(lambda: runtime.judged(self.watched), lambda: self.moment)
        self.metrics.observe_verdict(lambda: runtime.verdict(self.beside.values(), self.watched))
        self.metrics.observe_lines(runtime.line_facts)

    def run(
        self, hours: int, *, before: Callable[[int], object] = lambda hour: None, passes_every: int = 2, scrape: int = 1
    ) -> None:
        """Pass and scrape for so many hours; `before` is called before each."""
        for hour in range(len(self.hours), len(self.hours) + hours):
            self.moment = START + hour * HOUR
            if hour % scrape:
                self.hours.append(self.hours[-1])
                continue
            with self.opened() as runtime:
                before(hour)
                if hour % passes_every == 0:
                    runtime.sync("run", list(self.watched), Observers(self, self.metrics))
                self.observe(runtime)
                self.hours.append(scraped(self.metrics.text().decode()))


def scraped(text: str) -> dict[Key, float]:
    """Return every sample that alerts use; times are relative to the start, as in promtool.

    The start itself is at 1, because a time of 0 means that there was none.
    """
    found, zero = {}, START.timestamp() - 1
    for each in (sample for family in text_string_to_metric_families(text) for sample in family.samples):
        if each.name in _ASKED:
            labels = ", ".join(f"{name}={json.dumps(label)}" for name, label in sorted(each.labels.items()))
            is_moment = each.value and each.name.endswith("_timestamp_seconds")
            found[each.name, labels] = each.value - zero if is_moment else each.value
    return found


def series(hours: list[dict[Key, float]], job: str = "recvault", instance: str = "one", up: str = "") -> list[Any]:
    """Write scraped samples for promtool, one every few minutes; `_` if a scrape had none."""
    where = f'job="{job}", instance="{instance}"'
    keys = {key: None for hour in hours for key in hour}
    made = [
        {
            "series": f"{name}{{{', '.join(filter(None, [labels, where]))}}}",
            "values": " ".join(_held(hour.get((name, labels))) for hour in hours),
        }
        for name, labels in keys
    ]
    return [*made, {"series": f"up{{{where}}}", "values": up or f"1x{len(hours) * _HELD}"}]


def _held(value: float | None) -> str:
    return " ".join(["_" if value is None else repr(value)] * _HELD)


def promtool(binary: str, root: Path, input_series: list[Any], expected: Iterable[tuple[str, str, set[str]]]) -> str:
    """Return promtool's errors: each expectation is an expression, a time, and the alerts that must fire."""
    rules = root / "recvault.rules.yml"
    rules.write_text((UNITS / "recvault.rules.yml").read_text())
    asked = [
        {"expr": f"max by (alertname) ({expr})", "eval_time": at, "exp_samples": [_one(name) for name in sorted(names)]}
        for expr, at, names in expected
    ]
    test = {"interval": f"{EVERY}m", "input_series": input_series, "promql_expr_test": asked}
    whole = {"rule_files": [str(rules)], "evaluation_interval": f"{EVERY}m", "tests": [test]}
    (root / "test.yml").write_text(yaml.safe_dump(whole))
    said = subprocess.run(
        [binary, "test", "rules", "test.yml"], cwd=root, capture_output=True, text=True, timeout=100, check=False
    )
    return "" if said.returncode == 0 else said.stdout + said.stderr


def _one(name: str) -> dict[str, Any]:
    return {"labels": f'{{alertname="{name}"}}', "value": 1}


FIRING = 'ALERTS{alertstate="firing"}'
EVER = f"max_over_time({FIRING}[8d])"
