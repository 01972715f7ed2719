"""`status`, /healthz, metrics and alerts report the same problems, over series recorded from a real run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from cli.commands import run_each
from recvault.cli.overview import look
from recvault.daemon.healthz import healthz
from recvault.ledger import DaemonLock, DaemonTrouble
from recvault.monitoring.metrics import Metrics
from recvault.monitoring.observer import Observers
from recvault.monitoring.risks import Reason, Risk
from recvault.operations.manifests import note_complete
from recvault.simulator import SimAccount, Simulator
from rig import START, Rig
from strict_s3 import Bucket
from systemd.recorded import EVER, EVERY, FIRING, HOUR, Recorder, promtool, scraped, series


@pytest.fixture(scope="module")
def binary() -> str:
    """Return Prometheus' own evaluation."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: it comes with Debian's prometheus")
    return found


@dataclass
class Stage:
    """A source whose account gets a recording every six hours, and what may happen to it."""

    recorder: Recorder
    account: SimAccount
    simulator: Simulator
    bucket: Bucket

    def new(self, hour: int) -> None:
        """Add a recording every six hours."""
        if hour % 6 == 0:
            self.simulator.add(self.account, "voice", created_at=START + hour * HOUR - timedelta(minutes=9))

    def well(self, hours: int) -> None:
        self.recorder.run(hours, before=self.daily)

    def daily(self, hour: int) -> None:
        self.new(hour)
        if hour % 24 == 6:
            with self.recorder.opened() as runtime:
                note_complete(runtime.ledger, self.recorder.moment)


