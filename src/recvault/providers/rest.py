"""A provider of the usual shape: one list of recordings, limited by date, page by page, and each recording by its id.

A subclass declares facts and paths as class attributes and the keys of a row in `fields`; where a service differs,
it overrides one method. An instance holds only `base_url` and `account_id`; its methods are pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from recvault.errors import ConfigError, NotWhole, ProtocolError
from recvault.models import JSON, Phase, Recording, Scope, Window
from recvault.providers import values
from recvault.providers.base import (
    OwnMedia,
    Page,
    Reply,
    Setting,
    check_scope,
    read_list,
    read_one,
    read_rows,
)
from recvault.providers.fields import Keys, Reader, Recipe, recipes, told
from recvault.providers.stated import Stated, check_echo
from recvault.providers.urls import address, follow, request, segment, unsigned, with_parameter

if TYPE_CHECKING:
    import httpx

TELEPHONY: Mapping[str, tuple[int, int]] = {"wav": (16_000, 32_000), "mp3": (4_000, 4_000)}
"""Bytes a second, mono and stereo: WAV of 8 kHz and 16 bit, MP3 of 32 kbit/s (Twilio's recordings docs)."""

_RECIPES: dict[type, Mapping[str, Recipe]] = {}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The two parameters that limit a list to a window, and how a time is written in each.

    The writers may move a bound outward, never inward: to the start of the day for a service that filters by days.
    """

    since: str
    until: str
    floor: Callable[[datetime], str | int] = values.second
    ceiling: Callable[[datetime], str | int] = values.second_after
    earliest: datetime | None = None  # of all history, for a service that lists only recent rows without it


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """How a page leads to the next one: by a link in it, or by a page number in the request."""

    size: str = ""  # the parameter for the number of rows a page; "" if there is none
    within: str = ""  # the key of the object that holds the keys below; "" if the page itself holds them
    next: str = ""  # the key of the link to the next page
    own: str = ""  # the key of the link to this page
    last: str = ""  # the key of the link to the last page
    number: str = ""  # the parameter for the page number, from 1; for a list without links


@dataclass(frozen=True, slots=True)
class Rest:
    """One account of a service. `Provider` documents the attributes; here are the defaults that most services share."""

    name: ClassVar[str]
    provider: ClassVar[str]
    api: ClassVar[str]
    settings: ClassVar[Mapping[str, Setting]]
    credentials: ClassVar[tuple[tuple[str, ...], ...]]
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")
    one_format: ClassVar[bool] = False
    bytes_per_second: ClassVar[Mapping[str, tuple[int, int]]] = {}
    scopes: ClassVar[tuple[str, ...]] = ("account",)
    page_size: ClassVar[int]
    default_lookback: ClassVar[timedelta] = timedelta(hours=26)
    offset_pages: ClassVar[bool] = False
    newest_first: ClassVar[bool] = False
    lists_unfinished: ClassVar[bool] = True
    media_url_lifetime: ClassVar[timedelta | None] = None
    has_subaccounts: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ()
    requests_per_minute: ClassVar[float | None] = None  # the documented quota, if it is lower than the usual pace
    capped_list: ClassVar[bool] = False  # a list has at most page_size rows, and no further page
    longest_window: ClassVar[timedelta | None] = None  # of a list; a longer one is refused, or answered with a part

    home: ClassVar[str] = ""  # base_url, unless configured
    public: ClassVar[str] = ""  # the domain in the service's own links, which are requested from base_url instead
    account_setting: ClassVar[str] = ""  # the setting that holds the account's id; "": the source's name is used
    accept: ClassVar[str] = "application/json"

    root: ClassVar[str] = ""  # the prefix of all paths; {account} is the account's id
    lists: ClassVar[Mapping[str, str]]  # the path of each scope's list; {scope} is the id of the call, room …
    filters: ClassVar[Mapping[str, str]] = {}  # for a scope without its own list: a parameter of the account's list
    bounds: ClassVar[Bounds]
    paging: ClassVar[Paging]
    rows: ClassVar[str]  # the key of a page's rows
    marks: ClassVar[tuple[str, ...]] = ()  # keys that only a page has: with one of them, a missing list means no rows

    calls: ClassVar[str] = ""  # the path of the account's list of calls, after the host; "" if it has none

    instance: ClassVar[str]  # the path of one recording; {recording} is its id
    deletes: ClassVar[bool] = False  # a DELETE of that path deletes it at the service: what `prune` needs
    deleted: ClassVar[str] = ""  # the path for its deletion, if different
    media: ClassVar[str] = ""  # the path of its media in a {format}; "" if rows hold complete URLs (media_urls)

    fields: ClassVar[Mapping[str, Keys]]  # the row's key for each field of Recording
    readers: ClassVar[Mapping[str, Reader]] = {}  # for fields in a format of the provider's own
    phases: ClassVar[Mapping[str, Phase]] = {}  # the final statuses, in lower case; any other is read again

    base_url: str
    account_id: str

    if TYPE_CHECKING:  # each service has its own: a class without it is refused when loaded

        @staticmethod
        def authorization(values: Mapping[str, str]) -> str: ...

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, str]) -> Self:
        account_id = values[cls.account_setting] if cls.account_setting else name
        return cls((values.get("base_url") or cls.home).rstrip("/"), account_id)

    def list_request(self, window: Window, scope: Scope) -> httpx.Request:
        check_scope(self, scope)
        pairs: list[tuple[str, str | int]] = []
        bounds = self.bounds_of(scope)
        if since := window.since or bounds.earliest:
            pairs.append((bounds.since, bounds.floor(since)))
        if window.until:
            pairs.append((bounds.until, bounds.ceiling(window.until)))
        if scope.kind not in self.lists:
            pairs.append((self.filter_of(scope), scope.id))
        if self.paging.number:
            pairs.append((self.paging.number, 1))
        within = "" if scope.kind == "account" else segment(scope.id)
        path = self.root + self.lists.get(scope.kind, self.lists["account"])
        place = path.format(account=segment(self.account_id), scope=within)
        if self.paging.size:
            pairs.append((self.paging.size, self.page_size))
        url = address(self.base_url, place, pairs)
        return request("GET", url, headers={"Accept": self.accept})

    def bounds_of(self, scope: Scope) -> Bounds:
        """Return the bounds of this scope's list."""
        return self.bounds

    def filter_of(self, scope: Scope) -> str:
        """Return the parameter that limits the account's list to a call, a conference or a room."""
        return self.filters[scope.kind]

    def parse_page(self, reply: Reply) -> Page:
        page, rows = read_list(reply, self.rows, *self.marks)
        recordings, rejected = read_rows(map(self.unwrap, rows), self.read, self.id_of)
        following, said = self.following(reply, page, len(rows), self.paging, self.page_size)
        return Page(recordings=recordings, rejected=rejected, next=following, total=said.total, pages=said.pages)

    def following(
        self, reply: Reply, page: JSON, rows: int, paging: Paging, size: int
    ) -> tuple[httpx.URL | None, Stated]:
        """Return the next page's URL and the counts that this page states, after checking them against its rows."""
        if self.capped_list:
            if rows >= size:
                raise NotWhole(f"{reply.request.url.host} sent {rows} rows, the most of a list: more may exist")
            return None, Stated()
        told = (values.mapping(page.get(paging.within)) or {}) if paging.within else page
        said = Stated.of(told, told.get(paging.last))
        if paging.number:
            url, is_told = _counted(reply, paging.number, told, said, rows), True
        else:
            check_echo(reply, told.get(paging.own))
            check_echo(reply, told.get(paging.next))
            url, is_told = self.linked(told.get(paging.next)), paging.next in told
        said.check(reply, rows, is_last=url is None, is_told=is_told, size=size)
        return url, said

    def linked(self, link: Any) -> httpx.URL | None:
        """Resolve a link to the next page; None if there is none."""
        return follow(self.base_url, link, self.public)

    def media_requests(self, recording: Recording, media_format: str) -> tuple[httpx.Request | OwnMedia, ...]:
        if not self.media:
            url = recording.media_urls.get(media_format)
            return (request("GET", url, headers={"Accept-Encoding": "identity"}),) if url else ()
        if media_format not in self.formats and not self.one_format:
            return ()
        return (self.own_media(recording, media_format),)

    def own_media(self, recording: Recording, media_format: str) -> OwnMedia:
        """The request for media below base_url."""
        return OwnMedia(self.base_url + self._path(self.media, recording, media_format))

    def refresh_request(self, recording: Recording) -> httpx.Request:
        if "{call}" in self.instance and not recording.call_id:
            raise ConfigError(f"{self.name} reads a recording by its call, and this one's call is not known")
        url = address(self.base_url, self._path(self.instance, recording))
        return request("GET", url, headers={"Accept": self.accept})

    def parse_recording(self, reply: Reply) -> Recording:
        return read_one(reply, self.unwrap(reply.json()), self.read)

    def delete_request(self, recording: Recording) -> httpx.Request:
        return request("DELETE", address(self.base_url, self._path(self.deleted or self.instance, recording)))

    def media_encryption(self, headers: Mapping[str, str]) -> JSON | None:
        return None

    def unwrap(self, row: Any) -> Any:
        """Return the row itself, for a service that wraps it in another object."""
        return row

    def id_of(self, row: Any) -> str:
        """Return a row's id. Raises ValueError if it has none."""
        found: str | None = self.told(row, "recording_id")
        if found is None:
            raise ValueError(f"no {self.fields['recording_id']}")
        return found

    def read(self, row: JSON) -> Recording:
        """Build a recording from its row. Raises ValueError for a row without an id or a date."""
        phase = self.phase(row)
        found = {name: told(row, recipe) for name, recipe in _recipes(type(self)).items()}
        return Recording(
            provider=self.provider,
            api=self.api,
            account_id=found.pop("account_id", None) or self.account_id,
            recording_id=found.pop("recording_id") or self.id_of(row),
            created_at=found.pop("created_at") or values.moment(None),
            status=found.pop("status", None),
            phase=phase,
            formats=self.formats_of(row, phase),
            raw=unsigned(row),
            **found,
        )

    def told(self, row: Any, field: str) -> Any:
        """Return a row's value for a field of Recording, by `fields` and `readers`; None if it has none."""
        return told(row, _recipes(type(self))[field])

    def phase(self, row: JSON) -> Phase:
        """Map the status to a phase. A service that reports none lists only finished recordings."""
        if "status" not in self.fields:
            return Phase.COMPLETE
        status = self.told(row, "status") or ""
        return self.phases.get(status.lower(), Phase.UNFINISHED)

    def formats_of(self, row: JSON, phase: Phase) -> tuple[str, ...]:
        """Return the media formats of one recording, best first."""
        return () if phase in {Phase.GONE, Phase.EXTERNAL} else self.formats

    def _path(self, template: str, recording: Recording, media_format: str = "") -> str:
        account, name = segment(recording.account_id), segment(recording.recording_id)
        call = segment(recording.call_id) if "{call}" in template else ""
        return (self.root + template).format(account=account, recording=name, call=call, format=media_format)


def _recipes(kind: type[Rest]) -> Mapping[str, Recipe]:
    """Return a provider's recipes; built once."""
    if kind not in _RECIPES:
        _RECIPES[kind] = recipes(kind.fields, kind.readers)
    return _RECIPES[kind]


def _counted(reply: Reply, parameter: str, told: JSON, said: Stated, rows: int) -> httpx.URL | None:
    """Return the next page by number: up to the stated count of pages, or without one until a page is empty.

    Raises ProtocolError if the service answered with another page than requested, since rows would be missed.
    """
    url = reply.request.url
    asked, number = values.whole(url.params.get(parameter)), values.whole(told.get("page_number"))
    if asked is not None and number is not None and asked != number:
        raise ProtocolError(f"{url.host} was asked for page {asked} of a list, and answered with page {number}")
    page = asked or number or 1
    more = page < said.pages if said.pages else rows > 0
    return with_parameter(url, parameter, page + 1) if more else None
