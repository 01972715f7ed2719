"""The simulator itself: its clock, log, limits, accounts and end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from recvault.simulator import Simulator, Switches

from .client import START, Client

Connect = Callable[..., Client]


def test_population_depends_on_the_seed_alone() -> None:
    """The same seed gives the same accounts and recordings; another gives others."""

    def build(seed: int) -> list[object]:
        simulator = Simulator(seed=seed)
        found: list[object] = []
        for kind, api in (("twilio", "voice"), ("twilio", "video"), ("telnyx", "telnyx"), ("signalwire", "signalwire")):
            account = simulator.add_account(kind)
            found += [account.credentials, *simulator.populate(account, api, 50, START)]
        return found

    assert build(1) == build(1) != build(2)


def test_population_is_a_mix() -> None:
    """Durations, channels, sources, conferences and encryption are mixed."""
    simulator = Simulator()
    found = simulator.populate(simulator.add_account("twilio"), "voice", 300, START, encrypted_share=0.2)
    assert {recording.channels for recording in found} == {1, 2}
    assert len({recording.source for recording in found}) == 6
    assert 10 < sum(recording.encrypted for recording in found) < 120
    assert 5 < sum(recording.conference_id is not None for recording in found) < 90
    assert all(1 <= recording.duration_seconds <= 4 for recording in found)
    assert found[1].created_at - found[0].created_at == timedelta(minutes=1)
    fixed = simulator.populate(simulator.add_account("twilio"), "voice", 10, channels=2, duration_seconds=9.0)
    assert {(recording.channels, recording.duration_seconds) for recording in fixed} == {(2, 9.0)}


def test_the_clock_moves_the_date_header(connect: Connect) -> None:
    """The Date header is the simulator's time, frozen or running as set."""
    client = connect()
    simulator = client.simulator
    assert client.get(client.legacy).headers["date"] == "Tue, 10 Mar 2026 12:00:00 GMT"
    simulator.advance(timedelta(days=1, seconds=1))
    assert client.get(client.legacy).headers["date"] == "Wed, 11 Mar 2026 12:00:01 GMT"
    simulator.set_now(datetime(2030, 1, 1, tzinfo=UTC), running=True)
    first = simulator.now
    assert datetime(2030, 1, 1, tzinfo=UTC) <= first < simulator.now
    with pytest.raises(ValueError, match="needs a time zone"):
        simulator.set_now(datetime(2030, 1, 1))  # noqa: DTZ001


def test_the_log_tells_what_was_asked(connect: Connect) -> None:
    """Every request is logged with its answer, on both hosts."""
    client = connect()
    rec = client.simulator.add(client.account, "video", created_at=START)
    client.http.get(f"/v1/Recordings/{rec.recording_id}/Media?Ttl=9", follow_redirects=True)
    first, second = client.simulator.requests
    assert (first.host, first.method, first.status, first.query) == ("api", "GET", 302, "Ttl=9")
    assert (second.host, second.status, second.fault) == ("media", 200, None)
    assert (first.has_authorization, second.has_authorization) == (True, False)
    client.simulator.clear_requests()
    assert client.simulator.requests == []


