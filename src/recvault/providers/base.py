"""What a provider is: a frozen value of facts and pure functions about one wire format.

A provider performs no I/O and holds no secret. It builds requests without credentials: the session adds the
`Authorization` header, and only on the way to `base_url`'s own origin. See README.md beside this file for how to
add one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
"""A media request's extension: how many channels it asks for, where the service lets a client choose."""
LONGEST_ID = 2048  # characters: written in a path, a longer one is more than a URL takes


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response of the provider's API, its body decoded from any Content-Encoding."""

    request: httpx.Request
    status: int
    headers: httpx.Headers
    body: bytes

    def json(self) -> Any:
        """The body as JSON; a `ProtocolError` where it is not. What of it cannot be read is marked as such."""
        try:
            return parse(self.body)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(
                f"{self.request.url.host} answered {self.status} with a body that is not JSON"
            ) from error


@dataclass(frozen=True, slots=True)
class OwnMedia:
    """A GET of media below base_url, as the text of its address. It reads like httpx's request, made when looked at.

    There is one for each recording, and httpx's costs as much as all else that is done about a small one.
    """

    text: str  # ASCII, percent-encoded
    channels: int | None = None  # that are asked for

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
    """One page of a list. `next` is absolute and followed verbatim; `total` rows and `pages` only if reported."""

    recordings: tuple[Recording, ...]
    rejected: tuple[Rejected, ...] = ()
    next: httpx.URL | None = None
    total: int | None = None
    pages: int | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a `[[sources]]` entry that this provider takes besides the common ones."""

    secret: bool = False
    doc: str = ""
    reaches_subaccounts: bool = True  # False: credentials with this key open the one account alone


class Provider(Protocol):
    """Six verbs and a table of facts. Values are frozen dataclasses of `base_url` and `account_id`."""

    name: ClassVar[str]  # the word in the configuration: "twilio-legacy"
    provider: ClassVar[str]  # identity's word: "twilio"
    api: ClassVar[str]  # "2008-08-01"
    settings: ClassVar[Mapping[str, Setting]]
    credentials: ClassVar[tuple[tuple[str, ...], ...]]  # the sets of settings of which one must be whole
    formats: ClassVar[tuple[str, ...]]  # media formats it can serve
    one_format: ClassVar[bool]  # a recording has one of them, which is served whatever is wanted
    bytes_per_second: ClassVar[Mapping[str, tuple[int, int]]]  # by format, of one channel and of two; where known
    scopes: ClassVar[tuple[str, ...]]  # kinds of Scope it can list
    page_size: ClassVar[int]
    default_lookback: ClassVar[timedelta]  # how late a recording may first be listed
    offset_pages: ClassVar[bool]  # pages shift as rows come and go: freeze the upper bound, rescan when total moves
    newest_first: ClassVar[bool]  # documented order; lets a list whose date filter is ignored stop early
    lists_unfinished: ClassVar[bool]
    media_url_lifetime: ClassVar[timedelta | None]  # of the signed addresses in Recording.media_urls; None: for good
    has_subaccounts: ClassVar[bool]
    reads: ClassVar[tuple[str, ...]]  # other APIs over the same recordings, whose rows it can read by their ids

    @property
    def base_url(self) -> str:
        """Scheme and host, no path, no trailing slash."""

    @property
    def account_id(self) -> str:
        """The account whose recordings are listed."""

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, str]) -> Self:
        """Build from a source's name and its plain settings (`base_url` among them where it is set)."""

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        """The `Authorization` header for these settings, secrets resolved."""

    def list_request(self, window: Window, scope: Scope) -> httpx.Request:
        """Ask for the first page of the recordings created within the window, or of a little more, never less."""

    def parse_page(self, reply: Reply) -> Page:
        """Parse a page; only an unreadable row is rejected. ProtocolError if it is not a page."""

    def media_requests(self, recording: Recording, media_format: str) -> tuple[httpx.Request | OwnMedia, ...]:
        """Requests for the media, best first: the next is tried where one is answered 400.

        OwnMedia where they lie below base_url and take the source's credentials; httpx's for any other address.
        """

    def refresh_request(self, recording: Recording) -> httpx.Request:
        """Request one recording by id."""

    def parse_recording(self, reply: Reply) -> Recording:
        """Read the answer to `refresh_request`. Raises ProtocolError if it is not a recording."""

    def delete_request(self, recording: Recording) -> httpx.Request:
        """Request the deletion of one recording."""

    def media_encryption(self, headers: Mapping[str, str]) -> JSON | None:
        """Key material that travels in the media's response headers, None where there is none."""


