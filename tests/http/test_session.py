"""Retries and waits, circuits and redirects, pages, and the content of errors."""

from __future__ import annotations

import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from recvault import __version__
from recvault.errors import (
    CredentialsRefused,
    Denied,
    Interrupted,
    MediaExpired,
    NotFound,
    ProtocolError,
    RecvaultError,
    Refused,
    Unavailable,
)
from recvault.http import Limits, MediaHead
from recvault.http import circuit as circuit_module
from recvault.http import session as session_module
from recvault.models import ACCOUNT, Window
from recvault.providers import urls
from recvault.providers.base import Reply
from recvault.providers.telnyx import Telnyx
from recvault.shutdown import Stop
from recvault.simulator import Simulator
from recvault.simulator.exchange import Request
from recvault.simulator.wire import Wire
from recvault.testing import Answer, Front

from .conftest import AUTHORIZATION, Taken, get, read

SIGNED = "/a.wav?X-Amz-Credential=AKIAKEY&X-Amz-Signature=s3cr3t"


class Sleepless(Stop):
    """A stop that records waits instead of waiting."""

    __slots__ = ("slept",)

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "slept", [])

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def clock(self) -> float:
        """Return the time after all recorded waits."""
        return 100.0 + sum(self.slept)


def redirect(url: str, status: int = 302, *more: tuple[str, str]) -> Answer:
    return Answer(status=status, headers=(("Location", url), *more))


# -- tries and waits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_what_is_unavailable_is_tried_again(wired: Any, status: int) -> None:
    """A temporary error is retried."""
    answers = [Answer(status=status), Answer(status=status), Answer(body=b"{}")]
    home = wired.front(lambda request: answers.pop(0))
    session = wired.session(home.origin, stop=Sleepless(), tries=3)
    assert session.send(get(home.origin)).body == b"{}"
    assert session.count.requests == 3


@pytest.mark.parametrize(("status", "kind"), [(400, Refused), (404, NotFound), (410, NotFound), (422, Refused)])
def test_what_is_refused_is_asked_once(wired: Any, status: int, kind: type[RecvaultError]) -> None:
    """A refusal that a retry cannot change is not retried."""
    home = wired.front(Answer(status=status))
    with pytest.raises(kind):
        wired.session(home.origin, stop=Sleepless(), tries=5).send(get(home.origin))
    assert len(home.seen) == 1


def test_waits_are_jittered_and_bounded(wired: Any) -> None:
    """Waits have full jitter: uniform from zero to a doubling, limited bound."""
    stop, home = Sleepless(), wired.front(Answer(status=503))
    with pytest.raises(Unavailable):
        wired.session(home.origin, stop=stop, tries=8, backoff_base=1.0, backoff_most=10.0).send(get(home.origin))
    bounds = [1, 2, 4, 8, 10, 10, 10]
    assert len(bounds) == len(stop.slept) == len(set(stop.slept))
    assert all(0 <= slept <= bound for slept, bound in zip(stop.slept, bounds, strict=True))


def test_a_provider_is_given_the_time_it_asks_for(wired: Any) -> None:
    """Retry-After is the least wait, with jitter added, so that a fleet does not return at once."""
    stop, home = Sleepless(), wired.front(Answer(status=429, headers=(("Retry-After", "5"),)))
    session = wired.session(home.origin, stop=stop, tries=4, backoff_base=1.0, backoff_most=10.0)
    session.limits = Limits(100_000, 32, stop.clock)
    with pytest.raises(Unavailable) as caught:
        session.send(get(home.origin))
    assert caught.value.retry_after == 5.0
    waits = [slept for slept in stop.slept if slept > 1e-3]  # shorter ones are the pace
    assert len(waits) == 3
    assert all(5 <= slept <= 5 + bound for slept, bound in zip(waits, (1, 2, 4), strict=True))


