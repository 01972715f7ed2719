"""Telnyx v2: JSON pages by number, ISO dates, and media at signed addresses that live for ten minutes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from recvault.errors import ProtocolError
from recvault.models import JSON, Phase, Recording, Scope, Window
from recvault.providers import values
from recvault.providers.base import Page, Reply, Setting, check_scope, read_list, read_one, read_rows
from recvault.providers.stated import Stated
from recvault.providers.urls import address, bare, fetchable, request, segment, unsigned, with_parameter

if TYPE_CHECKING:
    import httpx

CONTROL = re.compile(r"v\d+:")  # how a call_control_id begins in the OpenAPI's samples; the other ids are UUIDs
ELSEWHERE = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
CHANNELS = {"single": 1, "dual": 2}  # OpenAPI
SESSION, LEG = "filter%5Bcall_session_id%5D=", "filter%5Bcall_leg_id%5D="


@dataclass(frozen=True, slots=True)
class Telnyx:
    """One API key's recordings. Telnyx names no account: the source's configured name stands for it."""

    name: ClassVar[str] = "telnyx"
    provider: ClassVar[str] = "telnyx"
    api: ClassVar[str] = "v2"
    settings: ClassVar[Mapping[str, Setting]] = {"api_key": Setting(secret=True, doc="an API v2 key, KEY…")}
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (("api_key",),)
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")  # OpenAPI: download_urls
    scopes: ClassVar[tuple[str, ...]] = ("account", "call", "conference")
    page_size: ClassVar[int] = 250  # OpenAPI: the most
    # Rows seem to appear at completion (OpenAPI has no other status). Should created_at be the start all the same, then
    # a day's recording is listed a day late: the lookback covers that at the price of one more page.
    default_lookback: ClassVar[timedelta] = timedelta(hours=26)
    offset_pages: ClassVar[bool] = True  # OpenAPI: page[number]
    newest_first: ClassVar[bool] = False  # the order is documented nowhere
    lists_unfinished: ClassVar[bool] = False  # OpenAPI: "completed" is the only status
    media_url_expires: ClassVar[bool] = True
    has_subaccounts: ClassVar[bool] = False

    base_url: str
    account_id: str

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, str]) -> Self:
        return cls((values.get("base_url") or "https://api.telnyx.com").rstrip("/"), name)

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return f"Bearer {values['api_key']}"

    def list_request(self, window: Window, scope: Scope) -> httpx.Request:
        """Both bounds are inclusive (OpenAPI)."""
        check_scope(self, scope)
        pairs: list[tuple[str, str | int]] = []
        if window.since:
            pairs.append(("filter[created_at][gte]", values.second(window.since)))
        if window.until:
            pairs.append(("filter[created_at][lte]", values.second_after(window.until)))
        if scope.kind != "account":
            pairs.append((_filter(scope), scope.id))
        pairs += [("page[number]", 1), ("page[size]", self.page_size)]
        return request("GET", address(self.base_url, "/v2/recordings", pairs), headers={"Accept": "application/json"})

    def parse_page(self, reply: Reply) -> Page:
        page, rows = read_list(reply, "data", "meta")
        recordings, rejected = read_rows(map(_unwrap, rows), self._read, lambda row: values.identifier(row, "id"))
        meta = values.mapping(page.get("meta")) or {}
        said = Stated.of(meta)
        if not rows and not said.total and (leg := _as_leg(reply.request.url)):
            return Page(recordings=(), next=leg)
        _check_number(reply, meta)
        following = _next(reply, meta, bool(rows))
        said.check(reply, len(rows), is_last=following is None, is_told=True, size=self.page_size)
        return Page(recordings=recordings, rejected=rejected, next=following, total=said.total, pages=said.pages)

    def media_requests(self, recording: Recording, media_format: str) -> tuple[httpx.Request, ...]:
        """The signed address that the last list or refresh minted; none where the recording came from storage."""
        url = recording.media_urls.get(media_format)
        return (request("GET", url, headers={"Accept-Encoding": "identity"}),) if url else ()

    def refresh_request(self, recording: Recording) -> httpx.Request:
        """Mints fresh addresses (OpenAPI): ask right before the download."""
        url = address(self.base_url, self._instance(recording))
        return request("GET", url, headers={"Accept": "application/json"})

    def parse_recording(self, reply: Reply) -> Recording:
        return read_one(reply, _unwrap(_unwrap(reply.json())), self._read)

    def delete_request(self, recording: Recording) -> httpx.Request:
        """Answered 200 with the row (OpenAPI); for good."""
        return request("DELETE", address(self.base_url, self._instance(recording)))

    def media_encryption(self, headers: Mapping[str, str]) -> JSON | None:
        return None

    def _instance(self, recording: Recording) -> str:
        return f"/v2/recordings/{segment(recording.recording_id)}"

    def _read(self, row: JSON) -> Recording:
        urls = values.mapping(row.get("download_urls")) or {}
        web = {key: urls[key] for key in self.formats if fetchable(urls.get(key))}
        external = None if web else _external_location(urls)
        phase = _phase(row, web, external)
        millis = values.length(row.get("duration_millis"))
        channels = row.get("channels")
        return Recording(
            provider=self.provider,
            api=self.api,
            account_id=self.account_id,
            recording_id=values.identifier(row, "id"),
            created_at=values.created(row, "created_at", "recording_ended_at", "recording_started_at"),
            status=values.text(row.get("status")),
            phase=phase,
            formats=tuple(web) if phase is not Phase.GONE else (),
            call_id=values.text(row.get("call_control_id")),
            conference_id=values.text(row.get("conference_id")),
            leg_id=values.text(row.get("call_leg_id")),
            session_id=values.text(row.get("call_session_id")),
            started_at=values.moment_or_none(row.get("recording_started_at")),
            ended_at=values.moment_or_none(row.get("recording_ended_at")),
            duration_seconds=None if millis is None else millis / 1000,
            channels=CHANNELS.get(str(channels).lower()) or values.whole(channels),
            recorded_by=values.text(row.get("source")),
            external_location=external,
            raw=_without_signatures(row),
            media_urls=web,
        )


def _filter(scope: Scope) -> str:
    """A call is a session of legs (docs), unless the id is plainly that of call control."""
    if scope.kind == "conference":
        return "filter[conference_id]"
    return "filter[call_control_id]" if CONTROL.match(scope.id) else "filter[call_session_id]"


def _as_leg(url: httpx.URL) -> httpx.URL | None:
    """An id under which no session is known may be that of one leg: ask once more, for the leg."""
    query = url.query.decode("ascii")
    first = url.params.get("page[number]") == "1"
    return url.copy_with(query=query.replace(SESSION, LEG).encode("ascii")) if first and SESSION in query else None


def _next(reply: Reply, meta: JSON, filled: bool) -> httpx.URL | None:
    """Count to total_pages, as the SDK does; where it is not told, to the first empty page."""
    url = reply.request.url
    page = values.whole(url.params.get("page[number]")) or values.whole(meta.get("page_number")) or 1
    pages = values.whole(meta.get("total_pages"))
    more = page < pages if pages else filled
    return with_parameter(url, "page[number]", page + 1) if more else None


def _check_number(reply: Reply, meta: JSON) -> None:
    """ProtocolError for another page than the one that was asked for: its rows would stand for those."""
    url = reply.request.url
    asked, told = values.whole(url.params.get("page[number]")), values.whole(meta.get("page_number"))
    if asked is not None and told is not None and asked != told:
        raise ProtocolError(f"{url.host} was asked for page {asked} of a list, and answered with page {told}")


def _unwrap(row: Any) -> Any:
    """Docs of 2024 show each row under a `data` of its own, the OpenAPI flat: take either."""
    inner = row.get("data") if isinstance(row, dict) else None
    return inner if isinstance(inner, dict) else row


def _external_location(urls: JSON) -> str | None:
    """s3:// and gs:// lie in the customer's own storage (knowledge base)."""
    found = [url for _, url in sorted(urls.items(), reverse=True) if isinstance(url, str) and ELSEWHERE.match(url)]
    return bare(found[0]) if found else None


def _phase(row: JSON, web: Mapping[str, str], external: str | None) -> Phase:
    status = str(row.get("status", "completed")).lower()
    if status in {"absent", "deleted", "failed"}:
        return Phase.GONE
    if status != "completed" or not (web or external):
        return Phase.UNFINISHED
    return Phase.COMPLETE if web else Phase.EXTERNAL


def _without_signatures(row: JSON) -> JSON:
    kept: JSON = unsigned(row)
    if isinstance(urls := kept.get("download_urls"), dict):
        kept["download_urls"] = {key: bare(url) if isinstance(url, str) else url for key, url in urls.items()}
    return kept
