"""Send a request and read its answer, or stream its media: the one way to a provider.

Invariants: the `Authorization` header is set here and only toward `base_url`'s own origin; a redirect is followed by
hand, checked like any other URL; a media body is complete by its Content-Length or it is an error; the circuit opens
for this account, and no other, where its own list refuses the credentials: one recording's refusal is its own.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import httpx

from recvault.errors import (
    CredentialsRefused,
    Denied,
    MediaRejected,
    NotFound,
    NotWhole,
    ProtocolError,
    RecvaultError,
    Refused,
    Translation,
    Unavailable,
)
from recvault.http import bodies, classify
from recvault.http.addresses import origin
from recvault.http.circuit import Circuit
from recvault.http.client import USER_AGENT, Clients
from recvault.http.limits import LIST, MEDIA, Budget, Noted, Turn
from recvault.http.timing import Timing
from recvault.http.transport import WAIT, Response, as_sent
from recvault.http.tries import Tries
from recvault.meter import PROVIDER, TURN, Waits
from recvault.providers.base import Page, Provider, Reply
from recvault.providers.urls import is_signed
from recvault.stopping import Stop
from recvault.wire import Headers

T = TypeVar("T")
P = ParamSpec("P")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_MOST_PAGES = 100_000
_MOST_EMPTY = 100  # pages without a row, one after the other
_NO_ANSWER = "error"
_ROW, _PAGE, _MEDIA = "row", "page", "media"  # what is asked for: each has a wait of its own
_LATER = "later page"  # that is refused says nothing of the account, whose first page was answered
_MOST = {_ROW: bodies.MOST_ROW, _PAGE: bodies.MOST_PAGE, _LATER: bodies.MOST_PAGE}
_NOT_KEPT = frozenset({"authorization", "cookie", "host", "user-agent", "accept-encoding"})  # set here, if at all


@dataclass(frozen=True, slots=True)
class MediaHead:
    """What is known of media before their first byte."""

    url: str  # that served them, without its query
    headers: httpx.Headers
    length: int | None


@dataclass(slots=True)
class Session:
    """One account at one provider. Thread-safe; clients are per thread."""

    base_url: str
    authorization: str = field(repr=False)
    clients: Clients
    limits: Budget
    stop: Stop
    timing: Timing = field(default_factory=Timing)
    own_list: Callable[[], httpx.Request] | None = None  # a short page of the account's own list, which tells refusals
    waits: Waits = field(default_factory=Waits, repr=False)
    _home: tuple[str, str, int] = field(init=False, repr=False)
    _tries: Tries = field(init=False, repr=False)
    _answers: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _circuit: Circuit = field(init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self._home = origin(httpx.URL(self.base_url))
        self._tries = Tries(self.timing, self.stop)
        own_list = self.own_list
        ask = (lambda: self._send_once(own_list(), _PAGE)) if own_list else None
        self._circuit = Circuit(self.timing.circuit, self.stop, ask)

    @property
    def answers(self) -> Counter[str]:
        """Requests so far by what came of them: a status, or "error" for none. Redirects and tries are included.

        What was refused here, for its address or by an open circuit, is no request.
        """
        with self._lock:
            return self._answers.copy()

    @property
    def requests(self) -> int:
        """How many requests were made so far, redirects and tries included."""
        return self.answers.total()

    def count(self, answers: Counter[str]) -> None:
        """Add what another process asked of this account."""
        with self._lock:
            self._answers.update(answers)

    def send(self, request: httpx.Request) -> Reply:
        """Ask the provider's API about one thing, trying again while it is unavailable; the whole answer, decoded."""
        return self._judged(self._send_once, request, _ROW)

    def pages(self, provider: Provider, first: httpx.Request) -> Iterator[tuple[Page, Reply]]:
        """Follow a provider's list of recordings from its first page to its last.

        ProtocolError for the same rows twice: a service that does not turn the page would hide those that follow.
        Likewise for one that turns pages without end, and none with a row.
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
                raise ProtocolError(f"{first.url.host} gave the same page twice")
            before, empty = rows, 0 if rows or page.rejected else empty + 1
            if empty > _MOST_EMPTY:
                raise ProtocolError(f"{first.url.host} gave {empty} empty pages of a list, one after the other")
            yield page, reply

    def follow(self, first: httpx.Request, parse: Callable[[Reply], tuple[T, httpx.URL | None]]) -> Iterator[T]:
        """Follow any list to its end. ProtocolError for a page seen before or a next page on another host.

        Interrupted between two pages where a stop is asked for.
        """
        seen: set[bytes] = set()
        request = first
        for number in range(1, _MOST_PAGES + 1):
            self.stop.check()  # a long list does not hold up a stop: what is registered stays, the watermark too
            url = hashlib.sha256(str(request.url).encode()).digest()  # itself it may be 64 KiB
            if url in seen:
                raise ProtocolError(f"{request.url.host} gave a next page that was read before")
            seen.add(url)
            with self.waits.on(PROVIDER):
                page, following = self._turned(number, request, parse)
            yield page
            if following is None:
                return
            if origin(following) != self._home:
                raise ProtocolError(
                    f"{request.url.host} gave a next page on another host, {following.host}",
                    "credentials go to base_url alone: if that host is the service's own, make it base_url",
                )
            request = httpx.Request("GET", following, headers=_kept(first.headers))
        raise ProtocolError(f"{first.url.host} gave more than {_MOST_PAGES} pages")

    def once(self, request: httpx.Request) -> Reply:
        """Ask for one page, and not again where that fails: to see whether it is answered at all."""
        return self._send_once(request, _PAGE)

    def _turned(
        self, number: int, request: httpx.Request, parse: Callable[[Reply], tuple[T, httpx.URL | None]]
    ) -> tuple[T, httpx.URL | None]:
        """A page. One that follows the first belongs to a list that exists: a refusal is not a matter of its address.

        Its link or token may have expired, or be of a kind that the service does not take itself.
        """
        try:
            return self._tries.persist(self._page_once, request, _PAGE if number == 1 else _LATER, parse)
        except (NotFound, Refused, CredentialsRefused) as error:
            if number == 1:
                raise
            raise NotWhole(
                f"page {number} of a list was refused: {error.message}", "the list is read again, in shorter parts"
            ) from error

    def download(
        self, request: httpx.Request, receive: Callable[[MediaHead, Iterator[bytes]], T], *, signed: bool = False
    ) -> T:
        """Stream media into `receive`, which is called anew for each try; what it returns is returned.

        `signed`: the provider minted this address, so it needs no credentials, wherever it leads.
        """
        return self._judged(self._download_once, request, receive, signed)

    # -- refusals ------------------------------------------------------------------------------------------------------

    def _judged(self, once: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask, trying again while it is unavailable. A refusal is the recording's own unless the account's list agrees.

        Denied where the list answers; CredentialsRefused where it is refused too, or where there is none to ask.
        """
        try:
            with self.waits.on(PROVIDER):
                return self._tries.persist(once, *args, **kwargs)
        except CredentialsRefused as error:
            if self._circuit.is_listed():
                raise Denied(error.message, "only this recording is refused, not the account's list") from error
            raise

    def _judged_list(self, first: httpx.Request, pages: Iterator[T]) -> T | None:
        """The next page; Denied where a list is refused that is not the account's own, and that one is not."""
        try:
            return next(pages, None)
        except CredentialsRefused as error:
            if not self._is_own_list(first.url) and self._circuit.is_listed():
                raise Denied(error.message, "the account's own list is not refused: this one is") from error
            raise

    def _is_own_list(self, url: httpx.URL) -> bool:
        """Whether this is a page of the account's own list: of what else there is, only its path is another."""
        return self.own_list is None or url.path == self.own_list().url.path

    # -- exchanges -----------------------------------------------------------------------------------------------------

    def _send_once(self, request: httpx.Request, kind: str) -> Reply:
        def read(response: Response) -> Reply:
            if origin(response.url) != origin(request.url):
                raise ProtocolError(f"{request.url.host} sent its API's caller to another host, {response.url.host}")
            body = bodies.whole(response, self.timing, self.stop, _MOST[kind])
            return Reply(request, response.status_code, response.headers, body)

        return self._exchange(request, kind, read)

    def _page_once(
        self, request: httpx.Request, kind: str, parse: Callable[[Reply], tuple[T, httpx.URL | None]]
    ) -> tuple[T, httpx.URL | None]:
        """A page that cannot be read is asked for again: gateways answer 200 with HTML."""
        return parse(self._send_once(request, kind))

    def _download_once(
        self, request: httpx.Request, receive: Callable[[MediaHead, Iterator[bytes]], T], signed: bool
    ) -> T:
        def read(response: Response) -> T:
            if response.status_code != 200:
                mark = classify.request_mark(classify.request_id(response.headers))
                raise Unavailable(f"{response.url.host} answered {response.status_code} where media were due{mark}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise MediaRejected(
                    f"{response.url.host} encoded the media, which nobody asked for", reason="media.encoded"
                )
            head = MediaHead(_bare(response.url), response.headers, _length(response.headers))
            return receive(head, bodies.chunks(response, head.length, self.timing, self.stop))

        return self._exchange(request, _MEDIA, read, signed=signed)

    def _exchange(self, request: httpx.Request, kind: str, read: Callable[[Response], T], *, signed: bool = False) -> T:
        """Send, follow redirects by hand, and read the answer while it is open; raises what the status means."""
        for _ in range(_MOST_REDIRECTS):
            at_home = self._at_home(request.url) and not signed
            turn = self._turn(kind) if at_home else nullcontext()
            self._circuit.check()
            with (
                turn,
                _HttpxErrors(request.url.host),
                closing(self._answer(request, kind, at_home=at_home)) as response,
            ):
                if at_home:
                    self.limits.note(_noted(response, kind))
                location = response.headers.get("location") if response.status_code in _REDIRECTS else None
                if not location:
                    self._raise_for(response, kind, at_home=at_home)
                    return read(response)
            request = _redirected(request, location)
        raise ProtocolError(f"{request.url.host} redirected more than {_MOST_REDIRECTS} times")

    def _turn(self, kind: str) -> _Awaited:
        """A request's part of what the account may be asked."""
        turn = self.limits.turn(self.stop, LIST if kind in (_PAGE, _LATER) else MEDIA, self.timing.backoff_most)
        return _Awaited(turn, self.waits)

    def _answer(self, request: httpx.Request, kind: str, *, at_home: bool) -> Response:
        """Send, to where it may go and with what may go there."""
        url = request.url
        if url.userinfo:
            url = url.copy_with(userinfo=b"")  # httpx would make an Authorization header of it
        self.clients.rule.check_url(url)
        encoding = "identity" if kind == _MEDIA else "gzip"
        headers = [*_kept(request.headers), ("User-Agent", USER_AGENT), ("Accept-Encoding", encoding)]
        if at_home:
            headers.append(("Authorization", self.authorization))
        return self._counted(request.method, url, headers, kind)

    def _counted(self, method: str, url: httpx.URL, headers: Headers, kind: str) -> Response:
        """Send, and count what comes: before its body is read, which may break off."""
        try:
            if kind == _MEDIA:
                response: Response = self.clients.stream(url, headers)
            else:
                request = httpx.Request(method, url, headers=httpx.Headers(headers, encoding="latin-1"))
                response = self.clients.get().send(request, stream=True)
        except httpx.TransportError:
            self._count(_NO_ANSWER)
            raise
        self._count(str(response.status_code))
        return response

    def _count(self, outcome: str) -> None:
        with self._lock:
            self._answers[outcome] += 1

    def _raise_for(self, response: Response, kind: str, *, at_home: bool) -> None:
        is_list = kind == _PAGE and self._is_own_list(response.url)
        if 200 <= response.status_code < 300:
            if is_list:
                self._circuit.list_answered()
            return
        detail = classify.describe(bodies.beginning(response))
        error = classify.error_for(
            response.status_code,
            at_home=at_home,
            where=response.url.host,
            detail=detail,
            retry_after=classify.retry_after(response.headers),
            request_id=classify.request_id(response.headers),
        )
        if isinstance(error, CredentialsRefused) and is_list:
            self._circuit.list_refused(error)
        raise error

    def _at_home(self, url: httpx.URL) -> bool:
        """On base_url's own origin, by our credentials: an address that is signed has its own, and takes no others."""
        return origin(url) == self._home and not is_signed(url)