def test_too_long_a_wait_is_left_to_a_later_pass(wired: Any) -> None:
    """If a provider wants a longer wait than the limit, it is not retried now, and the error has the wait."""
    home = wired.front(Answer(status=503, headers=(("Retry-After", "3600"),)))
    with pytest.raises(Unavailable) as caught:
        wired.session(home.origin, stop=Sleepless(), tries=5, backoff_most=30.0).send(get(home.origin))
    assert (caught.value.retry_after, len(home.seen)) == (3600.0, 1)


def test_a_stop_cuts_a_wait_short(wired: Any) -> None:
    """A stop ends the wait before a retry at once."""
    stop, home = Stop(), wired.front(Answer(status=503, headers=(("Retry-After", "20"),)))
    timer = threading.Timer(0.1, stop.asked.set)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        wired.session(home.origin, stop=stop, tries=5, backoff_most=30.0).send(get(home.origin))
    timer.join()
    assert time.monotonic() - begun < 10  # of twenty


# -- circuits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_open_one_circuit(wired: Any, status: int) -> None:
    """After its list's 401 or 403 only this session sends nothing; after a while it tries again."""
    answers = [Answer(status=status)]
    home = wired.front(lambda request: answers.pop() if answers else Answer())
    limits = wired.limits()
    refused, other = (wired.session(home.origin, limits=limits, tries=5, circuit=0.2) for _ in range(2))
    with pytest.raises(CredentialsRefused):
        next(refused.follow(get(home.origin), lambda reply: (reply.body, None)))
    for _ in range(3):
        with pytest.raises(CredentialsRefused):
            refused.send(get(home.origin))
    assert len(home.seen) == 1
    assert other.send(get(home.origin)).status == 200
    time.sleep(0.25)
    assert refused.send(get(home.origin)).status == 200


@pytest.mark.parametrize("status", [401, 403])
def test_one_recordings_refusal_is_its_own(wired: Any, status: int) -> None:
    """If a row, media or a call's list is refused but not the account's list, everything else is still requested."""
    home = wired.front(lambda request: Answer(status=status if request.path.startswith("/poison") else 200))
    session = wired.session(home.origin, own_list=lambda: get(f"{home.origin}/list"))
    for _ in range(3):
        with pytest.raises(Denied):
            session.send(get(f"{home.origin}/poison.json"))
        with pytest.raises(Denied):
            session.download(get(f"{home.origin}/poison.wav"), read)
        with pytest.raises(Denied):
            list(session.pages(Telnyx(home.origin, "main"), get(f"{home.origin}/poison/list")))
    assert session.send(get(f"{home.origin}/other.json")).status == 200
    assert len(list(session.follow(get(f"{home.origin}/list"), lambda reply: (reply.body, None)))) == 1
    asked = [seen.path for seen in home.seen]
    assert asked.count("/list") == 2  # once for all nine refusals, once by us


