"""What systemd is told: ready, alive while all works, and nothing while a part hangs."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import until
from daemon.conftest import Start
from daemon.started import archived, free_port
from recvault.daemon.notify import Notify
from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import Bucket


class Systemd:
    """The notification socket, and all messages received there."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0.1)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._ends.is_set():
            try:
                self.heard.append((time.monotonic(), self._socket.recv(4096).decode()))
            except TimeoutError:
                continue

    def names(self) -> list[str]:
        """Return the name in the first line of each message except WATCHDOG, in order."""
        return [name for _, said in self.heard if (name := said.partition("=")[0]) != "WATCHDOG"]

    def count(self, start: str) -> int:
        return sum(said.startswith(start) for _, said in self.heard)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """A notification socket at a path."""
    listening = Systemd(str(tmp_path / "notify"))
    yield listening
    listening.close()


@pytest.fixture
def abstract_systemd() -> Iterator[Systemd]:
    """A notification socket at an abstract address, without a file."""
    listening = Systemd(f"@recvault-test-{free_port()}")
    yield listening
    listening.close()


@pytest.fixture
def account(rig: Rig, simulator: Simulator) -> SimAccount:
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3, conference_share=0)
    rig.add_source("voice", "twilio", account, poll_every="0.4s")
    return account


def test_a_life_as_systemd_hears_it(
    rig: Rig, account: SimAccount, strict_bucket: Bucket, systemd: Systemd, start: Start
) -> None:
    """READY once ledger and bucket are open, WATCHDOG regularly, RELOADING and READY, STATUS, STOPPING."""
    strict_bucket.faults.plan("slow", "PUT", "schemas/", seconds=1.0)
    daemon = start(prelude=LIVELY, NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC="4000000")
    until(lambda: strict_bucket.counts["PUT"] >= 1)
    assert systemd.names() == ["STATUS"] and systemd.count("WATCHDOG=1") == 0
    daemon.ready()
    until(lambda: "READY" in systemd.names())
    assert (rig.root / "ledger.db").exists()
    until(lambda: "STATUS" in systemd.names()[systemd.names().index("READY") :])
    until(lambda: systemd.count("WATCHDOG=1") >= 2)
    until(lambda: any("1 sources, 0 with problems" in said for _, said in systemd.heard))

    daemon.reload()
    until(lambda: systemd.names().count("READY") == 2)
    names = systemd.names()
    assert names[names.index("RELOADING") :][:2] == ["RELOADING", "READY"]
    (reloading,) = [said for _, said in systemd.heard if said.startswith("RELOADING")]
    microseconds = int(reloading.partition("MONOTONIC_USEC=")[2])
    assert 0 <= time.monotonic() - microseconds / 1e6 < 60

    assert daemon.stopped().code == 143
    until(lambda: systemd.count("STOPPING=1") == 1)
    assert systemd.heard[-1][1].startswith("STOPPING=1\nSTATUS=draining")


def test_a_refused_reload_is_over_too(rig: Rig, account: SimAccount, abstract_systemd: Systemd, start: Start) -> None:
    """A refused configuration also sends READY after RELOADING, for which systemd waits."""
    systemd = abstract_systemd
    daemon = start(NOTIFY_SOCKET=systemd.address).ready()
    rig.daemon["nosuch"] = 1
    daemon.reload()
    daemon.tells("config.refused")
    until(lambda: [name for name in systemd.names() if name != "STATUS"] == ["READY", "RELOADING", "READY"])


def test_not_ready_without_its_bucket(rig: Rig, account: SimAccount, systemd: Systemd, start: Start) -> None:
    """Without its bucket the daemon never sends READY, so that systemd restarts it."""
    rig.bucket = "no-such-bucket"
    assert start(NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC="4000000").ended().code == 78
    assert (systemd.count("READY"), systemd.count("WATCHDOG")) == (0, 0)


LIVELY = """
import threading
from datetime import timedelta
from recvault.daemon import daemon, notify, schedule
alive, said = notify.Notify.alive, threading.Event()  # the scheduler has been stuck after the first sign of life
notify.Notify.alive = lambda self: (alive(self), said.set())
schedule._BEAT_SECONDS, daemon._STATUS_EVERY = 0.2, timedelta(seconds=0.5)
"""
STANDS_STILL = {
    "scheduler": """
from recvault.daemon import schedule
beat = schedule.Schedule._beat
schedule.Schedule._beat = lambda self: None if said.is_set() else beat(self)
""",
    "dispatch": """
from recvault.ledger import Ledger
Ledger.claim = lambda *_: threading.Event().wait(60)
""",
}


@pytest.mark.parametrize("part", STANDS_STILL)
def test_what_stands_still_is_named_and_the_watchdog_goes_hungry(
    rig: Rig, simulator: Simulator, account: SimAccount, systemd: Systemd, start: Start, part: str
) -> None:
    """A hanging scheduler or dispatcher is logged once, /healthz fails, and no WATCHDOG is sent."""
    daemon = start(prelude=LIVELY + STANDS_STILL[part], NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC="3000000").ready()
    said = daemon.tells("watchdog.silent")["reason"]
    assert part in said and "has been stuck" in said
    code, document = daemon.healthz()
    assert code == 503 and part in document["troubles"][0]
    last = systemd.count("WATCHDOG=1")
    assert last >= 1
    until(lambda: any(said.startswith(f"STATUS=the {part}") for _, said in systemd.heard))
    seen = lists_now(simulator)
    until(lambda: lists_now(simulator) >= seen + 6)  # listing continues for three intervals of the watchdog
    assert systemd.count("WATCHDOG=1") == last
    assert len(daemon.events("watchdog.silent")) == 1


def lists_now(simulator: Simulator) -> int:
    return simulator.count(lambda each: each.path.endswith("Recordings.json"))


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
    ids=["none", "mine", "another process's", "no number"],
)
def test_how_long_systemd_waits(environment: dict[str, str], seconds: float) -> None:
    """The watchdog's time is used only if it is meant for this process."""
    assert Notify(environment).watchdog_seconds == seconds


def test_nobody_listens() -> None:
    """Without a socket, or with one that is gone, nothing is sent and nothing raised."""
    for environment in ({}, {"NOTIFY_SOCKET": "/nonexistent/notify"}, {"NOTIFY_SOCKET": "@nobody-there"}):
        notify = Notify(environment)
        notify.ready()
        notify.reloading()
        notify.alive()
        notify.status("words")
        notify.stopping("bye")


def test_a_status_is_one_line_and_said_once(tmp_path: Path) -> None:
    """An unchanged status is not sent again, and line breaks in it are removed."""
    systemd = Systemd(str(tmp_path / "notify"))
    try:
        notify = Notify({"NOTIFY_SOCKET": systemd.address})
        for words in ("all\nis well", "all\nis well", "draining"):
            notify.status(words)
        until(lambda: len(systemd.heard) >= 2)
        assert [said for _, said in systemd.heard] == ["STATUS=all is well", "STATUS=draining"]
    finally:
        systemd.close()


def test_the_signal_s_own_end(rig: Rig, account: SimAccount, strict_bucket: Bucket, start: Start) -> None:
    """Without systemd everything works the same."""
    daemon = start()
    until(lambda: len(archived(strict_bucket)) == 3)
    assert daemon.stopped(signal.SIGINT).code == 130
