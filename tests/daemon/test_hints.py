"""From a provider's webhook to archived bytes in seconds, in addition to polls."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from cli.commands import run, until
from daemon.conftest import Start
from daemon.started import Started, archived, free_port, lists
from recvault.daemon.endpoint import MOST_BODY
from recvault.ledger import Feed, Ledger
from recvault.simulator import SimAccount, SimRecording, Simulator
from recvault.simulator.recording import Api
from rig import Rig, now
from strict_s3 import Bucket

PUBLIC = "https://hooks.acme.example/recvault"
KINDS: dict[str, tuple[Any, Api, str]] = {
    "twilio": ("twilio", "voice", ""),
    "twilio-video": ("twilio", "video", ""),
    "telnyx": ("telnyx", "telnyx", "webhook_public_key"),
    "signalwire": ("signalwire", "signalwire", "signing_key"),
}
LISTS = {"twilio": "/2010-04-01/", "twilio-video": "/v1/", "telnyx": "/v2/", "signalwire": "/api/laml/"}


@dataclass
class Hinted:
    """A daemon that polls once an hour and receives hints."""

    rig: Rig
    simulator: Simulator
    account: SimAccount
    api: Api
    provider: str

    @property
    def origin(self) -> str:
        return f"http://{self.rig.daemon['hints_listen']}"

    def call_back(self, recording: SimRecording, source: str = "main") -> int:
        """Send the service's webhook as through a TLS proxy; return the status."""
        return self.simulator.callback(self.account, recording, f"{PUBLIC}/{source}").send(self.origin)

    def listed(self) -> int:
        return lists(self.simulator, LISTS[self.provider])


def prepare(rig: Rig, simulator: Simulator, provider: str = "twilio", **options: Any) -> Hinted:
    kind, api, key = KINDS[provider]
    account = simulator.add_account(kind)
    signed: dict[str, Any] = {}
    if key == "signing_key":
        signed = {key: {"file": str(rig._secret("main", key, account.webhook_key))}}
    elif key:
        signed = {key: account.webhook_key}
    rig.add_source("main", provider, account, poll_every="1h", **signed, **options)
    rig.daemon |= {"hints_listen": f"127.0.0.1:{free_port()}", "hints_url": PUBLIC}
    return Hinted(rig, simulator, account, api, provider)


def watermark(rig: Rig, account: SimAccount) -> Any:
    ledger = Ledger.open(rig.root / "ledger.db", now())
    try:
        return ledger.watermark(Feed("main", account.kind, account.account_id))
    finally:
        ledger.close()


def polled(hinted: Hinted, start: Start) -> Started:
    """Wait until the daemon is ready and has polled; its next poll is in an hour."""
    daemon = start().ready()
    daemon.tells("discover.done")
    return daemon


@pytest.mark.parametrize("provider", KINDS)
def test_a_hint_becomes_archived_bytes_without_a_poll(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start, provider: str
) -> None:
    """The recording is read by id and archived in seconds, without a list request, and no watermark moves."""
    hinted = prepare(rig, simulator, provider)
    daemon = polled(hinted, start)
    recording = simulator.add(hinted.account, hinted.api, created_at=simulator.now - timedelta(seconds=30))
    asked = hinted.listed()
    assert hinted.call_back(recording) == 204
    until(lambda: recording.recording_id in archived(strict_bucket))
    assert daemon.tells("hint.followed")["result"] == "registered"
    assert hinted.listed() == asked
    assert daemon.metric("recvault_hints_followed_total", source="main", result="registered") == 1
    assert daemon.stopped().code == 143
    assert watermark(rig, hinted.account) is None  # none after a poll of an empty list


def test_a_hint_of_a_recording_that_is_not_finished(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start
) -> None:
    """It is registered as not ready; the hint that it is finished makes it due at once."""
    hinted = prepare(rig, simulator, recheck_every="1h")
    daemon = polled(hinted, start)
    later = simulator.now + timedelta(minutes=10)
    recording = simulator.add(hinted.account, "voice", completed_at=later)
    assert hinted.call_back(recording) == 204
    assert daemon.tells("hint.followed")["result"] == "registered"
    until(lambda: daemon.metric("recvault_recordings", state="not_ready") == 1)
    simulator.advance(timedelta(minutes=11))
    assert hinted.call_back(recording) == 204
    assert daemon.tells("hint.followed", 2)["result"] == "hastened"
    until(lambda: recording.recording_id in archived(strict_bucket))
    assert hinted.call_back(recording) == 204  # the same bytes again: a replay