def test_too_many_at_once_are_refused_unprocessed(connect: Connect) -> None:
    """Requests beyond the concurrency limit get 429/20429, unprocessed."""
    client = connect(switches=Switches(concurrency_limit=2, latency_seconds=0.2, retry_after="seconds"))
    url = f"{client.simulator.base_url}{client.voice}/Recordings.json"
    with ThreadPoolExecutor(6) as pool:
        headers = {"Authorization": client.account.authorization}
        answers = list(pool.map(lambda _: httpx.get(url, headers=headers), range(6)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 1 <= len(refused) <= 4
    assert {answer.json()["code"] for answer in refused} == {20429}
    assert client.get(url).status_code == 200


def test_telnyx_says_its_limits(connect: Connect) -> None:
    """Telnyx answers 429 with x-ratelimit headers; `reset` is seconds or an epoch by switch."""
    client = connect("telnyx")
    client.simulator.faults.plan("http_429", times=2)
    assert client.get("/v2/recordings").headers["x-ratelimit-reset"] == "1"
    client.simulator.switches = Switches(telnyx_reset="epoch")
    answer = client.get("/v2/recordings")
    assert (answer.json()["errors"][0]["code"], answer.headers["x-ratelimit-reset"]) == ("10011", "1773144001")


@pytest.mark.parametrize(
    ("kind", "api", "path"),
    [
        ("twilio", "voice", "/2010-04-01/Accounts/{}/Recordings.json"),
        ("twilio", "video", "/v1/Recordings"),
        ("telnyx", "telnyx", "/v2/recordings"),
        ("signalwire", "signalwire", "/api/laml/2010-04-01/Accounts/{}/Recordings"),
    ],
)
def test_malformed_rows_stay_malformed(connect: Connect, kind: str, api: str, path: str) -> None:
    """A row without a valid date stays listed so, and is not part of the truth."""
    client = connect(kind)
    simulator = client.simulator
    for malformed in ("no_date", "bad_date"):
        simulator.add(client.account, api, created_at=START, malformed=malformed)
    body = client.get(path.format(client.account.account_id)).json()
    rows = body.get("recordings") or body["data"]
    dates = [row.get("date_created", row.get("created_at")) for row in rows]
    assert None in dates
    for text in filter(None, dates):
        with pytest.raises(ValueError, match=r"date|format|day|year"):
            datetime.fromisoformat(text)
    assert simulator.truth(client.account) == []
    simulator.switches = Switches(malformed_share=0.5)
    found = simulator.populate(client.account, api, 40, START)
    assert 5 < sum(recording.malformed is not None for recording in found) < 35


def test_unknown_places_and_methods(connect: Connect) -> None:
    """Unknown paths and methods get 404 or 405, and the connection continues."""
    client = connect()
    assert client.get("/nowhere").status_code == 404
    assert client.get("/v1/nowhere").json()["code"] == 20404
    assert client.get(f"{client.voice}/Messages.json").status_code == 404
    assert client.http.head(f"{client.voice}/Recordings.json").status_code == 405
    with pytest.raises(ValueError, match="is there already"):
        client.simulator.add_account("twilio", client.account.account_id)


def test_stopping_is_quick_and_leaves_nothing() -> None:
    """A stop ends all connections at once, and joins every thread."""
    before = threading.active_count()
    simulator = Simulator(switches=Switches(stall_seconds=60))
    simulator.start()
    account = simulator.add_account("twilio")
    long = simulator.add(account, "voice", created_at=START, duration_seconds=86400)
    client = Client(simulator, account)
    with client.http, client.http.stream("GET", f"{client.voice}/Recordings/{long.recording_id}.wav") as streaming:
        simulator.faults.plan("stall")

        def ask() -> None:
            with pytest.raises(httpx.HTTPError):
                client.get(client.legacy)

        stalled = threading.Thread(target=ask)
        stalled.start()
        while not simulator.faults.fired["stall"]:
            time.sleep(0.005)
        began = time.monotonic()
        simulator.stop()
        assert time.monotonic() - began < 10  # both would last longer
        stalled.join()
        with pytest.raises(httpx.HTTPError):
            streaming.read()
    assert threading.active_count() == before


def test_as_a_process() -> None:
    """`python -m recvault.simulator` prints its address and credentials, and ends on SIGTERM."""
    command = [sys.executable, "-m", "recvault.simulator", "--recordings", "3", "--seed", "5", "--api", "telnyx"]
    command += ["--fault", "slow=0.1", "--switch", "telnyx_order=oldest", "--switch", "telnyx_url_seconds=60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        try:
            assert process.stdout is not None
            greeting = json.loads(process.stdout.readline())
            (account,) = greeting["accounts"]
            headers = {"Authorization": f"Bearer {account['credentials']['api_key']}"}
            rows = httpx.get(f"{greeting['base_url']}/v2/recordings", headers=headers).json()["data"]
            assert len(rows) == 3
            assert rows == sorted(rows, key=lambda row: row["created_at"])
            assert greeting["media_host"] in rows[0]["download_urls"]["wav"]
            assert "X-Amz-Expires=60&" in rows[0]["download_urls"]["wav"]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
