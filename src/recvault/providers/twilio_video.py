"""Twilio Video v1: one recording a track, absolute next links, ISO dates, media behind a signed redirect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from recvault.models import JSON, Phase, Recording, Scope, Window
from recvault.providers import twilio_account, values
from recvault.providers.base import OwnMedia, Page, Reply, Setting, check_scope, read_list, read_one, read_rows
from recvault.providers.stated import Stated, check_echo
from recvault.providers.urls import address, bare, follow, request, segment, unsigned

if TYPE_CHECKING:
    import httpx

PHASES = {"completed": Phase.COMPLETE, "deleted": Phase.GONE, "failed": Phase.GONE}
"""The final statuses (OpenAPI). Any other is read again until it is final."""
KEY_HEADERS = "x-amz-meta-x-amz-"
ENDING = re.compile(r"[a-z0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class TwilioVideo:
    """One account's tracks; the account's own credentials are needed, a parent's do not do (sub-account docs)."""

    name: ClassVar[str] = "twilio-video"
    provider: ClassVar[str] = "twilio"
    api: ClassVar[str] = "video-v1"
    settings: ClassVar[Mapping[str, Setting]] = twilio_account.SETTINGS
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = twilio_account.CREDENTIALS
    formats: ClassVar[tuple[str, ...]] = ("mka", "mkv")  # OpenAPI: container_format
    scopes: ClassVar[tuple[str, ...]] = ("account", "room")
    page_size: ClassVar[int] = 100  # OpenAPI: the most
    default_lookback: ClassVar[timedelta] = timedelta(hours=26)  # as for voice: "DateCreated" is the start (OpenAPI)
    offset_pages: ClassVar[bool] = False  # PageToken: OpenAPI
    newest_first: ClassVar[bool] = False  # the order is documented nowhere
    lists_unfinished: ClassVar[bool] = True
    media_url_expires: ClassVar[bool] = False  # /Media mints a signed address at each request
    has_subaccounts: ClassVar[bool] = False

    base_url: str
    account_id: str

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, str]) -> Self:
        return cls((values.get("base_url") or "https://video.twilio.com").rstrip("/"), values["account_sid"])

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return twilio_account.authorization(values)

    def list_request(self, window: Window, scope: Scope) -> httpx.Request:
        """On or after, and strictly before, in seconds with a zone (OpenAPI)."""
        check_scope(self, scope)
        pairs: list[tuple[str, str | int]] = []
        if window.since:
            pairs.append(("DateCreatedAfter", values.second(window.since)))
        if window.until:
            pairs.append(("DateCreatedBefore", values.second_after(window.until)))
        room = f"/Rooms/{segment(scope.id)}" if scope.kind == "room" else ""
        url = address(self.base_url, f"/v1{room}/Recordings", [*pairs, ("PageSize", self.page_size)])
        return request("GET", url, headers={"Accept": "application/json"})

    def parse_page(self, reply: Reply) -> Page:
        """`meta.next_page_url` is absolute (OpenAPI), and names the public host whichever was asked."""
        page, rows = read_list(reply, "recordings", "meta")
        recordings, rejected = read_rows(rows, self._read, lambda row: values.identifier(row, "sid"))
        meta = values.mapping(page.get("meta")) or {}
        link, said = meta.get("next_page_url"), Stated.of(meta)
        check_echo(reply, meta.get("url"))
        check_echo(reply, link)
        said.check(reply, len(rows), is_last=not link, is_told="next_page_url" in meta, size=self.page_size)
        following = follow(self.base_url, link, twilio_account.PUBLIC)
        return Page(recordings=recordings, rejected=rejected, next=following, total=said.total, pages=said.pages)

    def media_requests(self, recording: Recording, media_format: str) -> tuple[OwnMedia, ...]:
        """Answered with a redirect to signed storage (recordings docs); there is one medium, whatever its format."""
        return (OwnMedia(f"{self.base_url}{self._instance(recording)}/Media"),)

    def refresh_request(self, recording: Recording) -> httpx.Request:
        url = address(self.base_url, self._instance(recording))
        return request("GET", url, headers={"Accept": "application/json"})

    def parse_recording(self, reply: Reply) -> Recording:
        return read_one(reply, reply.json(), self._read)

    def delete_request(self, recording: Recording) -> httpx.Request:
        """Answered 204; the row is kept for 30 days (recordings docs)."""
        return request("DELETE", address(self.base_url, self._instance(recording)))

    def media_encryption(self, headers: Mapping[str, str]) -> JSON | None:
        """The wrapped key, the IV and the plain size stand in storage's headers and nowhere else (encryption docs)."""
        found = {
            name.removeprefix("x-amz-meta-"): value for name, value in headers.items() if name.startswith(KEY_HEADERS)
        }
        return found or None

    def _instance(self, recording: Recording) -> str:
        return f"/v1/Recordings/{segment(recording.recording_id)}"

    def _read(self, row: JSON) -> Recording:
        external = values.text(row.get("media_external_location"))  # the customer's own bucket (external S3 docs)
        phase = PHASES.get(str(row.get("status")).lower(), Phase.UNFINISHED)
        if phase is Phase.COMPLETE and external:
            phase = Phase.EXTERNAL
        grouping = values.mapping(row.get("grouping_sids")) or {}
        return Recording(
            provider=self.provider,
            api=self.api,
            account_id=values.text(row.get("account_sid")) or self.account_id,
            recording_id=values.identifier(row, "sid"),
            created_at=values.moment(row.get("date_created")),
            status=values.text(row.get("status")),
            phase=phase,
            formats=() if phase in {Phase.GONE, Phase.EXTERNAL} else (_format(row),),
            room_id=values.text(grouping.get("room_sid")) or values.text(row.get("room_sid")),
            participant_id=values.text(grouping.get("participant_sid")),
            duration_seconds=values.length(row.get("duration")),
            track=values.text(row.get("track_name")),
            size_bytes=values.whole(row.get("size")),
            codec=values.text(row.get("codec")),
            external_location=bare(external) if external else None,
            raw=unsigned(row),
        )


def _format(row: JSON) -> str:
    """The container, which ends the file's name; where it is missing or no ending, what the kind of track suggests.

    A file that ends in `.json` is a sidecar.
    """
    container = str(row.get("container_format") or "").lower()
    if ENDING.fullmatch(container) and container != "json":
        return container
    return "mka" if row.get("type") == "audio" else "mkv"
