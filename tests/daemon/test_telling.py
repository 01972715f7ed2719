"""The daemon and scheduled passes notify of changes: once, over kills and restarts, without delaying anything."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from cli.commands import run, until
from daemon.conftest import Start
from daemon.started import archived, ids
from recvault.ledger import DaemonLock
from recvault.simulator import SimAccount, Simulator
from recvault.testing import Answer, Front
from rig import Rig, now
from strict_s3 import Bucket

QUICK = """
from datetime import timedelta
from recvault.daemon import daemon
daemon._TELL_EVERY = timedelta(seconds=0.2)
"""
SECRET = {"RECVAULT_HOOK": "s3cret-of-a-hook"}
Serve = Callable[..., Front]


@pytest.fixture
def account(rig: Rig, simulator: Simulator) -> SimAccount:
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3, conference_share=0)
    rig.add_source("voice", "twilio", account, poll_every="0.4s")
    return account


def hook(rig: Rig, front: Front) -> None:
    rig.notify = {
        "webhook": f"{front.origin}/hook",
        "webhook_secret": {"env": "RECVAULT_HOOK"},
        "trouble_after": "0s",
    }


def heard(front: Front) -> list[str]:
    """Return the received events, each once: one may be repeated after a kill, with the same id."""
    told = [json.loads(each.body) for each in list(front.seen)]
    return [each["data"]["event"] for each in {each["id"]: each for each in told}.values()]


def test_a_daemon_tells_trouble_and_recovery_once(rig: Rig, account: SimAccount, start: Start) -> None:
    """A failing list is one notice, even over a kill and a restart; its recovery is another."""
    with Front(lambda request: Answer()) as front:
        hook(rig, front)
        works, rig.sources[0]["base_url"] = rig.sources[0]["base_url"], "http://127.0.0.1:9"
        first = start(prelude=QUICK, **SECRET).ready()
        until(lambda: heard(front) == ["trouble"])
        first.killed()
        second = start(prelude=QUICK, **SECRET).ready()
        second.tells("discover.failed", 2)
        rig.sources[0]["base_url"] = works
        second.reload()
        until(lambda: len(heard(front)) > 1)
        assert heard(front) == ["trouble", "recovered"]
        until(lambda: second.metric("recvault_notifications_total", channel="webhook", result="sent") >= 1)
        assert second.stopped().code == 143


def test_a_receiver_that_hangs_delays_nothing(
    rig: Rig, account: SimAccount, simulator: Simulator, strict_bucket: Bucket, start: Start
) -> None:
    """While a receiver hangs, recordings are archived, and its failure is counted."""
    with socket.create_server(("127.0.0.1", 0)) as receiver:  # never accepts
        rig.notify = {
            "webhook": f"http://127.0.0.1:{receiver.getsockname()[1]}/",
            "webhook_secret": {"env": "RECVAULT_HOOK"},
            "trouble_after": "0s",
        }
        works, rig.sources[0]["base_url"] = rig.sources[0]["base_url"], "http://127.0.0.1:9"
        daemon = start(prelude=QUICK, **SECRET).ready()
        receiver.settimeout(20.0)
        with receiver.accept()[0]:  # a notice is being sent
            rig.sources[0]["base_url"] = works
            daemon.reload()
            until(lambda: archived(strict_bucket) == ids(simulator, account))
            assert daemon.events("notify.failed") == []
        assert daemon.tells("notify.failed")["channel"] == "webhook"
    until(lambda: daemon.metric("recvault_notifications_total", channel="webhook", result="failed") >= 1)


def test_passes_of_a_timer_tell(rig: Rig, account: SimAccount, simulator: Simulator) -> None:
    """`sync` notifies once of what the last pass did not see; its exit code stays that of the pass."""
    with Front(lambda request: Answer()) as front:
        hook(rig, front)
        works, rig.sources[0]["base_url"] = rig.sources[0]["base_url"], "http://127.0.0.1:9"
        assert [run(rig, "sync", **SECRET).code for _ in range(2)] == [75, 75]
        assert heard(front) == ["trouble"]
        rig.sources[0]["base_url"] = works
        assert [run(rig, "sync", **SECRET).code for _ in range(2)] == [0, 0]
        assert heard(front) == ["trouble", "recovered"]


def test_a_pass_whose_bucket_is_away_tells_it(rig: Rig, account: SimAccount) -> None:
    """A pass notifies of the bucket's outage; a receiver that refuses is counted and changes no exit code."""
    with Front(lambda request: Answer(status=500)) as front:
        hook(rig, front)
        rig.s3_url = "http://127.0.0.1:9"
        path = rig.root / "recvault.prom"
        ran = run(rig, "sync", "--metrics-file", str(path), **SECRET)
        assert ran.code == 75
        (told,) = [json.loads(each.body) for each in front.seen]
    assert (told["type"], told["subject"]) == ("recvault.trouble", "bucket")
    assert ran.stderr.count('"event": "notify.failed"') == 1
    assert 'recvault_notifications_total{channel="webhook",result="failed"} 1.0' in path.read_text()


