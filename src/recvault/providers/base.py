"""The provider interface: a frozen value of facts and pure functions about one wire format.

A provider performs no I/O and holds no secret. It builds requests without credentials: the session adds the
`Authorization` header, and only to requests to `base_url` and the origins in `own_origins`. README.md in this folder
explains how to add one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self
from urllib.parse import parse_qsl

from recvault.errors import ConfigError, ProtocolError
from recvault.models import JSON, Recording, Rejected, Scope, Window
from recvault.providers.lenient import check_row, parse
from recvault.providers.urls import request as ask
from recvault.providers.urls import unsigned, with_parameter

if TYPE_CHECKING:
    import httpx

    Request = httpx.Request

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
CHANNELS = "recvault.channels"
"""Extension of a media request: the number of channels requested, where the service offers a choice."""
LONGEST_ID = 2048  # characters: a longer one does not fit into a URL's path


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response of the provider's API, its body decoded from any Content-Encoding."""

    request: httpx.Request
    status: int
    headers: httpx.Headers
    body: bytes

    def json(self) -> Any:
        """Parse the body as JSON; ProtocolError if it is not. Unreadable parts become `Unreadable` values."""
        try:
            return parse(self.body)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(
                f"{self.request.url.host} answered {self.status} with a body that is not JSON"
            ) from error