@pytest.fixture
def stage(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> Stage:
    account = simulator.add_account("twilio")
    rig.transfer = {"max_attempts": 1000, "retry_base": "1s", "retry_max": "1s"}
    rig.add_source("voice", "twilio", account)
    return Stage(Recorder(rig), account, simulator, strict_bucket)


def nothing(stage: Stage) -> None:
    stage.well(4)


def bucket_down(stage: Stage) -> None:
    stage.bucket.denied |= {"PUT"}
    stage.well(8)


def media_host_away(stage: Stage) -> None:
    stage.simulator.faults.plan("html_200", times=100_000, kind="media")  # a gateway answers instead
    stage.well(8)


def source_refused(stage: Stage) -> None:
    Path(stage.recorder.rig.sources[0]["auth_token"]["file"]).write_text("f" * 32)
    stage.well(4)


def source_silent(stage: Stage) -> None:
    stage.recorder.run(26, passes_every=1000)  # no scan ends


def dead(stage: Stage) -> None:
    stage.recorder.rig.transfer["max_attempts"] = 1
    stage.simulator.faults.plan("error_body_200", times=100_000, kind="media")
    stage.well(4)


def reload_refused(stage: Stage) -> None:
    stage.recorder.metrics.reloaded(False, stage.recorder.moment)
    reason = Reason(risk=Risk.RELOAD, message="the last reload was refused", command="recvault check --config-only")
    stage.recorder.beside["reload"] = reason
    stage.well(4)


def bug_once(stage: Stage) -> None:
    stage.recorder.metrics.job_failed("poll:voice")
    reason = Reason(risk=Risk.BUG, message="the last turn of poll:voice failed", command="recvault support-bundle")
    stage.recorder.beside["bug"] = reason
    stage.well(1)


def manifests_never(stage: Stage) -> None:
    stage.recorder.run(52, before=stage.new, passes_every=6)


NOT_SAFE = "RecvaultNotSafe"
FAILS = "RecvaultRecordingsFailing"
WAITING = ("RecvaultNothingArchived", "RecvaultPendingTooOld")
STATES: dict[str, tuple[Callable[[Stage], None], set[Risk], str, set[str]]] = {
    "all well": (nothing, set(), "ok", set()),
    "bucket down": (bucket_down, {Risk.BUCKET}, "failing", {NOT_SAFE, "RecvaultTrouble", FAILS, *WAITING}),
    "media host away": (media_host_away, set(), "ok", {FAILS, *WAITING}),
    "a source refused": (source_refused, {Risk.FAILING}, "degraded", {NOT_SAFE, "RecvaultSourceFailing"}),
    "a source silent": (source_silent, {Risk.STALE}, "failing", {NOT_SAFE, "RecvaultSourceStale"}),
    "dead": (dead, {Risk.DEAD}, "degraded", {NOT_SAFE, "RecvaultRecordingsDead"}),
    "a broken reload": (reload_refused, {Risk.RELOAD}, "degraded", {NOT_SAFE, "RecvaultReloadRefused"}),
    "a bug": (bug_once, {Risk.BUG}, "degraded", {"RecvaultBug"}),
    "manifests never": (manifests_never, {Risk.MANIFESTS}, "degraded", {NOT_SAFE, "RecvaultManifestsLate"}),
}


@pytest.mark.parametrize("state", STATES)
def test_each_state_is_judged_alike(stage: Stage, binary: str, tmp_path: Path, state: str) -> None:
    """`status`, /healthz, recvault_safe and the alerts agree in each state."""
    befall, risks, status, alerts = STATES[state]
    recorder = stage.recorder
    if befall is not manifests_never:
        stage.well(6)
    befall(stage)
    with recorder.opened() as runtime:
        found = runtime.verdict(recorder.beside.values(), recorder.watched)
        answer = healthz(runtime.judged(recorder.watched), found)
        lock = DaemonLock(recorder.rig.root / "ledger.db", START)
        lock.tell([DaemonTrouble(each.risk.value, each.message, each.command) for each in recorder.beside.values()])
        told = look(runtime, recorder.moment).verdict
        lock.close()
    assert found.risks == told.risks == risks
    document = json.loads(answer.body)
    assert (document["status"], document["safe"]) == (status, not risks)
    assert answer.status == (503 if status == "failing" else 200)
    last = recorder.hours[-1]
    assert last["recvault_safe", ""] == (not risks)
    hours = len(recorder.hours)
    wrong = promtool(binary, tmp_path, series(recorder.hours), [(FIRING, f"{hours * 60 - EVERY}m", alerts)])
    assert wrong == ""


@pytest.mark.long
def test_all_well_for_a_week(stage: Stage, binary: str, tmp_path: Path) -> None:
    """With recordings every six hours, passes, and daily manifests no alert ever fires."""
    stage.recorder.run(7 * 24, before=stage.daily, passes_every=6, scrape=3)
    assert all(hour["recvault_safe", ""] == 1 for hour in stage.recorder.hours)
    assert promtool(binary, tmp_path, series(stage.recorder.hours), [(EVER, "167h", set())]) == ""


def test_a_daemon_that_died(stage: Stage, binary: str, tmp_path: Path) -> None:
    """A dead daemon, alone or one of two, is reported as down, it alone, and its last values no longer count."""
    stage.well(6)
    alive = series(stage.recorder.hours, instance="two")
    gone = [*stage.recorder.hours[:3], *({} for _ in range(3))]
    down = series(gone, up="1x35 0x36")
    for number, (input_series, labels) in enumerate(((down, ""), ([*down, *alive], ', instance="one"'))):
        root = tmp_path / str(number)
        root.mkdir()
        named = f'ALERTS{{alertstate="firing", alertname="RecvaultDown"{labels}}}'
        others = 'ALERTS{alertstate="firing", instance="two"}'
        expected = [(named, "5h", {"RecvaultDown"}), (named, "2h", set()), (others, "5h", set())]
        assert promtool(binary, root, input_series, expected) == ""
    lock = DaemonLock(stage.recorder.rig.root / "ledger.db", START)
    name = (stage.recorder.rig.root / "ledger.db.daemon").read_text()
    lock.close()
    (stage.recorder.rig.root / "ledger.db.daemon").write_text(name)
    (ran,) = run_each(stage.recorder.rig, ["status", "--json"])
    assert "daemon" in {each["risk"] for each in ran.document["verdict"]["details"]}


@pytest.mark.parametrize("hours", [48, 60])
def test_a_timer(stage: Stage, binary: str, tmp_path: Path, hours: int) -> None:
    """With passes by a timer and node_exporter's file all is ok while they run, and stale a day after they stop."""
    recorder, path = stage.recorder, tmp_path / "recvault.prom"
    stopped = 24 if hours == 60 else hours
    for hour in range(hours):
        recorder.moment = START + hour * HOUR
        if hour % 6 == 0 and hour < stopped:
            stage.new(hour)
            metrics = Metrics()
            metrics.continue_from(path)
            metrics.expect(["voice"], timedelta(hours=24))
            with recorder.opened() as runtime:
                metrics.observe_feeds(lambda: runtime.judged({}), lambda: recorder.moment)
                metrics.observe_verdict(runtime.verdict)
                runtime.sync("sync", ["voice"], Observers(metrics))
                metrics.write_textfile(path)
        recorder.hours.append(scraped(path.read_text()))
    with recorder.opened() as runtime:
        risks = look(runtime, recorder.moment).verdict.risks
    alerts = {"RecvaultSourceStale"} if stopped < hours else set()
    assert risks == ({Risk.STALE} if alerts else set())
    expected = [(EVER, f"{hours * 60 - EVERY}m", alerts), (EVER, "40h", set())]
    assert promtool(binary, tmp_path, series(recorder.hours, job="node"), expected) == ""
