"""Access tokens: minted once for all threads, replaced in time and after a refusal, and shown nowhere."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from recvault.errors import CredentialsRefused, Denied, ProtocolError, RecvaultError, Unavailable
from recvault.http import tokens_of
from recvault.http.tokens import Tokens
from recvault.log.masking import mask
from recvault.providers.base import TokenRequest
from recvault.shutdown import Stop
from recvault.simulator.exchange import Request
from recvault.testing import Answer

from .conftest import QUICK, Taken, get

CLIENT = "Basic Y2xpZW50OmNsaWVudC1zZWNyZXQ="
FORM = (("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", "a-signed-assertion"))


@dataclass
class Service:
    """A token endpoint, and an API that accepts the tokens of the last `lives` mints."""

    minted: int = 0
    expires_in: Any = 3600
    lives: int = 1
    answer: Answer | None = None  # of the token endpoint, in place of a token
    denied: str = ""  # a path that is refused whatever the token
    forms: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Answer:
        if request.path == "/oauth/token":
            return self._mint(request)
        number = int(request.headers["authorization"].removeprefix("Bearer token-"))
        good = self.minted - self.lives < number <= self.minted and request.path != self.denied
        return Answer(body=b"{}") if good else Answer(status=401, body=b"{}")

    def _mint(self, request: Request) -> Answer:
        with self.lock:
            self.forms.append(request.body)
            assert (request.method, request.headers["authorization"]) == ("POST", CLIENT)
            if self.answer is not None:
                return self.answer
            self.minted += 1
            said = {} if self.expires_in is None else {"expires_in": self.expires_in}
            return Answer.json({"access_token": f"token-{self.minted}", "token_type": "Bearer", **said})

    def revoke(self) -> None:
        """Let no token that was minted until now be accepted."""
        self.minted += 1


class Time:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    service: Service
    session: Any
    tokens: Tokens
    clock: Time
    origin: str
    front: Any

    def ask(self, path: str = "/row") -> bytes:
        body: bytes = self.session.send(get(f"{self.origin}{path}")).body
        return body


@pytest.fixture
def make(wired: Any) -> Callable[..., Bench]:
    def made(**facts: Any) -> Bench:
        service, clock = Service(**facts), Time()
        front = wired.front(service)
        session = wired.session(front.origin, tries=3)
        grant = TokenRequest(f"{front.origin}/oauth/token", FORM, CLIENT)
        kept = tokens_of(grant, session.clients, QUICK, Stop(), clock)
        session.authorization = kept
        session.__post_init__()
        return Bench(service, session, kept, clock, front.origin, front)

    return made


def test_a_token_is_minted_once_and_sent_with_each_request(make: Callable[..., Bench]) -> None:
    """Rows and media are requested with one token; the form goes to the token endpoint alone."""
    bench = make()
    assert [bench.ask() for _ in range(3)] == [b"{}"] * 3
    assert bench.session.download(get(f"{bench.origin}/media"), Taken) == b"{}"
    assert bench.service.minted == 1
    assert bench.service.forms == [
        b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a-signed-assertion"
    ]


@pytest.mark.parametrize(("expires_in", "lives_for"), [(3600, 3540), (10, 8), ("10", 8), (None, 540)])
def test_a_token_is_replaced_before_its_end(make: Callable[..., Bench], expires_in: Any, lives_for: float) -> None:
    """A minute before its end, of a short life a fifth; the server never sees an expired one."""
    bench = make(expires_in=expires_in)
    bench.ask()
    bench.clock.now += lives_for - 0.01
    bench.ask()
    assert bench.service.minted == 1
    bench.clock.now += 0.02
    bench.ask()
    assert bench.service.minted == 2
    assert [each.path for each in bench.front.seen if each.path != "/oauth/token"] == ["/row"] * 3


def test_a_life_of_seconds_costs_no_recording(make: Callable[..., Bench]) -> None:
    """With tokens that live for two seconds, each of many requests is answered at its first try."""
    bench = make(expires_in=2)
    for _ in range(50):
        bench.clock.now += 0.9
        assert bench.ask() == b"{}"
    assert bench.service.minted == 25
    assert len(bench.front.seen) == 50 + 25


def test_a_storm_of_refusals_mints_one_token(make: Callable[..., Bench]) -> None:
    """Of many threads whose token was revoked at once, one mints, and all are answered."""
    bench = make()
    bench.ask()
    bench.service.revoke()
    bench.clock.now += 60
    before = bench.service.minted
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(lambda _: bench.ask(), range(64))) == [b"{}"] * 64
    assert bench.service.minted == before + 1


def test_a_first_request_of_many_threads_mints_one_token(make: Callable[..., Bench]) -> None:
    """Threads that start together wait for one token."""
    bench = make()
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(lambda _: bench.ask(), range(32))) == [b"{}"] * 32
    assert bench.service.minted == 1


def test_a_new_token_that_is_refused_is_not_replaced(make: Callable[..., Bench]) -> None:
    """If the API refuses a token that was just minted, it is the account: no second token, and exit code 77."""
    bench = make(lives=0)
    with pytest.raises(CredentialsRefused) as caught:
        bench.ask()
    assert (caught.value.exit_code, bench.service.minted) == (77, 1)


def test_the_refusal_of_one_recording_costs_at_most_one_token(make: Callable[..., Bench]) -> None:
    """One recording that is refused with any token is denied; the account goes on."""
    bench = make(denied="/secret", lives=9)
    bench.session.own_list = lambda: get(f"{bench.origin}/list")
    bench.session.__post_init__()
    bench.ask()
    bench.clock.now += 60
    for _ in range(3):
        with pytest.raises(Denied):
            bench.ask("/secret")
    assert bench.service.minted == 2
    assert bench.ask() == b"{}"


@pytest.mark.parametrize("status", [400, 401, 403])
def test_refused_credentials_are_not_sent_again_and_again(make: Callable[..., Bench], status: int) -> None:
    """A token endpoint that refuses is exit code 77, remembered for a while, and names only the error's code."""
    bench = make(answer=Answer.json({"error": "invalid_grant", "error_description": "a-signed-assertion"}, status))
    for _ in range(3):
        with pytest.raises(CredentialsRefused, match=f"issued no token: it answered {status} invalid_grant") as caught:
            bench.ask()
        assert "a-signed-assertion" not in str(caught.value)
    assert (caught.value.exit_code, len(bench.service.forms)) == (77, 1)
    bench.service.answer = None
    bench.clock.now += QUICK.circuit
    assert bench.ask() == b"{}"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_unavailable_token_endpoint_is_tried_again(make: Callable[..., Bench], status: int) -> None:
    """Exit code 75 after all tries; once it answers, work goes on."""
    bench = make(answer=Answer(status=status))
    with pytest.raises(Unavailable) as caught:
        bench.ask()
    assert (caught.value.exit_code, len(bench.service.forms)) == (75, 3)
    bench.service.answer = None
    assert bench.ask() == b"{}"


