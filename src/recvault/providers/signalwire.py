"""SignalWire's compatibility API (LaML): Twilio's shapes under /api/laml, UUIDs for ids, looser types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from recvault.errors import ConfigError
from recvault.models import JSON, Phase, Recording, Scope, Window
from recvault.providers import values
from recvault.providers.base import OwnMedia, Page, Reply, Setting, check_scope, read_list, read_one, read_rows
from recvault.providers.stated import Stated, check_echo
from recvault.providers.urls import address, basic, follow, request, segment, unsigned

if TYPE_CHECKING:
    import httpx

PHASES = {"completed": Phase.COMPLETE, "absent": Phase.GONE, "deleted": Phase.GONE, "failed": Phase.GONE}
"""The final statuses (docs: completed, absent; the others in case). Any other is read again until it is final."""
PUBLIC = "signalwire.com"
SPACE = re.compile(r"([a-z0-9][a-z0-9-]*)(\.signalwire\.com)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SignalWire:
    """One project of one space."""

    name: ClassVar[str] = "signalwire"
    provider: ClassVar[str] = "signalwire"
    api: ClassVar[str] = "laml"
    settings: ClassVar[Mapping[str, Setting]] = {
        "space": Setting(doc='the space: "acme" or "acme.signalwire.com"; base_url goes before it'),
        "project_id": Setting(doc="the project's id, a UUID"),
        "api_token": Setting(secret=True, doc="an API token with the Voice scope"),
    }
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (("project_id", "api_token"),)
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")  # docs
    scopes: ClassVar[tuple[str, ...]] = ("account", "call", "conference")
    page_size: ClassVar[int] = 1000  # docs: the most
    default_lookback: ClassVar[timedelta] = timedelta(hours=26)  # date_created may be the start: docs' samples
    offset_pages: ClassVar[bool] = False  # docs: PageToken
    newest_first: ClassVar[bool] = True  # docs
    lists_unfinished: ClassVar[bool] = True
    media_url_expires: ClassVar[bool] = False
    has_subaccounts: ClassVar[bool] = False

    base_url: str
    account_id: str

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, str]) -> Self:
        return cls((values.get("base_url") or _home(name, values.get("space", ""))).rstrip("/"), values["project_id"])

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return basic(values["project_id"], values["api_token"])

    def list_request(self, window: Window, scope: Scope) -> httpx.Request:
        """The docs contradict themselves on the format and on "after" or "from": send days, one more at either end.

        A call has no list of its own (docs): it filters the account's.
        """
        check_scope(self, scope)
        pairs: list[tuple[str, str | int]] = []
        if window.since:
            pairs.append(("DateCreated>", values.day(window.since, -1)))
        if window.until:
            pairs.append(("DateCreated<", values.day(window.until, 1)))
        if scope.kind == "call":
            pairs.append(("CallSid", scope.id))
        parent = f"/Conferences/{segment(scope.id)}" if scope.kind == "conference" else ""
        path = f"{self._account(self.account_id)}{parent}/Recordings.json"
        url = address(self.base_url, path, [*pairs, ("PageSize", self.page_size)])
        return request("GET", url, headers={"Accept": "application/json"})

    def parse_page(self, reply: Reply) -> Page:
        """An empty page may have a next link (SDK): only its absence is the end."""
        page, rows = read_list(reply, "recordings", "page_size")
        recordings, rejected = read_rows(rows, self._read, lambda row: values.identifier(row, "sid"))
        link, said = page.get("next_page_uri"), Stated.of(page, page.get("last_page_uri"))
        check_echo(reply, page.get("uri"))
        check_echo(reply, link)
        said.check(reply, len(rows), is_last=not link, is_told="next_page_uri" in page, size=self.page_size)
        following = follow(self.base_url, _prefixed(link), PUBLIC)
        return Page(recordings=recordings, rejected=rejected, next=following, total=said.total, pages=said.pages)

    def media_requests(self, recording: Recording, media_format: str) -> tuple[OwnMedia, ...]:
        if media_format not in self.formats:
            return ()
        return (OwnMedia(f"{self.base_url}{self._instance(recording)}.{media_format}"),)

    def refresh_request(self, recording: Recording) -> httpx.Request:
        """Without `.json` the instance is audio (docs)."""
        url = address(self.base_url, f"{self._instance(recording)}.json")
        return request("GET", url, headers={"Accept": "application/json"})

    def parse_recording(self, reply: Reply) -> Recording:
        return read_one(reply, reply.json(), self._read)

    def delete_request(self, recording: Recording) -> httpx.Request:
        """Answered 204 (docs)."""
        return request("DELETE", address(self.base_url, f"{self._instance(recording)}.json"))

    def media_encryption(self, headers: Mapping[str, str]) -> JSON | None:
        return None

    def _account(self, account_id: str) -> str:
        return f"/api/laml/2010-04-01/Accounts/{segment(account_id)}"

    def _instance(self, recording: Recording) -> str:
        # Built from the sid: in the docs' own sample `uri` names another call than call_sid does.
        return f"{self._account(recording.account_id)}/Recordings/{segment(recording.recording_id)}"

    def _read(self, row: JSON) -> Recording:
        phase = PHASES.get(str(row.get("status")).lower(), Phase.UNFINISHED)
        return Recording(
            provider=self.provider,
            api=self.api,
            account_id=values.text(row.get("account_sid")) or self.account_id,
            recording_id=values.identifier(row, "sid"),
            created_at=values.created(row, "date_created", "start_time"),
            status=values.text(row.get("status")),
            phase=phase,
            formats=() if phase is Phase.GONE else self.formats,
            call_id=values.text(row.get("call_sid")),
            conference_id=values.text(row.get("conference_sid")),
            started_at=values.moment_or_none(row.get("start_time")),
            ended_at=values.moment_or_none(row.get("end_time")),
            duration_seconds=values.length(row.get("duration")),
            channels=values.whole(row.get("channels")) or values.whole(row.get("channel")),
            recorded_by=values.text(row.get("source")),
            track=values.text(row.get("track")),
            price=values.number(row.get("price")),
            price_unit=values.text(row.get("price_unit")),
            encryption=values.mapping(row.get("encryption_details")),
            raw=unsigned(row),
        )


def _home(name: str, space: str) -> str:
    found = SPACE.fullmatch(space)
    if found is None:
        raise ConfigError(f"source {name!r}: {space!r} is no SignalWire space", 'give space = "acme", or base_url')
    return f"https://{found[1].lower()}.signalwire.com"


def _prefixed(link: Any) -> Any:
    """Replies of 2018 leave /api/laml out of their links (SDK's captured reply); today's have it (docs)."""
    return f"/api/laml{link}" if isinstance(link, str) and link.startswith("/2010-04-01/") else link
