"""Names of the provider or bucket that do not resolve, for a while or now and then."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.commands import run
from daemon.started import assert_truth
from recvault.simulator import SimAccount, Simulator
from recvault.transport import PLAIN
from rig import Rig, now
from strict_s3 import Bucket

NOWHERE = "https://nowhere.invalid"  # reserved by RFC 2606
_resolve = socket.getaddrinfo


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)


@pytest.fixture
def account(rig: Rig, simulator: Simulator) -> SimAccount:
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=12, conference_share=0)
    rig.add_source("voice", "twilio", account)
    return account


def resolver(patch: pytest.MonkeyPatch, fails: Callable[[int], bool]) -> None:
    """Let this process's resolver fail for the given ports, as if its server were unreachable.

    libcurl uses the system's resolver, so nothing fails there.
    """

    def resolve(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        if fails(int(port or 0)):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return _resolve(host, port, *arguments, **named)

    patch.setattr(socket, "getaddrinfo", resolve)


def by_name(rig: Rig) -> None:
    """Use names for provider and bucket, since addresses need no resolver."""
    rig.s3_url = rig.s3_url.replace("127.0.0.1", "localhost")
    for source in rig.sources:
        source["base_url"] = source["base_url"].replace("127.0.0.1", "localhost")


def test_names_that_are_not_there(rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket) -> None:
    """Exit 75 names both hosts; with the right names the next pass archives everything, each object once."""
    rig.sources[0]["base_url"] = rig.s3_url = NOWHERE
    ran = run(rig, "sync", "--json")
    assert ran.code == 75
    assert "nowhere.invalid" in ran.document["sources"][0]["error"]
    assert "nowhere.invalid cannot be resolved" in ran.stderr
    rig.sources[0]["base_url"], rig.s3_url = simulator.base_url, strict_bucket.url
    again = run(rig, "sync", "--json")
    assert (again.code, again.document["sources"][0]["archived"]) == (0, 12)
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


@pytest.mark.parametrize("whose", ["provider", "bucket", "both"])
def test_a_resolver_that_fails_now_and_then(
    rig: Rig,
    simulator: Simulator,
    account: SimAccount,
    strict_bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    whose: str,
) -> None:
    """If every third lookup fails during a pass, failed requests are retried, and nothing is lost."""
    ports = {"provider": simulator.base_url, "bucket": strict_bucket.url}
    hit = {int(url.rpartition(":")[2]) for name, url in ports.items() if whose in (name, "both")}
    asked = itertools.count()
    failed: list[int] = []

    def fails(port: int) -> bool:
        if port in hit and next(asked) % 3 == 0:
            failed.append(port)
            return True
        return False

    rig.transfer["transport"] = PLAIN
    by_name(rig)
    resolver(monkeypatch, fails)
    for hour in range(6):
        report = rig.sync(lambda hour=hour: now() + timedelta(hours=hour))  # delayed recordings are due then
        if report.outcome == "ok":
            break
    assert failed
    assert (report.outcome, report.exit_code) == ("ok", 0)
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


@pytest.mark.parametrize("whose", ["provider", "bucket"])
def test_a_resolver_that_is_down(
    rig: Rig,
    simulator: Simulator,
    account: SimAccount,
    strict_bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    whose: str,
) -> None:
    """While a name cannot be resolved a pass exits 75; the first one after that catches up."""
    rig.transfer["transport"] = PLAIN
    by_name(rig)
    down = simulator.base_url if whose == "provider" else strict_bucket.url
    with monkeypatch.context() as patch:
        resolver(patch, lambda port: port == int(down.rpartition(":")[2]))
        assert rig.sync().exit_code == 75
    assert rig.sync().exit_code == 0
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))