def test_an_unreachable_token_endpoint_is_exit_code_75(make: Callable[..., Bench]) -> None:
    """Nobody listens there: Unavailable, and not refused credentials."""
    bench = make()
    gone = TokenRequest("http://127.0.0.1:1/oauth/token", FORM, CLIENT)
    bench.session.clients.rule = type(bench.session.clients.rule).of("http://127.0.0.1:1")
    bench.session.authorization = tokens_of(gone, bench.session.clients, QUICK, Stop())
    bench.session.clients.rule = type(bench.session.clients.rule).of(bench.origin, ["127.0.0.1:1"])
    with pytest.raises(RecvaultError) as caught:
        bench.ask()
    assert caught.value.exit_code == 75


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"access_token": 7}',
        b'{"access_token": ""}',
        b'{"access_token": "a\\r\\nX: y"}',
        b'{"access_token": "t", "expires_in": -1}',
        b'{"access_token": "t", "expires_in": "soon"}',
        b'{"access_token": "t", "token_type": "mac"}',
        b"[" * 100_000,
    ],
)
def test_an_answer_without_a_token_is_an_error(make: Callable[..., Bench], body: bytes) -> None:
    """An answer 200 that is no token is a ProtocolError that quotes nothing of it, and no request is sent."""
    bench = make(answer=Answer(body=body))
    with pytest.raises(ProtocolError) as caught:
        bench.ask()
    assert caught.value.__cause__ is None
    assert {each.path for each in bench.front.seen} == {"/oauth/token"}


def test_a_redirect_of_the_token_endpoint_is_not_followed(make: Callable[..., Bench]) -> None:
    """It would carry the secret elsewhere."""
    bench = make(answer=Answer(status=302, headers=(("Location", "/elsewhere"),)))
    with pytest.raises(Unavailable):
        bench.ask()
    assert {each.path for each in bench.front.seen} == {"/oauth/token"}


def test_a_token_shows_nowhere(make: Callable[..., Bench]) -> None:
    """No repr, error or log has the token, the form or the client's secret."""
    bench = make()
    bench.ask()
    grant = TokenRequest(f"{bench.origin}/oauth/token", FORM, CLIENT)
    shown = [repr(bench.tokens), repr(bench.session), repr(grant), mask("the header was Bearer token-1")]
    bench.service.answer = Answer(status=500, body=b"token-1")
    bench.clock.now += 7200
    try:
        bench.ask()
    except Unavailable as error:
        shown.append("".join(traceback.format_exception(error)))
    for text in shown:
        assert not any(secret in text for secret in ("token-1", "a-signed-assertion", CLIENT)), text


def test_other_hosts_of_the_service_get_the_token_and_no_others(wired: Any, make: Callable[..., Bench]) -> None:
    """An origin that the service declares as its own is sent the token; any other is not."""
    bench = make()
    media, other = wired.front(bench.service), wired.front(Answer(body=b"{}"))
    rule = type(bench.session.clients.rule)
    bench.session.clients.rule = rule.of(bench.origin, [media.host, other.host])
    bench.session.clients.media = wired.clients(bench.origin, (media.host, other.host)).media
    bench.session.own_origins = (media.origin,)
    bench.session.__post_init__()
    assert bench.session.download(get(f"{media.origin}/a"), Taken) == b"{}"
    assert bench.session.download(httpx.Request("GET", f"{other.origin}/a"), Taken) == b"{}"
    assert [each.headers.get("authorization") for each in (*media.seen, *other.seen)] == ["Bearer token-1", None]