@dataclass(frozen=True, slots=True)
class OwnMedia:
    """A GET of media below base_url, held as text. It looks like an httpx request, which is built when needed.

    There is one for each recording; building httpx's costs as much as all other work on a small recording.
    """

    text: str  # ASCII, percent-encoded
    channels: int | None = None  # requested

    @property
    def method(self) -> str:
        return "GET"

    @property
    def url(self) -> httpx.URL:
        return self._request().url

    @property
    def headers(self) -> httpx.Headers:
        return self._request().headers

    @property
    def extensions(self) -> Mapping[str, Any]:
        return {} if self.channels is None else {CHANNELS: self.channels}

    def _request(self) -> httpx.Request:
        import httpx

        return httpx.Request("GET", self.text, headers={"Accept-Encoding": "identity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list. `next` is absolute and followed verbatim; `total` (rows) and `pages` only if reported."""

    recordings: tuple[Recording, ...]
    rejected: tuple[Rejected, ...] = ()
    next: httpx.URL | None = None
    total: int | None = None
    pages: int | None = None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """How an access token is requested (OAuth 2): a POST of a form, with the client's own credentials."""

    url: str
    form: tuple[tuple[str, str], ...] = field(repr=False)
    login: str = field(repr=False)  # the Authorization header of this request alone


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of a `[[sources]]` entry that this provider accepts besides the common ones."""

    secret: bool = False
    doc: str = ""
    reaches_subaccounts: bool = True  # False: credentials with this key give access to the one account only


class Provider(Protocol):
    """Six verbs and a table of facts. Values are frozen dataclasses of `base_url` and `account_id`."""

    name: ClassVar[str]  # the name in the configuration: "twilio-legacy"
    provider: ClassVar[str]  # the provider in a recording's identity: "twilio"
    api: ClassVar[str]  # "2008-08-01"
    settings: ClassVar[Mapping[str, Setting]]
    credentials: ClassVar[tuple[tuple[str, ...], ...]]  # alternative sets of settings; one must be complete
    formats: ClassVar[tuple[str, ...]]  # media formats it can serve
    one_format: ClassVar[bool]  # each recording exists in one format only, which is served whatever is requested
    bytes_per_second: ClassVar[Mapping[str, tuple[int, int]]]  # by format: mono and stereo, where known
    scopes: ClassVar[tuple[str, ...]]  # kinds of Scope it can list
    page_size: ClassVar[int]
    default_lookback: ClassVar[timedelta]  # how late a recording may first be listed
    offset_pages: ClassVar[bool]  # pages shift as rows come and go: fix the upper bound, rescan if total changes
    newest_first: ClassVar[bool]  # documented order; lets a list whose date filter is ignored stop early
    lists_unfinished: ClassVar[bool]
    media_url_lifetime: ClassVar[timedelta | None]  # of the signed URLs in Recording.media_urls; None: unlimited
    has_subaccounts: ClassVar[bool]
    reads: ClassVar[tuple[str, ...]]  # other APIs of the same recordings, which it can refresh by id

    @property
    def base_url(self) -> str:
        """Scheme and host, no path, no trailing slash."""

    @property
    def account_id(self) -> str:
        """The account whose recordings are listed."""

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, str]) -> Self:
        """Build from a source's name and its plain settings (including `base_url`, if set)."""

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        """Return the `Authorization` header for these settings, with secrets resolved."""

    def list_request(self, window: Window, scope: Scope) -> httpx.Request:
        """Request the first page of the recordings created within the window; it may list more, never less."""

    def parse_page(self, reply: Reply) -> Page:
        """Parse a page; an unreadable row is rejected alone. Raises ProtocolError if it is not a page."""

    def media_requests(self, recording: Recording, media_format: str) -> tuple[httpx.Request | OwnMedia, ...]:
        """Return requests for the media, best first: the next is tried if one is answered with 400.

        OwnMedia for media below base_url, requested with the source's credentials; httpx's for any other address.
        """

    def refresh_request(self, recording: Recording) -> httpx.Request:
        """Request one recording by id."""

    def parse_recording(self, reply: Reply) -> Recording:
        """Parse the reply to `refresh_request`. Raises ProtocolError if it is not a recording."""

    def delete_request(self, recording: Recording) -> httpx.Request:
        """Request the deletion of one recording; sent only if the provider `deletes`."""

    def media_encryption(self, headers: Mapping[str, str]) -> JSON | None:
        """Return the key material in the media's response headers, None if there is none."""


@dataclass(frozen=True, slots=True)
class Subaccount:
    """The configured account or one below it, with its status at the provider."""

    account_id: str
    status: str = "active"

    @property
    def is_active(self) -> bool:
        return self.status.lower() == "active"


class SubaccountProvider(Provider, Protocol):
    """A provider that can list the accounts below the configured one (`has_subaccounts`)."""

    def accounts_request(self) -> httpx.Request:
        """Request the first page of accounts."""

    def parse_accounts(self, reply: Reply) -> tuple[tuple[Subaccount, ...], httpx.URL | None]:
        """Return a page's accounts, of any status, and the next page. Rows hold auth tokens: read only id, status."""


def deletes(provider: Provider | type[Provider]) -> bool:
    """Whether `delete_request` really deletes at its service. A plug-in declares it by `deletes`; the default is no."""
    return bool(getattr(provider, "deletes", False))


def longest_window(provider: Provider) -> timedelta | None:
    """Return the longest window that its list answers completely; None if no limit is documented.

    Not in `Provider`, so that a plug-in written before this fact existed still loads.
    """
    found: timedelta | None = getattr(provider, "longest_window", None)
    return found


def capped_list(provider: Provider) -> bool:
    """Whether its list has at most `page_size` rows and no further page: a full one may lack the rest."""
    return bool(getattr(provider, "capped_list", False))


def requests_per_second(provider: type[Provider]) -> float | None:
    """Return the pace that its service's documented quota allows; None if none is documented."""
    quota: float | None = getattr(provider, "requests_per_minute", None)
    return None if quota is None else quota / 60


def token_request_of(provider: Provider, values: Mapping[str, str]) -> TokenRequest | None:
    """Return how its access tokens are requested; None if its credentials are sent as they are."""
    make = getattr(provider, "token_request", None)
    found: TokenRequest | None = make(values) if make else None
    return found


def own_origins(provider: Provider) -> tuple[str, ...]:
    """Return origins beside `base_url` that get the credentials too: the service's own hosts for media."""
    return tuple(getattr(provider, "own_origins", ()))


def readable_apis(provider: Provider) -> frozenset[str]:
    """Return the APIs whose recordings this provider can refresh by id."""
    return frozenset({provider.api, *provider.reads})


def check_scope(provider: Provider, scope: Scope) -> None:
    """Raise ConfigError for a list that the provider does not have: it might answer with the whole account."""
    if scope.kind not in provider.scopes:
        raise ConfigError(f"{provider.name} lists recordings by {', '.join(provider.scopes)}, not by {scope.kind}")


def with_fewer_rows(request: Request, page_size: int, fewer: int) -> Request:
    """Return a list's first request with `fewer` rows a page; unchanged if the URL does not contain `page_size`."""
    pairs = parse_qsl(request.url.query.decode("ascii"))
    names = [name for name, value in pairs if value == str(page_size)]
    url = with_parameter(request.url, names[-1], fewer) if names else request.url
    return ask(request.method, url, headers=request.headers)


def read_list(reply: Reply, key: str, *marks: str) -> tuple[JSON, list[Any]]:
    """Return the page and its rows, which are under `key`; "" if the page is the list itself.

    Raises ProtocolError if it is not a page.

    null, an empty object or an empty text under `key` means no rows, unless the page tells of errors. A missing `key`
    means no rows only if the page has one of `marks`, which no other document has.
    """
    page = reply.json()
    if not key and isinstance(page, list):
        return {}, page
    if key and isinstance(page, dict) and (page.get(key) or not page.get("errors")):
        rows = page.get(key, None if any(name in page for name in marks) else False)
        if isinstance(rows, list) or rows is None or rows in ({}, ""):
            return page, rows or []
    wanted = f"a list of {key!r}" if key else "a list"
    raise ProtocolError(f"{reply.request.url.host} answered {reply.status} without {wanted}")


def read_rows(
    rows: Iterable[Any], read: Callable[[Any], Recording], recording_id: Callable[[Any], str | None]
) -> tuple[tuple[Recording, ...], tuple[Rejected, ...]]:
    """Read each row by itself. One that `read` cannot parse (`UNREADABLE`) is rejected and kept, without signatures."""
    recordings: list[Recording] = []
    rejected: list[Rejected] = []
    for row in rows:
        try:
            check_row(row)
            recordings.append(_addressable(read(row)))
        except UNREADABLE as error:
            reason = f"{type(error).__name__}: {error}"
            rejected.append(Rejected(body=_body(row), reason=reason, recording_id=_id_or_none(row, recording_id)))
    return tuple(recordings), tuple(rejected)


def read_one(reply: Reply, row: Any, read: Callable[[Any], Recording]) -> Recording:
    """Read the recording of a reply. Raises ProtocolError if it is not a recording."""
    try:
        check_row(row)
        return _addressable(read(row))
    except UNREADABLE as error:
        message = f"{reply.request.url.host} answered {reply.status} with something that is not a recording"
        raise ProtocolError(message, f"{type(error).__name__}: {error}") from error


def _body(row: Any) -> str:
    """Return a rejected row as text that can be stored, whatever it contains."""
    kept = unsigned(row)
    body = kept if isinstance(kept, str) else json.dumps(kept, default=str)
    return body.encode("utf-8", "backslashreplace").decode()


def _addressable(recording: Recording) -> Recording:
    """Return the recording; ValueError if an id is too long for a URL."""
    if max(len(recording.recording_id), len(recording.account_id)) > LONGEST_ID:
        raise ValueError(f"an id of more than {LONGEST_ID} characters")
    return recording


def _id_or_none(row: Any, recording_id: Callable[[Any], str | None]) -> str | None:
    try:
        return recording_id(row) or None
    except UNREADABLE:
        return None
