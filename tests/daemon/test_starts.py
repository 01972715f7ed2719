"""A daemon that cannot start gives its exit code and reason, and leaves nothing behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import Ran
from daemon.conftest import Start
from daemon.started import free_port
from recvault.ledger import dead_daemon
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import StrictS3


@pytest.fixture
def small(rig: Rig, simulator: Simulator) -> Rig:
    """A rig with one source."""
    account = simulator.add_account("twilio")
    rig.add_source("voice", "twilio", account)
    return rig


@pytest.fixture
def fussy_s3() -> Iterator[StrictS3]:
    """An S3 server that can be set to refuse."""
    with StrictS3() as server:
        yield server


def assert_refused(ran: Ran, code: int, *words: str) -> None:
    """Check the exit code, an empty stdout, and a message with these words."""
    assert (ran.code, ran.stdout) == (code, ""), ran.stderr
    said = " ".join(line for line in ran.stderr.splitlines() if not line.startswith("{"))
    assert said.startswith("recvault: ")
    assert [word for word in words if word not in said] == [], said


def test_78_a_configuration_that_is_wrong(small: Rig, start: Start) -> None:
    """An unknown key is reported with its line."""
    small.daemon["drain_time"] = "1s"
    assert_refused(start().ended(), 78, "config.toml:", "daemon.drain_time", "drain_timeout")


def test_78_a_ledger_without_a_place(small: Rig, start: Start) -> None:
    """A missing directory of the ledger is reported, and not created."""
    small.ledger = {"path": str(small.root / "none" / "ledger.db")}
    assert_refused(start().ended(), 78, str(small.root / "none"))
    assert not (small.root / "none").exists()


def test_78_a_port_that_is_taken(small: Rig, start: Start) -> None:
    """If the port is in use, the option is named, and the ledger's lock is released."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        small.daemon["metrics_listen"] = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = start().ended()
    assert_refused(ran, 78, "daemon.metrics_listen", small.daemon["metrics_listen"])
    small.daemon["metrics_listen"] = f"127.0.0.1:{free_port()}"
    assert start().ready().stopped().code == 143


def test_78_no_source_can_be_used(small: Rig, start: Start) -> None:
    """Missing secrets are logged one by one, and nothing begins without any usable source."""
    Path(small.sources[0]["auth_token"]["file"]).unlink()
    daemon = start()
    assert_refused(daemon.ended(), 78, "no source can be used")
    (told,) = daemon.events("source.unusable")
    assert told["source"] == "voice" and "voice.auth_token.secret" in told["error"]


def test_77_a_bucket_that_refuses(small: Rig, fussy_s3: StrictS3, start: Start) -> None:
    """If the bucket refuses the credentials, the message names the needed permissions, and `status` shows it later."""
    fussy_s3.refused_keys.add("test")
    small.s3_url, small.bucket = fussy_s3.url, fussy_s3.bucket().name
    assert_refused(start().ended(), 77, "InvalidAccessKeyId", small.bucket)
    dead = dead_daemon(small.root / "ledger.db")
    assert dead is not None and dead.error is not None
    assert "InvalidAccessKeyId" in dead.error


def test_75_a_bucket_that_is_down(small: Rig, start: Start) -> None:
    """An unreachable bucket is temporary, so that systemd retries."""
    small.s3_url = f"http://127.0.0.1:{free_port()}"
    assert_refused(start().ended(), 75, small.bucket, "cannot be reached")


def test_78_a_bucket_that_is_not_there(small: Rig, start: Start) -> None:
    """An unknown bucket is a configuration error."""
    small.bucket = "no-such-bucket"
    assert_refused(start().ended(), 78, "no-such-bucket", "archive.bucket")