def test_a_pass_beside_the_daemon_leaves_telling_to_it(rig: Rig, account: SimAccount) -> None:
    """A pass beside a daemon sends no notices."""
    with Front(lambda request: Answer()) as front:
        hook(rig, front)
        rig.sync()
        rig.s3_url = "http://127.0.0.1:9"
        lock = DaemonLock(rig.root / "ledger.db", now())
        try:
            assert run(rig, "sync", **SECRET).code == 75
        finally:
            lock.close()
        assert heard(front) == []


def test_check_sends_a_test_only_when_asked(rig: Rig, account: SimAccount) -> None:
    """`check` tests [notify] without sending; with --notify a test event reaches every channel."""
    with Front(lambda request: Answer()) as front:
        hook(rig, front)
        rig.notify["command"] = ["/bin/sh", "-c", f"cat >{rig.root}/told"]
        assert run(rig, "check", **SECRET).code == 0
        assert (heard(front), (rig.root / "told").exists()) == ([], False)
        ran = run(rig, "check", "--notify", "--json", **SECRET)
        assert heard(front) == ["test"]
        assert json.loads((rig.root / "told").read_text())["type"] == "recvault.test"
        said = {each["name"]: each["detail"] for each in ran.document["checks"] if each["name"].startswith("notify")}
    assert said == {
        "notify: command": "/bin/sh can be run",
        "notify: webhook_secret": "its secret can be read",
        "notify: webhook": "127.0.0.1 resolves",
        "notify: test by command": "accepted",
        "notify: test by webhook": "accepted",
    }


def checks(rig: Rig, *words: str, **more: str) -> tuple[int, dict[str, Any]]:
    ran = run(rig, "check", "--json", *words, **more)
    return ran.code, {each["name"]: each for each in ran.document["checks"] if not each["ok"]}


def test_check_says_what_cannot_tell(rig: Rig, account: SimAccount) -> None:
    """A missing command, an unset secret and a refusing receiver are each named, with a fix."""
    rig.notify = {"command": ["/nonexistent/tell"], "targets": [{"env": "NOBODY_SET_THIS"}]}
    code, failed = checks(rig, "--offline")
    assert (code, set(failed)) == (78, {"notify: command", "notify: targets[0]"})
    assert "NOBODY_SET_THIS is not set" in failed["notify: targets[0]"]["detail"]
    rig.notify = {}
    code, failed = checks(rig, "--notify")
    assert (code, set(failed)) == (78, {"notify: test"})
    with Front(lambda request: Answer(status=403)) as front:
        hook(rig, front)
        code, failed = checks(rig, "--notify", **SECRET)
    assert (code, failed["notify: test by webhook"]["detail"]) == (75, "status 403")
    assert run(rig, "check", "--offline", "--notify").code == 2
