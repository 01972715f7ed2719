"""Send a request and read its answer, or stream its media: the only way to a provider.

Invariants: the `Authorization` header is set here, only for the provider's own origins; redirects are followed here,
each checked like any other URL; a media body that is not complete by its Content-Length is an error; the circuit opens
only for this account, if its own list refuses the credentials: the refusal of one recording concerns that recording.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn, ParamSpec, TypeVar

import httpx

from recvault.errors import (
    CredentialsRefused,
    Denied,
    NotFound,
    NotWhole,
    ProtocolError,
    Refused,
    Unavailable,
)
from recvault.http import bodies, classify
from recvault.http.addresses import origin
from recvault.http.circuit import Circuit
from recvault.http.client import USER_AGENT, Clients
from recvault.http.exchange_errors import NOT_SENT, Failures, failure
from recvault.http.limits import LIST, MEDIA, Noted, Pacing
from recvault.http.media import MEDIA as ANSWER
from recvault.http.media import Away, DrainCut, MediaAnswer, MediaHead, Place, Sink
from recvault.http.media_part import MediaPart, PartSink
from recvault.http.request_count import NO_ANSWER, RequestCount
from recvault.http.tokens import Tokens
from recvault.http.tries import Timing, Tries
from recvault.log.meter import PROVIDER, Waits
from recvault.providers.base import OwnMedia, Page, Provider, Reply
from recvault.providers.urls import is_signed
from recvault.shutdown import Stop
from recvault.transport import ExchangeFailed, Headers, Request
from recvault.transport.guarded import wait_seconds

T = TypeVar("T")
P = ParamSpec("P")
Origin = tuple[str, str, int]

_MOST_REDIRECTS = 5
_MOST_PAGES = 100_000
_MOST_EMPTY = 100  # pages without a row in succession
_ROW, _PAGE, _MEDIA = "row", "page", ANSWER  # kinds of request, each with its own waiting times
_LATER = "later page"  # its refusal does not concern the account: the first page was answered
_LISTS = frozenset({_PAGE, _LATER})
_MOST = {_ROW: bodies.MOST_ROW, _PAGE: bodies.MOST_PAGE, _LATER: bodies.MOST_PAGE}
_NOT_KEPT = frozenset({"authorization", "cookie", "host", "user-agent", "accept-encoding"})  # only set here


@dataclass(slots=True)
class Session:
    """One account at one provider. Thread-safe; clients are per thread."""

    base_url: str
    authorization: str | Tokens = field(repr=False)
    clients: Clients
    limits: Pacing
    stop: Stop
    timing: Timing = field(default_factory=Timing)
    own_list: Callable[[], httpx.Request] | None = None  # a short page of the account's own list, to test refusals
    waits: Waits = field(default_factory=Waits, repr=False)
    count: RequestCount = field(default_factory=RequestCount, repr=False)
    own_origins: tuple[str, ...] = ()  # of the service's other hosts, which get the credentials too
    _home: Origin = field(init=False, repr=False)
    _homes: frozenset[Origin] = field(init=False, repr=False)  # these get the credentials
    _own_headers: Headers = field(init=False, repr=False)  # for media below base_url; empty if that is not safe
    _tries: Tries = field(init=False, repr=False)
    _circuit: Circuit = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._home = origin(httpx.URL(self.base_url))
        self._tries = Tries(self.timing, self.stop)
        self._homes = frozenset({self._home, *(origin(httpx.URL(each)) for each in self.own_origins)})
        headers = [("User-Agent", USER_AGENT), ("Accept-Encoding", "identity")]
        if isinstance(self.authorization, str):
            headers.append(("Authorization", self.authorization))
        self._own_headers = headers if self.clients.rule.is_safe(httpx.URL(self.base_url)) else []
        own_list = self.own_list
        ask = (lambda: self._send_once(own_list(), _PAGE)) if own_list else None
        self._circuit = Circuit(self.timing.circuit, self.stop, ask)

    def send(self, request: httpx.Request) -> Reply:
        """Send a request to the provider's API, with retries while it is unavailable; return the complete answer."""
        return self._judged(self._send_once, request, _ROW)

    def pages(self, provider: Provider, first: httpx.Request) -> Iterator[tuple[Page, Reply]]:
        """Read a provider's list of recordings from its first page to its last.

        Raises ProtocolError for two pages in succession with the same rows, since a service that repeats a page hides
        the rest, and for more than 100 empty pages in succession.
        """
        before: tuple[str, ...] = ()
        empty = 0

        def parse(reply: Reply) -> tuple[tuple[Page, Reply], httpx.URL | None]:
            page = provider.parse_page(reply)
            return (page, reply), page.next

        pages = self.follow(first, parse)
        while (turned := self._judged_list(first, pages)) is not None:
            page, reply = turned
            rows = tuple(recording.recording_id for recording in page.recordings)
            if rows and rows == before:
                raise ProtocolError(f"{first.url.host} returned the same page twice")
            before, empty = rows, 0 if rows or page.rejected else empty + 1
            if empty > _MOST_EMPTY:
                raise ProtocolError(f"{first.url.host} returned {empty} empty pages of a list in a row")
            yield page, reply

    def follow(self, first: httpx.Request, parse: Callable[[Reply], tuple[T, httpx.URL | None]]) -> Iterator[T]:
        """Read any list to its end.

        Raises ProtocolError for a URL read before or a next page on another host, Interrupted on a stop between pages.
        """
        seen: set[bytes] = set()
        request = first
        for number in range(1, _MOST_PAGES + 1):
            self.stop.check()  # a long list must not delay a stop: registered pages and the watermark stay
            url = hashlib.sha256(str(request.url).encode()).digest()  # the URL itself may be 64 KiB
            if url in seen:
                raise ProtocolError(f"{request.url.host} returned a next page that was read before")
            seen.add(url)
            with self.waits.on(PROVIDER):
                page, following = self._turned(number, request, parse)
            yield page
            if following is None:
                return
            if origin(following) != self._home:
                raise ProtocolError(
                    f"{request.url.host} returned a next page on another host, {following.host}",
                    "credentials are sent only to base_url; if that host is the service's own, make it base_url",
                )
            request = httpx.Request("GET", following, headers=_kept(first.headers))
        raise ProtocolError(f"{first.url.host} returned more than {_MOST_PAGES} pages")

    def once(self, request: httpx.Request) -> Reply:
        """Request one page without retries, to test whether it is answered."""
        return self._send_once(request, _PAGE)

    def _turned(
        self, number: int, request: httpx.Request, parse: Callable[[Reply], tuple[T, httpx.URL | None]]
    ) -> tuple[T, httpx.URL | None]:
        """Read one page. Raises NotWhole if a later page is refused.

        After the first page the list is known to exist: the next link or its token has expired, or is invalid even for
        the service itself.
        """
        try:
            return self._tries.persist(self._page_once, request, _PAGE if number == 1 else _LATER, parse)
        except (NotFound, Refused, CredentialsRefused) as error:
            if number == 1:
                raise
            raise NotWhole(
                f"page {number} of a list was refused: {error.message}", "the list is read again in shorter parts"
            ) from error

    def download(
        self, request: httpx.Request | OwnMedia, receive: Callable[[MediaHead], Sink[T]], *, signed: bool = False
    ) -> T:
        """Stream media into a sink made by `receive`, which is called for each try; return its result.

        `signed`: the provider signed this URL, so it needs no credentials on any host.
        """
        return self._judged(self._download_once, request, receive, signed)

    def part(self, request: httpx.Request | OwnMedia, start: int, size: int, *, signed: bool = False) -> MediaPart:
        """Return `size` bytes of media from `start`, or what is known of all of them if Range is ignored."""
        headers = [*_kept(request.headers), ("Range", f"bytes={start}-{start + size - 1}")]
        asked = httpx.Request("GET", request.url, headers=headers)
        return self._judged(self._download_once, asked, partial(PartSink, start, size), signed, True)

    # -- refusals ------------------------------------------------------------------------------------------------------

    def _judged(self, once: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Send with retries while it is unavailable.

        A refusal belongs to the recording unless the account's list is refused too. Raises Denied if the list answers;
        CredentialsRefused if it is refused too, or if there is no list to test.
        """
        try:
            with self.waits.on(PROVIDER):
                return self._tries.persist(once, *args, **kwargs)
        except CredentialsRefused as error:
            if self._circuit.is_listed():
                raise Denied(error.message, "only this recording is refused, not the account's list") from error
            raise

    def _judged_list(self, first: httpx.Request, pages: Iterator[T]) -> T | None:
        """Return the next page. Raises Denied if another list is refused, but not the account's own."""
        try:
            return next(pages, None)
        except CredentialsRefused as error:
            if not self._is_own_list(first.url) and self._circuit.is_listed():
                raise Denied(error.message, "only this list is refused, not the account's own") from error
            raise

    def _is_own_list(self, url: httpx.URL) -> bool:
        """Whether this is a page of the account's own list, by its path."""
        return self.own_list is None or url.path == self.own_list().url.path

    # -- exchanges -----------------------------------------------------------------------------------------------------

    def _send_once(self, request: httpx.Request, kind: str) -> Reply:
        """Send an API request, follow redirects manually, and raise the error for the status."""
        home = origin(request.url)
        for _ in range(_MOST_REDIRECTS):
            found = self._asked(request, kind, home)
            if not isinstance(found, Away):
                return found
            request = _redirected(request, found.location)
        raise ProtocolError(f"{home[1]} redirected more than {_MOST_REDIRECTS} times")

    def _page_once(
        self, request: httpx.Request, kind: str, parse: Callable[[Reply], tuple[T, httpx.URL | None]]
    ) -> tuple[T, httpx.URL | None]:
        """Read a page. It is parsed inside the retries, as gateways answer 200 with HTML."""
        return parse(self._send_once(request, kind))

    def _turn(self, kind: str) -> AbstractContextManager[None]:
        """Return a request's turn in the account's budget."""
        return self.limits.turn(self.stop, LIST if kind in _LISTS else MEDIA, self.timing.backoff_most, self.waits)

    def _asked(self, request: httpx.Request, kind: str, home: Origin) -> Reply | Away:
        """Send one API request and read its answer."""
        self._circuit.check()
        place = self._place(request, "gzip")
        url, at_home = httpx.URL(place.url), place.at_home
        sent = httpx.Request(request.method, url, headers=httpx.Headers(list(place.headers), encoding="latin-1"))
        cut = self.stop.check if kind in _LISTS else self.stop.check_enforced
        with self._turn(kind) if at_home else nullcontext(), Failures(place.host):
            try:
                response = self.clients.get(cut).send(sent, stream=True)
            except (ExchangeFailed, httpx.TransportError) as error:
                self._count_unanswered(error)
                raise
            with closing(response):
                status = response.status_code
                self._answered(status, response.headers, kind, wait_seconds(response), at_home=at_home)
                if away := Away.told(status, response.headers.get("location")):
                    return away
                if not 200 <= status < 300:
                    self._refuse(status, response.headers, bodies.beginning(response), place, kind)
                if kind == _PAGE and self._is_own_list(url):
                    self._circuit.list_answered()
                if origin(url) != home:
                    raise ProtocolError(f"{home[1]} redirected an API request to another host, {place.host}: refused")
                body = bodies.whole(response, self.timing, self.stop, _MOST[kind])
                return Reply(request, status, response.headers, body)

    def _download_once(
        self,
        request: httpx.Request | OwnMedia,
        receive: Callable[[MediaHead], Sink[T]],
        signed: bool,
        ranged: bool = False,
    ) -> T:
        """Fetch media, follow redirects manually, and raise the error for the status."""
        place = self._media_place(request, signed)
        for _ in range(_MOST_REDIRECTS):
            found = self._fetched(place, receive, ranged)
            if not isinstance(found, Away):
                return found
            kept = [(name, value) for name, value in place.headers if name.lower() not in _NOT_KEPT]
            sent = httpx.Request("GET", place.url, headers=kept)
            place = self._media_place(_redirected(sent, found.location), signed)
        raise ProtocolError(f"{place.host} redirected more than {_MOST_REDIRECTS} times")

    def _fetched(self, place: Place, receive: Callable[[MediaHead], Sink[T]], ranged: bool) -> T | Away:
        """Request media once. The transport suffices: httpx's client would add nothing."""
        self._circuit.check()
        answer = MediaAnswer(place, receive, self._answered, ranged=ranged)
        sent = Request("GET", place.url, place.headers)
        with self._turn(_MEDIA) if place.at_home else nullcontext():
            try:
                self.clients.media.exchange(sent, answer, DrainCut(answer, self.stop, self.timing.drain_silence))
                if (refused := answer.refused) is not None:
                    self._refuse(refused, answer.headers, answer.words, place, _MEDIA)
                return answer.outcome()
            except (ExchangeFailed, httpx.TransportError) as error:
                if not answer.has_begun:
                    self._count_unanswered(error)
                raise failure(place.host, error) or error from error
            finally:
                answer.close()

    def _media_place(self, request: httpx.Request | OwnMedia, signed: bool) -> Place:
        """Return the address of media. Addresses below base_url were checked with base_url."""
        if isinstance(request, OwnMedia) and self._own_headers and request.text.startswith(f"{self.base_url}/"):
            headers = self._own_headers
            if not isinstance(self.authorization, str):
                headers = [*headers, ("Authorization", self.authorization.header())]
            return Place(request.text, self._home[1], headers, at_home=True)
        if isinstance(request, OwnMedia):
            request = httpx.Request("GET", request.text)
        return self._place(request, "identity", signed=signed)

    def _place(self, request: httpx.Request, encoding: str, *, signed: bool = False) -> Place:
        """Return where a request goes, with its headers; UnsafeAddress if it must not go there."""
        url, at_home = request.url, self._at_home(request.url) and not signed
        if url.userinfo:
            url = url.copy_with(userinfo=b"")  # httpx would turn it into an Authorization header
        self.clients.rule.check_url(url)
        headers = [*_kept(request.headers), ("User-Agent", USER_AGENT), ("Accept-Encoding", encoding)]
        if at_home:
            login = self.authorization
            headers.append(("Authorization", login if isinstance(login, str) else login.header()))
        return Place(str(url), url.host, headers, at_home)

    def _count_unanswered(self, error: Exception) -> None:
        """Count a request without an answer; one refused here does not count."""
        if not (isinstance(error, ExchangeFailed) and error.cause in NOT_SENT):
            self._count(NO_ANSWER)

    def _answered(
        self, status: int, headers: Mapping[str, str], kind: str, wait: float | None, *, at_home: bool
    ) -> None:
        """Count an answer and note it in the account's budget, before its body, which may break off."""
        self._count(str(status))
        if at_home:
            rest = classify.retry_after(headers) if status >= 400 else None
            self.limits.note(Noted(status, _PAGE if kind == _LATER else kind, wait, rest))

    def _count(self, outcome: str) -> None:
        self.count.add(Counter((outcome,)))

    def _refuse(self, status: int, headers: Mapping[str, str], body: bytes, place: Place, kind: str) -> NoReturn:
        """Raise the error for an unsuccessful answer. One that a new token may change is Unavailable: tried again."""
        login = self.authorization
        if status == 401 and place.at_home and not isinstance(login, str) and login.renew(place.login):
            raise Unavailable(f"{place.host} no longer accepts an access token: it was replaced", status=status)
        error = classify.error_for(
            status,
            at_home=place.at_home,
            where=place.host,
            detail=classify.describe(body),
            retry_after=classify.retry_after(headers),
            request_id=classify.request_id(headers),
        )
        if isinstance(error, CredentialsRefused) and kind == _PAGE and self._is_own_list(httpx.URL(place.url)):
            self._circuit.list_refused(error)
        raise error

    def _at_home(self, url: httpx.URL) -> bool:
        """Whether a URL gets our credentials: at the service's origins, and without a signature, its own credential."""
        return origin(url) in self._homes and not is_signed(url)


def _redirected(request: httpx.Request, location: str) -> httpx.Request:
    if request.method != "GET":
        raise ProtocolError(f"{request.url.host} redirected a {request.method}, which is not followed")
    try:
        return httpx.Request("GET", request.url.join(location), headers=_kept(request.headers))
    except httpx.InvalidURL as error:
        raise ProtocolError(f"{request.url.host} redirected to an invalid URL") from error


def _kept(headers: httpx.Headers) -> Headers:
    """Return the headers that a redirect keeps: never credentials, and not the host."""
    sent = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw)
    return [(name, value) for name, value in sent if name.lower() not in _NOT_KEPT]