def test_what_is_forged_foreign_or_unknown_archives_nothing(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start
) -> None:
    """A forged body, another account's or source's webhook, and an unknown recording archive nothing."""
    hinted = prepare(rig, simulator)
    daemon = polled(hinted, start)
    other = simulator.add_account("twilio")
    recording, foreign = simulator.add(hinted.account, "voice"), simulator.add(other, "voice")
    told = simulator.callback(hinted.account, recording, f"{PUBLIC}/main")
    forged = told.with_body(told.body + b"&RecordingSid=RE0")
    asked = len(simulator.requests)
    assert forged.send(hinted.origin) == 403
    assert simulator.callback(other, foreign, f"{PUBLIC}/main").send(hinted.origin) == 403
    assert hinted.call_back(recording, "nobody") == 404
    assert len(simulator.requests) == asked
    never = simulator.callback(hinted.account, foreign, f"{PUBLIC}/main")  # signed, but of a foreign account
    assert never.send(hinted.origin) == 204
    until(lambda: simulator.count(lambda each: foreign.recording_id in each.path) >= 1)
    assert archived(strict_bucket) == set()
    assert daemon.metric("recvault_hints_total", source="main", result="refused") == 2


def test_requests_that_are_no_webhooks(rig: Rig, simulator: Simulator, start: Start) -> None:
    """Too large is 413, another method is refused, and silent clients or garbage delay no other."""
    hinted = prepare(rig, simulator)
    polled(hinted, start)
    host = hinted.origin.removeprefix("http://")
    with (
        silent(host),
        silent(host, b"POST /main HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nabc"),
        silent(host, b"\x16\x03"),
    ):
        assert asked(host, "POST", b"x" * (MOST_BODY + 1)) == 413
        assert asked(host, "GET") == 404
        assert asked(host, "DELETE") == 405
        assert hinted.call_back(simulator.add(hinted.account, "voice")) == 204


def asked(host: str, method: str, body: bytes = b"") -> int:
    connection = http.client.HTTPConnection(host, timeout=20)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read everything
            connection.request(method, "/main", body)
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def silent(host: str, said: bytes = b"") -> Iterator[None]:
    """Make a client that sends this and then nothing."""
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port))) as end:
        end.sendall(said)
        yield


def test_a_listener_that_cannot_listen_stops_nothing(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start
) -> None:
    """If its port is taken, the daemon archives by polls and logs it; a reload with another port listens."""
    hinted = prepare(rig, simulator)
    recording = simulator.add(hinted.account, "voice", created_at=simulator.now - timedelta(minutes=1))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        rig.daemon["hints_listen"] = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon = start().ready()
        assert "daemon.hints_listen" in daemon.tells("hints.not_listening")["error"]
        until(lambda: recording.recording_id in archived(strict_bucket))
    rig.daemon["hints_listen"] = f"127.0.0.1:{free_port()}"
    daemon.reload()
    daemon.tells("config.reloaded")
    second = simulator.add(hinted.account, "voice", created_at=simulator.now - timedelta(minutes=1))
    until(lambda: connects(rig))
    assert hinted.call_back(second) == 204
    daemon.tells("hint.followed")
    until(lambda: second.recording_id in archived(strict_bucket))


def connects(rig: Rig) -> bool:
    name, _, port = rig.daemon["hints_listen"].partition(":")
    with suppress(OSError), socket.create_connection((name, int(port))):
        return True
    return False


def test_check_says_whether_hints_arrive(rig: Rig, simulator: Simulator, start: Start) -> None:
    """`check` says which sources take hints, by which settings, when the last one arrived, or where to send them."""
    hinted = prepare(rig, simulator)
    plain = simulator.add_account("signalwire")
    rig.add_source("unsigned", "signalwire", plain, poll_every="1h")
    first = checks(rig)
    assert first["source main: hints"] == ("verified by auth_token", "")
    assert first["source main: hints arrive"] == (
        "none has arrived yet",
        f"set {PUBLIC}/main as the recording status callback at the provider",
    )
    assert first["source unsigned: hints"][0] == "none: signing_key is not set, which verifies webhooks"
    assert "is free" in first["daemon: hints_listen"][0]
    daemon = polled(hinted, start)
    assert hinted.call_back(simulator.add(hinted.account, "voice")) == 204
    daemon.tells("hint.followed")
    second = checks(rig)
    assert second["source main: hints arrive"][0].startswith("the last one arrived 20")
    assert "in use by the running daemon" in second["daemon: hints_listen"][0]


def checks(rig: Rig) -> dict[str, tuple[str, str]]:
    return {each["name"]: (each["detail"], each["hint"]) for each in run(rig, "check", "--json").document["checks"]}


def test_a_wrong_key_is_found_by_check(rig: Rig, simulator: Simulator) -> None:
    """An invalid public key, and hints_listen without hints_url, are exit code 78."""
    rig.add_source("main", "telnyx", simulator.add_account("telnyx"), webhook_public_key="no key")
    rig.daemon |= {"hints_listen": f"127.0.0.1:{free_port()}", "hints_url": PUBLIC}
    ran = run(rig, "check", "--offline", "--json")
    failed = [each["name"] for each in ran.document["checks"] if not each["ok"]]
    assert (ran.code, failed) == (78, ["source main: hints"])
    del rig.daemon["hints_url"]
    assert "hints_listen requires hints_url" in run(rig, "check", "--config-only").stderr
