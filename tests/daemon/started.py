"""The daemon as systemd starts it: a process, observed by its log, endpoint, bucket and exit."""

from __future__ import annotations

import json
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from cli.commands import PATIENCE, Ran, environment, until
from forked import popen
from recvault.archive import layout
from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import Bucket

_RUN = """
import sys
from recvault.cli import main
from recvault.daemon import daemon
daemon._LOOK_SECONDS = 0.1
{prelude}
main(sys.argv[1:])
"""
_HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Started:
    """A `recvault run --json` of a rig. `prelude` is Python that the process runs first, e.g. to shorten a wait."""

    def __init__(self, rig: Rig, number: int, prelude: str, words: Iterable[str], more: dict[str, str]) -> None:
        self.rig = rig
        self.out, self.err = (rig.root / f"run-{number}.{name}" for name in ("out", "err"))
        with self.out.open("wb") as out, self.err.open("wb") as err:  # files: an unread pipe would fill up
            command = [sys.executable, "-c", _RUN.format(prelude=prelude), "--config", str(rig.config_path), *words]
            self.process = popen(command, environment(rig.root, **more), stdout=out, stderr=err, cwd=rig.root)

    # -- its log -------------------------------------------------------------------------------------------------------

    @property
    def log(self) -> list[dict[str, Any]]:
        """Return all complete lines so far, each an event."""
        lines = self.err.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [each for each in self.log if each["event"] == name]

    def tells(self, name: str, times: int = 1, seconds: float = 20.0) -> dict[str, Any]:
        """Wait until an event was logged that often; return the last one."""
        until(lambda: len(self.events(name)) >= times or self.process.poll() is not None, seconds)
        found = self.events(name)
        assert len(found) >= times, f"it ended without {name}: {self.err.read_text()[-2000:]}"
        return found[times - 1]

    def ready(self) -> Started:
        self.tells("daemon.ready")
        return self

    # -- its endpoint --------------------------------------------------------------------------------------------------

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and body of an answer."""
        url = f"http://{self.rig.daemon['metrics_listen']}{path}"
        try:
            with _HTTP.open(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def healthz(self) -> tuple[int, dict[str, Any]]:
        code, body = self.get("/healthz")
        return code, json.loads(body)

    def conditions(self) -> dict[str, str]:
        """Return each source's condition from /healthz."""
        return {each["source"]: each["condition"] for each in self.healthz()[1]["sources"]}

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    # -- its end -------------------------------------------------------------------------------------------------------

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def reload(self) -> None:
        """Send SIGHUP, after the rig's configuration was rewritten."""
        assert self.rig.config_path.exists()
        self.send(signal.SIGHUP)

    def ended(self) -> Ran:
        """Wait for its end, and check that there is no traceback."""
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
        ran = Ran(self.process.returncode, self.out.read_text(), self.err.read_text())
        assert "Traceback" not in ran.stderr, ran.stderr
        return ran

    def stopped(self, number: int = signal.SIGTERM) -> Ran:
        self.send(number)
        return self.ended()

    def killed(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# -- what is true ------------------------------------------------------------------------------------------------------


def archived(bucket: Bucket) -> set[str]:
    """Return the ids of committed recordings."""
    keys = [Path(key) for key in list(bucket.objects)]
    return {key.stem for key in keys if key.suffix == ".json" and key.parts[0] == "recordings"}


def asked(simulator: Simulator) -> Counter[str]:
    """Count the requests for each recording's media."""
    return Counter(each.path for each in simulator.requests if each.path.endswith(".wav"))


def lists(simulator: Simulator, within: str) -> int:
    """Count the requests for the list below this path."""
    ends = ("/Recordings.json", "/Recordings", "/recordings")
    return simulator.count(lambda each: within in each.path and each.path.endswith(ends))


def ids(simulator: Simulator, *accounts: SimAccount) -> set[str]:
    """Return the ids that an archive of these accounts must contain."""
    return {recording.recording_id for account in accounts for recording in simulator.truth(account)}


def assert_truth(rig: Rig, bucket: Bucket, *owned: tuple[Simulator, SimAccount, str]) -> None:
    """Check that every recording of these accounts is stored byte for byte, once, and nothing else is.

    Except manifests, and facts of calls that came late.
    """
    beside = (layout.MANIFESTS, layout.CALLS)
    objects = {key: body for key, body in rig.objects().items() if not key.startswith(beside)}
    sidecars = rig.sidecars()
    truth = {
        recording.recording_id: (simulator, recording, media_format)
        for simulator, account, media_format in owned
        for recording in simulator.truth(account)
    }
    assert set(sidecars) == set(truth)
    named = {medium["key"] for sidecar in sidecars.values() for medium in sidecar["media"]}
    assert len(objects) == len(named) + len(sidecars) + 1  # plus the schema
    for recording_id, (simulator, recording, media_format) in truth.items():
        (medium,) = sidecars[recording_id]["media"]
        assert objects[medium["key"]] == simulator.media(recording, media_format).read()
    assert {key: times for key, times in bucket.writes.items() if times > 1 and key.startswith("recordings/")} == {}
