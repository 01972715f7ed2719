"""`sync` under a timer: its file for node_exporter's textfile collector, and its pings."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.commands import run
from recvault.ledger import DaemonLock
from recvault.simulator import Simulator
from rig import Rig, now


class Monitor:
    """A dead man's switch that records the posted paths and texts."""

    def __init__(self) -> None:
        heard: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.heard = heard
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def samples(text: str) -> dict[tuple[str, str], float]:
    """Return values by name and, if present, state or status."""
    families = text_string_to_metric_families(text)
    return {
        (sample.name, sample.labels.get("state") or sample.labels.get("status") or ""): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_pass_leaves_its_metrics_in_a_file(rig: Rig, simulator: Simulator) -> None:
    """State, request counts and the pass's result are in one file, which is replaced atomically."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3)
    rig.add_source("voice", "twilio", account)
    path = rig.root / "recvault.prom"
    ran = run(rig, "sync", "--json", "--metrics-file", str(path))
    assert ran.code == 0
    found = samples(path.read_text())
    assert found[("recvault_recordings", "archived")] == 3
    assert found[("recvault_archived_recordings_total", "")] == 3
    assert found[("recvault_archived_bytes_total", "")] == ran.document["sources"][0]["bytes"]
    assert found[("recvault_api_requests_total", "200")] == ran.document["sources"][0]["requests"]
    assert found[("recvault_source_stale", "")] == 0


def test_counters_go_on_from_the_file_of_the_pass_before(rig: Rig, simulator: Simulator) -> None:
    """Counters continue from the previous pass's file, as in a daemon."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3)
    rig.add_source("voice", "twilio", account)
    path = rig.root / "recvault.prom"
    found = [
        samples(path.read_text())[("recvault_archived_recordings_total", "")]
        for _ in range(2)
        if run(rig, "sync", "--metrics-file", str(path)).code == 0
    ]
    assert found == [3, 3]


def test_a_pass_that_fails_leaves_its_metrics_too(rig: Rig, simulator: Simulator) -> None:
    """With an unreachable provider the exit code is 75, and the file has the failed poll."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    rig.sources[0]["base_url"] = "http://127.0.0.1:9"
    path = rig.root / "recvault.prom"
    assert run(rig, "sync", "--json", "--metrics-file", str(path)).code == 75
    polls = [line for line in path.read_text().splitlines() if line.startswith("recvault_polls_total{")]
    assert len(polls) == 1 and 'result="Unavailable"' in polls[0] and polls[0].endswith(" 1.0")


@pytest.mark.parametrize(
    ("goes_well", "told"), [(True, ["/key/start", "/key"]), (False, ["/key/start", "/key/fail"])], ids=["well", "fails"]
)
def test_a_pass_pings(rig: Rig, simulator: Simulator, goes_well: bool, told: list[str]) -> None:
    """A pass pings its start and its success or failure with the reason, as the daemon does."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    if not goes_well:
        rig.sources[0]["base_url"] = "http://127.0.0.1:9"
    with Monitor() as monitor:
        rig.daemon = {"ping_url": f"{monitor.url}/key"}
        run(rig, "sync")
    assert [path for path, _ in monitor.heard] == told
    assert goes_well or "127.0.0.1" in monitor.heard[-1][1]


def test_a_pass_beside_the_daemon_leaves_pings_to_it(rig: Rig, simulator: Simulator) -> None:
    """A failing pass beside a working daemon does not ping."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    with Monitor() as monitor:
        rig.daemon = {"ping_url": f"{monitor.url}/key"}
        rig.sync()  # creates the ledger
        lock = DaemonLock(rig.root / "ledger.db", now())
        try:
            run(rig, "sync")
        finally:
            lock.close()
    assert monitor.heard == []
