"""A signal interrupts every wait of a command."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator

import pytest

from cli.commands import finish, start, until
from recvault.simulator import Simulator
from rig import Rig

MOST_SECONDS = 6.0  # two, plus the time to end a process on a busy machine


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(20)
        yield server


@pytest.mark.parametrize("verb", ["sync", "run"])
def test_while_the_bucket_hangs_at_the_start(rig: Rig, simulator: Simulator, mute: socket.socket, verb: str) -> None:
    """A bucket that does not answer at the start does not delay a stop."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    rig.s3_url = f"http://127.0.0.1:{mute.getsockname()[1]}"
    ended_soon(rig, mute, verb)


@pytest.mark.parametrize("words", [["sync"], ["backfill", "--source", "voice"], ["reconcile"]], ids=lambda w: w[0])
def test_while_a_list_hangs(rig: Rig, simulator: Simulator, mute: socket.socket, words: list[str]) -> None:
    """A page that does not arrive does not delay a stop; nothing was registered, so nothing is lost."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    rig.sources[0]["base_url"] = f"http://127.0.0.1:{mute.getsockname()[1]}"
    ended_soon(rig, mute, *words)


def ended_soon(rig: Rig, mute: socket.socket, *words: str) -> None:
    rig.transfer["stall_timeout"] = "120s"
    rig.daemon.update(metrics_listen="", drain_timeout="60s")
    process = start(rig, *words)
    connection, _ = mute.accept()
    with connection:
        until(lambda: bool(connection.recv(1)))
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        ended = finish(process)
    assert ended.code == 143, ended.stderr
    assert time.monotonic() - asked < MOST_SECONDS
