"""Every fault of the menu happens on the wire, and a client that retries succeeds."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from recvault.simulator import MENU, SimRecording, Simulator, Switches

from .client import START, Client

Connect = Callable[..., Client]


class Target:
    """One recording with its list, its media and their correct answers."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.simulator: Simulator = client.simulator
        self.recording: SimRecording = self.simulator.populate(client.account, "voice", 5, START)[-1]
        self.simulator.switches = Switches(stall_seconds=0.05, slow_seconds=0.2)
        self.list = f"{client.voice}/Recordings.json?PageSize=2"
        self.media = f"{client.voice}/Recordings/{self.recording.recording_id}.mp3"
        self.content = self.simulator.media(self.recording, "mp3", self.recording.default_channels).read()

    def fires(self, name: str, url: str, times: int = 1) -> list[httpx.Response | httpx.HTTPError]:
        """Plan the fault, send the request, and check that it fired once."""
        plan = self.simulator.faults.plan(name, times=times)
        answers: list[httpx.Response | httpx.HTTPError] = []
        for _ in range(times):
            try:
                answers.append(self.client.get(url))
            except httpx.HTTPError as error:
                answers.append(error)
        assert (plan.fired, self.simulator.faults.unfired()) == (times, [])
        assert self.simulator.count(lambda request: request.fault == name) == times
        assert self.client.get(self.list).status_code == 200
        return answers


@pytest.fixture
def target(connect: Connect) -> Target:
    return Target(connect())


@pytest.mark.parametrize("name", ["http_429", "http_500", "http_503"])
def test_statuses(target: Target, name: str) -> None:
    """The status is answered in the service's own format."""
    (answer,) = target.fires(name, target.list)
    assert isinstance(answer, httpx.Response)
    assert answer.status_code == answer.json()["status"] == int(name.removeprefix("http_"))


@pytest.mark.parametrize("name", ["http_429", "http_500", "http_503"])
def test_unprocessed_deletions_delete_nothing(target: Target, name: str) -> None:
    """A deletion answered by a fault's status is not done."""
    target.simulator.faults.plan(name, method="DELETE")
    url = f"{target.client.voice}/Recordings/{target.recording.recording_id}.json"
    assert target.client.http.delete(url).is_error
    assert target.client.get(url).status_code == 200


def test_a_lost_answer_to_a_deletion(target: Target) -> None:
    """A deletion whose answer is lost is done."""
    target.simulator.faults.plan("reset", kind="delete")
    url = f"{target.client.voice}/Recordings/{target.recording.recording_id}.json"
    with pytest.raises(httpx.TransportError):
        target.client.http.delete(url)
    assert target.client.get(url).status_code == 404


def test_retry_after(target: Target) -> None:
    """Retry-After is absent, seconds or a date, by switch; `mixed` alternates."""
    switches, seen = target.simulator.switches, []
    for mode in ("absent", "seconds", "http_date"):
        target.simulator.switches = replace(switches, retry_after=mode)
        target.simulator.faults.plan("http_429")
        seen.append(target.client.get(target.list).headers.get("retry-after"))
    assert seen == [None, "1", "Tue, 10 Mar 2026 12:00:01 GMT"]
    target.simulator.switches = replace(switches, retry_after="mixed")
    target.simulator.faults.plan("http_503", times=3)
    mixed = {target.client.get(target.list).headers.get("retry-after") for _ in range(3)}
    assert len(mixed) >= 2


def test_reset(target: Target) -> None:
    """The connection is reset before any byte or within the body."""
    errors = target.fires("reset", target.media, times=12)
    assert {type(error) for error in errors} <= {httpx.ReadError, httpx.RemoteProtocolError}


@pytest.mark.parametrize("name", ["truncate", "stall"])
def test_short_of_content_length(target: Target, name: str) -> None:
    """The body ends before its Content-Length, at once or after silence, and a client notices."""
    errors = target.fires(name, target.media, times=6)
    assert {type(error) for error in errors} == {httpx.RemoteProtocolError}


@pytest.mark.parametrize("length", ["content_length", "chunked"])
def test_truncated_list_and_chunks(target: Target, length: str) -> None:
    """Truncated lists and chunked media are as noticeable as media with a length."""
    target.simulator.switches = replace(target.simulator.switches, voice_media_length=length)
    for url in (target.list, target.media):
        (error,) = target.fires("truncate", url)
        assert isinstance(error, httpx.RemoteProtocolError)
        target.simulator.clear_requests()


def test_truncate_silent(target: Target) -> None:
    """The body ends early without any sign in HTTP."""
    for answer in target.fires("truncate_silent", target.media, times=6):
        assert isinstance(answer, httpx.Response)
        assert "content-length" not in answer.headers
        assert len(answer.content) < len(target.content)
        assert target.content.startswith(answer.content)


def test_wrong_length(target: Target) -> None:
    """Content-Length is too large, which breaks, or too small, which truncates."""
    kinds = set()
    for answer in target.fires("wrong_length", target.media, times=12):
        kinds.add(type(answer))
        if isinstance(answer, httpx.Response):
            assert len(answer.content) < len(target.content)
    assert kinds == {httpx.Response, httpx.RemoteProtocolError}


def test_slow(target: Target) -> None:
    """Everything arrives, slowly."""
    began = time.monotonic()
    (answer,) = target.fires("slow", target.media)
    assert isinstance(answer, httpx.Response)
    assert answer.content == target.content
    assert time.monotonic() - began > 0.15


def test_one_recording_is_refused(target: Target) -> None:
    """A recording's row and media answer 403; its account's list does not."""
    target.simulator.faults.plan("http_403", match=target.recording.recording_id, times=2)
    row = target.media.rsplit(".", 1)[0] + ".json"
    assert [target.client.get(url).status_code for url in (row, target.list, target.media)] == [403, 200, 403]
    assert target.simulator.faults.unfired() == []