def test_a_list_that_answered_is_believed_for_a_moment_only(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials withdrawn during a pass are detected, although the list was answered before."""
    moments, refused = [100.0], ["/poison"]
    monkeypatch.setattr(circuit_module, "time", SimpleNamespace(monotonic=lambda: moments[0]))
    home = wired.front(lambda request: Answer(status=403 if request.path in refused else 200))
    session = wired.session(home.origin, own_list=lambda: get(f"{home.origin}/list"))
    with pytest.raises(Denied):
        session.send(get(f"{home.origin}/poison"))
    refused.append("/list")
    moments[0] += 60.0
    with pytest.raises(CredentialsRefused):
        session.send(get(f"{home.origin}/poison"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_that_the_list_shares_is_the_accounts(wired: Any, status: int) -> None:
    """At the first refusal the list is tested; if it is refused too, nothing more is sent."""
    home = wired.front(Answer(status=status))
    session = wired.session(home.origin, own_list=lambda: get(f"{home.origin}/list"))
    for _ in range(3):
        with pytest.raises(CredentialsRefused):
            session.download(get(f"{home.origin}/a.wav"), read)
    assert [seen.path for seen in home.seen] == ["/a.wav", "/list"]


@pytest.mark.parametrize("status", [404, 500])
def test_a_refusal_is_nobodys_while_the_list_cannot_be_asked(wired: Any, status: int) -> None:
    """If the list cannot be tested, a refusal proves nothing about credentials or recording."""
    home = wired.front(lambda request: Answer(status=status if request.path == "/list" else 403))
    session = wired.session(home.origin, own_list=lambda: get(f"{home.origin}/list"))
    with pytest.raises(Unavailable):
        session.send(get(f"{home.origin}/a.json"))


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_media_hosts_refusal_is_no_refusal_of_credentials(wired: Any, status: int) -> None:
    """A refused signed URL has expired; the account is still used."""
    host = wired.front(Answer(status=status))
    home = wired.front(lambda request: redirect(host.origin + SIGNED) if request.path == "/media" else Answer())
    session = wired.session(home.origin, hosts=(host.host,))
    with pytest.raises(MediaExpired):
        session.download(get(f"{home.origin}/media"), read)
    assert session.send(get(home.origin)).status == 200


def test_an_address_that_is_signed_takes_no_other_credentials(wired: Any) -> None:
    """A signed URL gets no credentials even on the provider's host, since S3 refuses two; a refusal means expired."""
    home = wired.front(lambda request: Answer(status=403 if "/expired" in request.path else 200, body=b"media"))
    session = wired.session(home.origin)
    assert session.download(get(home.origin + "/a.wav?X-Amz-Signature=abcd"), read) == b"media"
    assert session.download(get(home.origin + "/b.wav?key=minted"), read, signed=True) == b"media"
    with pytest.raises(MediaExpired):
        session.download(get(home.origin + "/expired.wav?key=minted"), read, signed=True)
    assert [each.headers.get("authorization") for each in home.seen] == [None] * 3
    assert session.send(get(home.origin)).status == 200


# -- where credentials go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_stay_at_home(wired: Any, status: int) -> None:
    """Another port is another origin: it gets no Authorization and no cookie; back at the API they are sent."""
    ways: dict[str, Answer] = {}
    host = wired.front(lambda request: ways[request.path])
    home = wired.front(lambda request: ways[request.path])
    cookie = ("Set-Cookie", "session=s3cr3t; Path=/")
    ways |= {
        "/1": redirect(f"{host.origin}/2", status, cookie),
        "/2": redirect(f"{home.origin}/3", status, cookie),
        "/3": Answer(body=b"media"),
    }
    session = wired.session(home.origin, hosts=(host.host,))
    assert session.download(get(f"{home.origin}/1"), read) == b"media"
    assert [each.headers.get("authorization") for each in home.seen] == [AUTHORIZATION] * 2
    assert [each.headers.get("authorization") for each in host.seen] == [None]
    assert not any("cookie" in each.headers for each in (*home.seen, *host.seen))
    assert [home.host, host.host] == [home.seen[0].headers["host"], host.seen[0].headers["host"]]


def test_a_requests_own_credentials_are_dropped(wired: Any) -> None:
    """Credentials in a provider's request, a redirect or a URL are not sent anywhere."""
    host = wired.front(Answer(body=b"media"))
    home = wired.front(redirect(f"http://eve:pw@{host.host}/a.wav"))
    request = httpx.Request("GET", home.origin, headers={"Authorization": "Basic other", "Cookie": "a=b"})
    heads: list[str] = []

    def receive(head: MediaHead) -> Taken:
        heads.append(head.url)
        return Taken(head)

    wired.session(home.origin, hosts=(host.host,)).download(request, receive)
    assert home.seen[0].headers["authorization"] == AUTHORIZATION
    assert not {"authorization", "cookie"} & host.seen[0].headers.keys()
    assert "cookie" not in home.seen[0].headers
    assert heads == [f"{host.origin}/a.wav"]


def test_requests_say_who_asks(wired: Any) -> None:
    """The User-Agent has name and version, to the API and to media hosts."""
    host = wired.front(Answer(body=b"media"))
    home = wired.front(redirect(host.origin))
    wired.session(home.origin, hosts=(host.host,)).download(get(home.origin), read)
    agents = {each.headers.get("user-agent") for each in (*home.seen, *host.seen)}
    assert {f"recvault/{__version__}"} == agents


# -- redirects ---------------------------------------------------------------------------------------------------------


def test_a_redirect_loop_ends(wired: Any) -> None:
    """A redirect to itself is followed a few times, then an error."""
    home = wired.front(redirect("/again"))
    with pytest.raises(ProtocolError, match="redirected more than"):
        wired.session(home.origin).download(get(home.origin), read)
    assert len(home.seen) == 5


@pytest.mark.parametrize("location", ["http://[::1", "http://host:port/", "https://x:99999/", "http://a b/\x7f"])
def test_a_redirect_to_no_url_is_an_error(wired: Any, location: str) -> None:
    """A Location that is not a URL is a ProtocolError, not a crash."""
    home = wired.front(redirect(location))
    with pytest.raises(RecvaultError):
        wired.session(home.origin).download(get(home.origin), read)


@pytest.mark.parametrize("status", [300, 304, 302])
def test_a_redirect_without_a_location_is_no_success(wired: Any, status: int) -> None:
    """A 3xx without Location is neither media nor a page."""
    home = wired.front(Answer(status=status, body=b"" if status == 304 else b"{}"))
    with pytest.raises(Unavailable, match=str(status)):
        wired.session(home.origin).send(get(home.origin))


def test_the_api_is_not_taken_from_another_host(wired: Any) -> None:
    """A page served by another host is refused, as its rows could be anybody's."""
    host = wired.front(Answer(body=b"{}"))
    home = wired.front(redirect(host.origin))
    with pytest.raises(ProtocolError, match="another host"):
        wired.session(home.origin, hosts=(host.host,)).send(get(home.origin))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_deletion_is_not_redirected(wired: Any, status: int) -> None:
    """A redirected DELETE is an error: following it with a GET would look like success."""
    home = wired.front(lambda request: redirect("/b", status) if request.path == "/a" else Answer())
    with pytest.raises(ProtocolError, match="DELETE"):
        wired.session(home.origin).send(httpx.Request("DELETE", f"{home.origin}/a"))
    assert [each.method for each in home.seen] == ["DELETE"]


# -- pages -------------------------------------------------------------------------------------------------------------


def counted(reply: Reply) -> tuple[int, httpx.URL | None]:
    page = reply.json()
    following = page.get("next")
    return page["rows"], httpx.URL(following) if following else None


def book(front: Front, **following: str) -> dict[str, Answer]:
    rows = {f"/{name}": f'{{"rows": 1, "next": "{link and front.origin + link}"}}' for name, link in following.items()}
    return {path: Answer(body=body.encode()) for path, body in rows.items()}


@pytest.mark.parametrize("back", ["/a", "/b", "/c"])
def test_a_page_seen_before_is_an_error(wired: Any, back: str) -> None:
    """A next link to any page already read, or itself, is an error."""
    pages: dict[str, Answer] = {}
    home = wired.front(lambda request: pages[request.path])
    pages |= book(home, a="/b", b="/c", c=back)
    with pytest.raises(ProtocolError, match="read before"):
        list(wired.session(home.origin).follow(get(f"{home.origin}/a"), counted))
    assert len(home.seen) == 3


def test_a_list_that_does_not_turn_its_pages_is_an_error(wired: Any) -> None:
    """A service that ignores the page number and repeats its rows is an error."""
    with Simulator(seed=3) as simulator:
        account = simulator.add_account("telnyx")
        simulator.populate(account, "telnyx", count=600, every=timedelta(seconds=1))
        session = wired.session(simulator.base_url)
        session.authorization = account.authorization
        provider = Telnyx(simulator.base_url, "main")
        first = provider.list_request(Window(), ACCOUNT)
        assert [len(page.recordings) for page, _ in session.pages(provider, first)] == [250, 250, 100]
        body = session.send(first).body
        home = wired.front(Answer(body=body))
        stuck = Telnyx(home.origin, "main")
        with pytest.raises(ProtocolError, match=r"same page twice|answered with page 1"):
            list(wired.session(home.origin).pages(stuck, stuck.list_request(Window(), ACCOUNT)))


def test_a_page_that_cannot_be_read_is_asked_for_again(wired: Any) -> None:
    """A gateway's HTML in place of a page is retried; earlier pages are not read again."""
    pages: dict[str, Answer] = {}
    troubles = [Answer(body=b"<html>"), Answer(status=502), Answer(body=b'{"rows":')]

    def answer(request: Request) -> Answer:
        return troubles.pop() if request.path == "/b" and troubles else pages[request.path]

    home = wired.front(answer)
    pages |= book(home, a="/b", b="")
    session = wired.session(home.origin, stop=Sleepless(), tries=5)
    assert list(session.follow(get(f"{home.origin}/a"), counted)) == [1, 1]
    assert [each.path for each in home.seen] == ["/a", "/b", "/b", "/b", "/b"]


@pytest.mark.parametrize(
    "link", ["https://127.0.0.1/b", "http://localhost/b", "http://127.0.0.1:1/b", "https://e.example/b"]
)
def test_a_next_page_elsewhere_is_not_read(wired: Any, link: str) -> None:
    """A next link to another scheme, host or port is an error, without a request there."""
    home = wired.front(Answer(body=f'{{"rows": 1, "next": "{link}"}}'.encode()))
    with pytest.raises(ProtocolError, match="another host"):
        list(wired.session(home.origin).follow(get(home.origin), counted))
    assert len(home.seen) == 1


def test_a_next_link_goes_out_as_it_came(wired: Any) -> None:
    """A next link is requested byte for byte, with its token, filters and escapes."""
    link = "/b?DateCreated%3E=2014-10-13T00%3A00%3A00Z&q=a+b%20c&x=%2f%2F&Page=7&PageToken=PARE1%2B"
    home = wired.front(Answer(body=b"{}"))

    def parse(reply: Reply) -> tuple[str, httpx.URL | None]:
        path = reply.request.url.path
        return path, urls.follow(home.origin, link) if path == "/a" else None

    assert list(wired.session(home.origin).follow(get(f"{home.origin}/a"), parse)) == ["/a", "/b"]
    assert [each.target for each in home.seen] == ["/a", link]


def test_a_list_of_ever_new_pages_ends(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless list of new pages ends as an error."""
    monkeypatch.setattr(session_module, "_MOST_PAGES", 9)
    home = wired.front(Answer(body=b"{}"))

    def parse(reply: Reply) -> tuple[None, httpx.URL]:
        return None, urls.with_parameter(reply.request.url, "page", len(home.seen))

    with pytest.raises(ProtocolError, match="more than 9 pages"):
        list(wired.session(home.origin).follow(get(home.origin), parse))
    assert len(home.seen) == 9


# -- what an error may say ---------------------------------------------------------------------------------------------


def broken_off(wire: Wire, request: Request) -> bool:
    wire.reset()
    return False


def silent(wire: Wire, request: Request) -> bool:
    wire.pause(0.4)
    return False


def nonsense(wire: Wire, request: Request) -> bool:
    wire.send(b"NONSENSE\r\n\r\n")
    return False


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=403, body=f"<Error><Code>AccessDenied</Code><Message>{SIGNED}</Message></Error>".encode()),
        Answer(status=404),
        Answer(status=500, body=f'{{"message": "http://x{SIGNED}"}}'.encode()),
        Answer(status=204),
        Answer(body=b"a", claimed=9),
        Answer(headers=(("Content-Encoding", "gzip"),)),
        redirect(f"http://media.example{SIGNED}"),
        redirect(f"https://10.0.0.1{SIGNED}"),
        redirect(f"https://[::1{SIGNED}"),
        redirect(f"https://host:port{SIGNED}"),
        redirect(SIGNED),
        broken_off,
        silent,
        nonsense,
    ],
)
def test_no_error_tells_a_signed_address(wired: Any, answer: Any) -> None:
    """No error about a signed URL, nor any of its causes, contains the signature."""
    host = wired.front(answer).origin if isinstance(answer, Answer) else wired.raw(answer)
    home = wired.front(redirect(host + SIGNED))
    session = wired.session(home.origin, hosts=(host.removeprefix("http://"),), stall_timeout=0.2)
    with pytest.raises(RecvaultError) as caught:
        session.download(get(f"{home.origin}/media"), read)
    error = caught.value
    told = "".join([*traceback.format_exception(error), repr(error), repr(session)])
    assert "s3cr3t" not in told
    assert "AKIAKEY" not in told
    assert AUTHORIZATION not in told
    assert "\n" not in str(error)


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_every_request_is_counted_by_its_answer(wired: Any) -> None:
    """Redirects, retries, interrupted bodies and unanswered requests are counted."""
    answers = [redirect("/b"), Answer(status=503), Answer(status=429), Answer(body=b"a", claimed=9), Answer(body=b"{}")]
    home = wired.front(lambda request: answers.pop(0))
    session = wired.session(home.origin, stop=Sleepless(), tries=4)
    assert session.count.answers == {}
    assert session.send(get(home.origin)).body == b"{}"
    assert session.count.answers == {"302": 1, "503": 1, "429": 1, "200": 2}
    unanswered = wired.session(wired.raw(broken_off), stop=Sleepless(), tries=3)
    with pytest.raises(Unavailable):
        unanswered.send(get(unanswered.base_url))
    assert unanswered.count.answers == {"error": 3}
    assert (session.count.requests, unanswered.count.requests) == (5, 3)


def test_what_is_not_sent_is_not_counted(wired: Any) -> None:
    """Requests refused here, by address or circuit, are not counted."""
    for location in ("http://media.example/a.wav", "https://10.0.0.1/a.wav"):
        home = wired.front(redirect(location))
        session = wired.session(home.origin)
        with pytest.raises(RecvaultError):
            session.download(get(home.origin), read)
        assert session.count.answers == {"302": 1}
    refused = wired.session(wired.front(Answer(status=401)).origin)
    with pytest.raises(CredentialsRefused):
        next(refused.follow(get(refused.base_url), lambda reply: (reply.body, None)))
    for _ in range(3):
        with pytest.raises(CredentialsRefused):
            refused.send(get(refused.base_url))
    assert refused.count.answers == {"401": 1}


def test_threads_count_together(wired: Any) -> None:
    """No thread's request is lost, and a count that was read does not change."""
    home = wired.front(Answer(body=b"{}"))
    session = wired.session(home.origin)
    before = session.count.answers
    with ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(session.send, get(home.origin)) for _ in range(64)]:
            future.result()
    assert (session.count.answers, session.count.requests, before) == ({"200": 64}, 64, {})


@pytest.mark.parametrize("status", [204, 404, 503])
def test_an_error_names_the_request(wired: Any, status: int) -> None:
    """The service's request id is in the error's message."""
    home = wired.front(Answer(status=status, headers=(("Twilio-Request-Id", "RQ123"),)))
    with pytest.raises(RecvaultError) as caught:
        wired.session(home.origin).download(get(home.origin), read)
    assert caught.value.message.endswith(" [request RQ123]")


# -- clients -----------------------------------------------------------------------------------------------------------


def test_clients_are_closed(wired: Any) -> None:
    """Each thread has its own client, closed after the thread has ended or with the session."""
    clients = wired.clients("https://api.example")
    barrier = threading.Barrier(3)

    def take() -> httpx.Client:
        barrier.wait(5)
        return clients.get()

    with ThreadPoolExecutor(3) as threads:
        taken = [future.result() for future in [threads.submit(take) for _ in range(3)]]
    assert len({id(client) for client in taken}) == 3
    ours = clients.get()
    assert ours is clients.get()
    assert [client.is_closed for client in taken] == [True] * 3
    assert not ours.is_closed
    clients.close()
    assert ours.is_closed
    assert not clients.get().is_closed


def test_a_session_shows_no_secret(wired: Any) -> None:
    """A session's repr contains no credentials."""
    assert AUTHORIZATION not in repr(wired.session("https://api.example"))
