"""Send a request and read its answer, or stream its media: the one way to a provider.

Invariants: the `Authorization` header is set here and only toward `base_url`'s own origin; a redirect is followed by
hand, checked like any other URL; a media body is complete by its Content-Length or it is an error; a refusal of the
credentials opens the circuit for this account, and no other.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

import httpx
import tenacity

from recvault.errors import CredentialsRefused, MediaRejected, ProtocolError, Unavailable
from recvault.http import classify
from recvault.http.addresses import origin
from recvault.http.client import Clients
from recvault.http.limits import Limits
from recvault.providers.base import Page, Provider, Reply
from recvault.stopping import Stop

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_MOST_REPLY = 64 * 1024 * 1024
_MOST_PAGES = 100_000
_ERROR_BODY = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When an exchange is slow, and how often it is tried."""

    min_rate: int = 1024  # bytes a second
    stall_timeout: float = 60.0  # seconds; a body slower than min_rate for so long is a stall
    reply_deadline: float = 180.0  # seconds for a whole API answer
    tries: int = 5  # of one request within one attempt
    backoff_base: float = 0.5  # seconds, doubles
    backoff_most: float = 30.0  # seconds; a provider that asks for more patience is asked again in a later pass
    circuit: float = 300.0  # seconds for which refused credentials are not tried again


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
    limits: Limits
    stop: Stop
    timing: Timing = Timing()
    _sent: int = 0
    _refusal: tuple[float, str] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def requests(self) -> int:
        """How many requests were sent so far, redirects and tries included."""
        return self._sent

    def send(self, request: httpx.Request) -> Reply:
        """Ask the provider's API, trying again while it is unavailable; the whole answer, read and decoded."""
        return self._retrying()(self._send_once, request)

    def pages(self, provider: Provider, first: httpx.Request) -> Iterator[tuple[Page, Reply]]:
        """Follow a provider's list of recordings from its first page to its last."""

        def parse(reply: Reply) -> tuple[tuple[Page, Reply], httpx.URL | None]:
            page = provider.parse_page(reply)
            return (page, reply), page.next

        return self.follow(first, parse)

    def follow(self, first: httpx.Request, parse: Callable[[Reply], tuple[T, httpx.URL | None]]) -> Iterator[T]:
        """Follow any list to its end. ProtocolError for a page seen before or a next page on another host."""
        seen: set[str] = set()
        request = first
        for _ in range(_MOST_PAGES):
            url = str(request.url)
            if url in seen:
                raise ProtocolError(f"{request.url.host} gave a next page that was read before")
            seen.add(url)
            page, following = self._retrying()(self._page_once, request, parse)
            yield page
            if following is None:
                return
            if origin(following) != origin(httpx.URL(self.base_url)):
                raise ProtocolError(f"{request.url.host} gave a next page on another host, {following.host}")
            request = httpx.Request("GET", following, headers=_kept(first.headers))
        raise ProtocolError(f"{first.url.host} gave more than {_MOST_PAGES} pages")

    def download(self, request: httpx.Request, receive: Callable[[MediaHead, Iterator[bytes]], T]) -> T:
        """Stream media into `receive`, which is called anew for each try; what it returns is returned."""
        result: T = self._retrying()(self._download_once, request, receive)
        return result

    def _send_once(self, request: httpx.Request) -> Reply:
        with self._exchange(request) as response:
            if origin(response.url) != origin(request.url):
                raise ProtocolError(f"{request.url.host} sent its API's caller to another host, {response.url.host}")
            return Reply(request, response.status_code, response.headers, self._whole(response))

    def _page_once(
        self, request: httpx.Request, parse: Callable[[Reply], tuple[T, httpx.URL | None]]
    ) -> tuple[T, httpx.URL | None]:
        """A page that cannot be read is asked for again: gateways answer 200 with HTML."""
        return parse(self._send_once(request))

    def _download_once(self, request: httpx.Request, receive: Callable[[MediaHead, Iterator[bytes]], T]) -> T:
        with self._exchange(request) as response:
            if response.status_code != 200:
                raise Unavailable(f"{response.url.host} answered {response.status_code} where media were due")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise MediaRejected(
                    f"{response.url.host} encoded the media, which nobody asked for", reason="media.encoded"
                )
            url = str(response.url.copy_with(query=None, fragment=None))
            head = MediaHead(url, response.headers, _length(response.headers))
            return receive(head, self._chunks(response, head.length))

    @contextmanager
    def _exchange(self, request: httpx.Request) -> Iterator[httpx.Response]:
        """Send, follow redirects by hand, and hold the answer open; raises what the status means."""
        for _ in range(_MOST_REDIRECTS):
            with self._hop(request) as response:
                location = response.headers.get("location")
                if response.status_code not in _REDIRECTS or not location:
                    self._raise_for(response)
                    yield response
                    return
            try:
                request = httpx.Request("GET", request.url.join(location), headers=_kept(request.headers))
            except httpx.InvalidURL as error:
                raise ProtocolError(f"{request.url.host} redirected to what is no URL") from error
        raise ProtocolError(f"{request.url.host} redirected more than {_MOST_REDIRECTS} times")

    @contextmanager
    def _hop(self, request: httpx.Request) -> Iterator[httpx.Response]:
        self._check_circuit()
        self.clients.rule.check_url(request.url)
        at_home = self._at_home(request.url)
        headers = _kept(request.headers)
        if at_home:
            headers["Authorization"] = self.authorization
        sent = httpx.Request(request.method, request.url, headers=headers)
        with self.limits.turn(self.stop) if at_home else nullcontext():
            with self._lock:
                self._sent += 1
            with _httpx_errors(request.url.host):
                response = self.clients.get().send(sent, stream=True)
                try:
                    if at_home:
                        self.limits.note(response.status_code)
                    yield response
                finally:
                    response.close()

    def _raise_for(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        at_home = self._at_home(response.url)
        detail = classify.describe(self._beginning(response))
        error = classify.error_for(
            response.status_code,
            at_home=at_home,
            where=response.url.host,
            detail=detail,
            retry_after=classify.retry_after(response.headers),
        )
        if isinstance(error, CredentialsRefused):
            self._refusal = (time.monotonic(), error.message)
        raise error

    def _check_circuit(self) -> None:
        if self._refusal is None:
            return
        since, message = self._refusal
        if time.monotonic() - since < self.timing.circuit:
            raise CredentialsRefused(message, "check the source's credentials and their rights")
        self._refusal = None

    def _at_home(self, url: httpx.URL) -> bool:
        return origin(url) == origin(httpx.URL(self.base_url))

    def _whole(self, response: httpx.Response) -> bytes:
        """A whole API answer, decoded; bounded in size and time, against bombs and drips."""
        body = bytearray()
        deadline = time.monotonic() + self.timing.reply_deadline
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _MOST_REPLY:
                raise ProtocolError(f"{response.url.host} answered with more than {_MOST_REPLY} bytes")
            if time.monotonic() > deadline:
                raise Unavailable(f"{response.url.host} took more than {self.timing.reply_deadline:.0f} s to answer")
            self.stop.check_enforced()
        return bytes(body)

    def _beginning(self, response: httpx.Response) -> bytes:
        try:
            return next(response.iter_bytes(_ERROR_BODY), b"")
        except httpx.HTTPError:
            return b""

    def _chunks(self, response: httpx.Response, length: int | None) -> Iterator[bytes]:
        """The media's wire bytes. Unavailable where they stall, break off or differ from their Content-Length."""
        watch = _Watch(self.timing)
        got = 0
        for chunk in response.iter_raw():
            got += len(chunk)
            watch.saw(len(chunk), response.url.host)
            self.stop.check_enforced()
            yield chunk
        if length is not None and got != length:
            raise Unavailable(f"{response.url.host} sent {got} bytes of {length}")

    def _retrying(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._worth_another_try),
            stop=tenacity.stop_after_attempt(self.timing.tries),
            wait=self._wait,
            sleep=self.stop.sleep,
            reraise=True,
        )

    def _worth_another_try(self, error: BaseException) -> bool:
        return isinstance(error, Unavailable) and (error.retry_after or 0.0) <= self.timing.backoff_most

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Full jitter: uniform up to a doubling bound, and never less than the provider asked for."""
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None) or 0.0
        bound = min(self.timing.backoff_most, self.timing.backoff_base * 2 ** (state.attempt_number - 1))
        return float(asked) + random.uniform(0.0, bound)  # noqa: S311 - jitter, not a secret


class _Watch:
    """Notices a body that drips: httpx's timeouts are per read, so a byte a second would never end."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._since = time.monotonic()
        self._bytes = 0

    def saw(self, count: int, host: str) -> None:
        self._bytes += count
        elapsed = time.monotonic() - self._since
        if elapsed < self._timing.stall_timeout:
            return
        if self._bytes < self._timing.min_rate * elapsed:
            raise Unavailable(f"{host} sent {self._bytes} bytes in {elapsed:.0f} s: a stall")
        self._since, self._bytes = time.monotonic(), 0


@contextmanager
def _httpx_errors(host: str) -> Iterator[None]:
    """httpx's transport errors as ours; their text may hold a signed URL, so only their kind is told."""
    try:
        yield
    except httpx.DecodingError as error:
        raise ProtocolError(f"{host} sent a body that cannot be decoded") from error
    except httpx.TimeoutException as error:
        raise Unavailable(f"{host} did not answer in time ({type(error).__name__})") from error
    except httpx.TransportError as error:
        raise Unavailable(f"{host} cannot be reached or broke off ({type(error).__name__})") from error


def _kept(headers: httpx.Headers) -> httpx.Headers:
    """The headers that may travel on: never credentials, and the host is the next URL's own."""
    return httpx.Headers([(k, v) for k, v in headers.raw if k.lower() not in (b"authorization", b"host", b"cookie")])


def _length(headers: httpx.Headers) -> int | None:
    said = headers.get("content-length", "")
    return int(said) if said.isdecimal() else None