@pytest.mark.parametrize("where", ["list", "media"])
def test_html(target: Target, where: str) -> None:
    """A gateway's page with 200 replaces the answer."""
    (answer,) = target.fires("html_200", getattr(target, where))
    assert isinstance(answer, httpx.Response)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")


def test_error_body(target: Target) -> None:
    """An error document with 200 replaces media, as XML and as JSON."""
    kinds = set()
    for answer in target.fires("error_body_200", target.media, times=12):
        assert isinstance(answer, httpx.Response)
        assert answer.status_code == 200
        kinds.add(answer.headers["content-type"])
    assert kinds == {"application/xml", "application/json"}


def test_malformed_page(target: Target) -> None:
    """A page cannot be parsed."""
    (answer,) = target.fires("malformed_page", target.list)
    assert isinstance(answer, httpx.Response)
    with pytest.raises(ValueError, match=r"control character|delimiter|Extra data|Expecting"):
        answer.json()


def test_gzip(target: Target) -> None:
    """JSON is compressed if the client accepts it, not if it wants identity."""
    (answer,) = target.fires("gzip_json", target.list)
    assert isinstance(answer, httpx.Response)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.json()["recordings"]) == 2
    target.simulator.faults.plan("gzip_json")
    plain = target.client.get(target.list, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(target.simulator.faults.unfired()) == 1


@pytest.mark.parametrize(
    "path", ["{0.voice}/Recordings.json?PageSize=2", "{0.legacy}?num=2", "/v1/Recordings?PageSize=2"]
)
def test_page_loop(target: Target, path: str) -> None:
    """The next link leads back to its own page."""
    target.simulator.populate(target.client.account, "video", 5, START)
    url = path.format(target.client)
    sound = target.client.get(url).text
    (answer,) = target.fires("page_loop", url)
    assert isinstance(answer, httpx.Response)
    assert answer.text != sound
    assert "PageToken" not in answer.text
    assert "page=1" not in answer.text


def test_expired_url(target: Target) -> None:
    """A signed URL is refused before its time, once."""
    url = target.simulator.signed_url(target.recording, "wav")
    target.simulator.faults.plan("expired_url", match=target.recording.recording_id)
    with httpx.Client() as stranger:
        assert [stranger.get(url).status_code for _ in range(2)] == [403, 200]
    assert target.simulator.faults.unfired() == []


def test_every_fault_is_tested_here() -> None:
    """This file fires every fault of the menu."""
    text = Path(__file__).read_text()
    assert [name for name in MENU if f'"{name}"' not in text] == []


def test_plans_fire_where_they_match(target: Target) -> None:
    """A plan waits for its match, skips the first ones if told so, and is reported if it never fires."""
    faults = target.simulator.faults
    waiting = faults.plan("http_500", match="/Calls/")
    skipping = faults.plan("http_503", match="/Recordings.json", skip=1)
    assert [target.client.get(target.list).status_code for _ in range(3)] == [200, 503, 200]
    assert faults.unfired() == [waiting]
    assert skipping.fired == faults.fired["http_503"] == 1
    faults.plan("truncate", kind="media")
    assert target.client.get(f"{target.client.voice}/Recordings/RE0.mp3").status_code == 404
    assert [plan.name for plan in faults.unfired()] == ["http_500", "truncate"]
    faults.clear_plans()
    with pytest.raises(ValueError, match="no such fault: wrong_bytes"):
        faults.plan("wrong_bytes")


def test_shares_depend_on_the_seed_alone() -> None:
    """The same seed affects the same requests in any order; another seed affects others."""

    def spoiled(seed: int, noise: bool) -> list[int]:
        with Simulator(seed=seed) as simulator:
            account = simulator.add_account("twilio", account_id="AC" + "0" * 32, secret="token")
            simulator.faults.share("http_503", 0.3)
            client = Client(simulator, account)
            with client.http:
                statuses = []
                for number in range(40):
                    if noise:
                        client.get("/v1/Recordings")
                    statuses.append(client.get(f"{client.voice}/Recordings.json?PageSize={number + 1}").status_code)
                return statuses

    assert spoiled(1, noise=False) == spoiled(1, noise=True) != spoiled(2, noise=False)
    assert 4 <= spoiled(1, noise=False).count(503) <= 22


def test_a_client_that_tries_again_gets_everything(target: Target) -> None:
    """With every fault on, retries read the complete list and all media; `off` ends them."""
    simulator, client = target.simulator, target.client
    simulator.switches = Switches(stall_seconds=0.01, slow_seconds=0.01)
    simulator.populate(client.account, "voice", 120, START + timedelta(days=1))
    simulator.faults.all_on(0.4)

    def sound(url: str, expected: bytes | None) -> None:
        for _ in range(60):
            with suppress(httpx.HTTPError, ValueError):
                answer = client.get(url)
                if answer.status_code == 200 and (answer.content == expected if expected else answer.json()):
                    return
        raise AssertionError(f"{url} was never answered")

    for recording in simulator.truth(client.account):
        content = simulator.media(recording, "mp3", recording.default_channels).read()
        sound(f"{client.voice}/Recordings/{recording.recording_id}.mp3", content)
        sound(f"{client.voice}/Recordings/{recording.recording_id}.json", None)
    fired = simulator.faults.fired
    assert set(fired) == set(MENU) - {"page_loop", "expired_url", "http_403"}
    requests = len(simulator.requests)
    assert 0.3 < fired.total() / requests < 0.45
    simulator.faults.off()
    simulator.clear_requests()
    assert client.get(target.list).status_code == 200
    assert simulator.count(lambda request: request.fault is not None) == 0
