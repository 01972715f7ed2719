"""The daemon deletes at the provider what is older than `prune_after`, and only where that is configured."""

from __future__ import annotations

from cli.commands import run
from daemon.conftest import Start
from operations.prune.lab import NOW, OLD, archived, away
from recvault.daemon.prune_job import PruneJob
from recvault.monitoring.metrics import Metrics
from rig import Rig


def look(rig: Rig, metrics: Metrics) -> None:
    with rig.runtime(lambda: NOW) as runtime:
        runtime.prepare_store()
        source = runtime.source("acme")
        assert source.prune_after is not None
        PruneJob(runtime, metrics, "acme", source.prune_after).look()


def test_what_is_old_enough_is_deleted_and_told(rig: Rig) -> None:
    """A look deletes what is proven; `status` tells how much, and what came of the last look."""
    account = archived(rig, 3, prune_after="30d")
    metrics = Metrics()
    rig.simulator.set_now(NOW)
    look(rig, metrics)
    assert len(away(rig.simulator, account)) == 3
    [source] = run(rig, "status", "--json").document["sources"]
    told_so = source["pruned"]
    assert (told_so["recordings"], told_so["last_run"]["deleted"], told_so["last_run"]["error"]) == (3, 3, None)
    assert 'recvault_pruned_recordings_total{source="acme"} 3.0' in metrics.text().decode()
    page = run(rig, "status", "acme").stdout
    assert "3 recordings" in page and "3 deleted, 0 failed" in page


def test_young_ones_wait(rig: Rig) -> None:
    """Nothing that is younger than prune_after is deleted."""
    account = archived(rig, 2, prune_after="60d")
    rig.simulator.set_now(NOW)
    look(rig, Metrics())
    assert away(rig.simulator, account) == set()


def test_an_error_ends_only_this_look(rig: Rig) -> None:
    """If the provider refuses, `status` names the error; the next look goes on."""
    account = archived(rig, 2, prune_after="30d")
    rig.simulator.set_now(NOW)
    metrics, secret = Metrics(), rig.root / "acme.auth_token.secret"
    right = secret.read_text()
    secret.write_text("wrong")
    look(rig, metrics)
    [source] = run(rig, "status", "--json").document["sources"]
    assert "401" in source["pruned"]["last_run"]["error"]
    assert 'recvault_prune_failures_total{source="acme"} 1.0' in metrics.text().decode()
    secret.write_text(right)
    look(rig, metrics)
    assert len(away(rig.simulator, account)) == 2


def test_the_daemon_prunes_where_it_is_configured(rig: Rig, start: Start) -> None:
    """A running daemon deletes at the source with prune_after, and at no other."""
    account = archived(rig, 2, prune_after="30d")
    rig.add_source("other", "twilio", other := rig.simulator.add_account("twilio"))
    rig.simulator.add(other, "voice", created_at=OLD, duration_seconds=0.2)
    rig.simulator.set_now(NOW)
    daemon = start()
    assert daemon.tells("prune.done")["deleted"] == 2
    assert len(away(rig.simulator, account)) == 2
    daemon.tells("transfer.archived")
    assert away(rig.simulator, other) == set()