@dataclass(frozen=True, slots=True)
class Subaccount:
    """The configured account or one below it, and the provider's status for it."""

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
        """The accounts on a page, of any status, and the next page. Rows hold auth tokens: read id and status alone."""


def readable_apis(provider: Provider) -> frozenset[str]:
    """The APIs whose recordings this one can read by their ids."""
    return frozenset({provider.api, *provider.reads})


def check_scope(provider: Provider, scope: Scope) -> None:
    """Refuse a list that the provider does not have: it might answer with the whole account."""
    if scope.kind not in provider.scopes:
        raise ConfigError(f"{provider.name} lists recordings by {', '.join(provider.scopes)}, not by {scope.kind}")


def with_fewer_rows(request: Request, page_size: int, fewer: int) -> Request:
    """The first page of a list, of fewer rows than the provider asks for; the same where its size is not in its URL."""
    pairs = parse_qsl(request.url.query.decode("ascii"))
    names = [name for name, value in pairs if value == str(page_size)]
    url = with_parameter(request.url, names[-1], fewer) if names else request.url
    return ask(request.method, url, headers=request.headers)


def read_list(reply: Reply, key: str, *marks: str) -> tuple[JSON, list[Any]]:
    """The page as an object, and the rows under `key`; ProtocolError if it is not a page.

    No rows are written as an empty list, as null, as an empty object, or not at all: that is a page only where one of
    `marks`, which no other document has, stands beside it.
    """
    page = reply.json()
    if isinstance(page, dict):
        rows = page.get(key, None if any(name in page for name in marks) else False)
        if isinstance(rows, list) or rows is None or rows in ({}, ""):
            return page, rows or []
    raise ProtocolError(f"{reply.request.url.host} answered {reply.status} without a list of {key!r}")


def read_rows(
    rows: Iterable[Any], read: Callable[[Any], Recording], recording_id: Callable[[Any], str | None]
) -> tuple[tuple[Recording, ...], tuple[Rejected, ...]]:
    """Read each row separately: one that `read` cannot parse (`UNREADABLE`) is rejected with its body, without
    signatures."""
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
    """Read the one recording of a reply; raises ProtocolError if it is not a recording."""
    try:
        check_row(row)
        return _addressable(read(row))
    except UNREADABLE as error:
        message = f"{reply.request.url.host} answered {reply.status} with something that is not a recording"
        raise ProtocolError(message, f"{type(error).__name__}: {error}") from error


def _body(row: Any) -> str:
    """A row as quarantine keeps it: text that can be stored, whatever it holds."""
    kept = unsigned(row)
    body = kept if isinstance(kept, str) else json.dumps(kept, default=str)
    return body.encode("utf-8", "backslashreplace").decode()


def _addressable(recording: Recording) -> Recording:
    """A recording that can be asked for; ValueError for an id that fits no address."""
    if max(len(recording.recording_id), len(recording.account_id)) > LONGEST_ID:
        raise ValueError(f"an id of more than {LONGEST_ID} characters")
    return recording


def _id_or_none(row: Any, recording_id: Callable[[Any], str | None]) -> str | None:
    try:
        return recording_id(row) or None
    except UNREADABLE:
        return None