class _Awaited:
    """A turn, the wait for which is told."""

    __slots__ = ("_turn", "_waits")

    def __init__(self, turn: Turn, waits: Waits) -> None:
        self._turn, self._waits = turn, waits

    def __enter__(self) -> None:
        with self._waits.on(TURN):
            self._turn.__enter__()

    def __exit__(self, *_: object) -> None:
        self._turn.__exit__()


class _HttpxErrors(Translation):
    """httpx's transport errors as ours; their text may hold a signed URL, so only their kind is told."""

    __slots__ = ("_host",)

    def __init__(self, host: str) -> None:
        self._host = host

    def translated(self, error: BaseException) -> RecvaultError | None:
        host, kind = self._host, type(error).__name__
        if isinstance(error, httpx.DecodingError):
            return ProtocolError(f"{host} sent a body that cannot be decoded")
        if isinstance(error, httpx.TimeoutException):
            return Unavailable(f"{host} did not answer in time ({kind})")
        if isinstance(error, httpx.TransportError):
            return Unavailable(f"{host} cannot be reached or broke off ({kind})")
        return None


def _noted(response: Response, kind: str) -> Noted:
    rest = classify.retry_after(response.headers) if response.status_code >= 400 else None
    return Noted(response.status_code, _PAGE if kind == _LATER else kind, response.extensions.get(WAIT), rest)


def _redirected(request: httpx.Request, location: str) -> httpx.Request:
    if request.method != "GET":
        raise ProtocolError(f"{request.url.host} redirected a {request.method}, which is not sent elsewhere")
    try:
        return httpx.Request("GET", request.url.join(location), headers=_kept(request.headers))
    except httpx.InvalidURL as error:
        raise ProtocolError(f"{request.url.host} redirected to what is no URL") from error


def _kept(headers: httpx.Headers) -> Headers:
    """The headers that may travel on: never credentials, and the host is the next URL's own."""
    return [(name, value) for name, value in as_sent(headers) if name.lower() not in _NOT_KEPT]


def _bare(url: httpx.URL) -> str:
    return str(url).partition("#")[0].partition("?")[0]


def _length(headers: httpx.Headers) -> int | None:
    said = headers.get("content-length", "")
    return int(said) if said.isdecimal() else None
