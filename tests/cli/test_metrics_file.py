"""`sync --metrics-file`: what a one-shot leaves for node_exporter's textfile collector."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from cli.commands import run
from recvault.simulator import Simulator
from rig import Rig


def samples(text: str) -> dict[tuple[str, str], float]:
    """Values by name and state or status, where there is one."""
    families = text_string_to_metric_families(text)
    return {
        (sample.name, sample.labels.get("state") or sample.labels.get("status") or ""): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_pass_leaves_its_metrics_in_a_file(rig: Rig, simulator: Simulator) -> None:
    """How all stands, how often the provider was asked and how the pass went, in one file that is written whole."""
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


def test_a_pass_that_fails_leaves_its_metrics_too(rig: Rig, simulator: Simulator) -> None:
    """A provider that is down: exit 75, and the file says that the poll failed."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    rig.sources[0]["base_url"] = "http://127.0.0.1:9"
    path = rig.root / "recvault.prom"
    assert run(rig, "sync", "--json", "--metrics-file", str(path)).code == 75
    polls = [line for line in path.read_text().splitlines() if line.startswith("recvault_polls_total{")]
    assert len(polls) == 1 and 'result="Unavailable"' in polls[0] and polls[0].endswith(" 1.0")
