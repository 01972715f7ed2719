"""Twilio Voice, 2010-04-01: JSON pages with relative next links, RFC 2822 dates, WAV and MP3 by extension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from recvault.models import JSON, Phase, Recording, Scope, Window
from recvault.providers import twilio_account, values
from recvault.providers.base import (
    OwnMedia,
    Page,
    Reply,
    Setting,
    Subaccount,
    check_scope,
    read_list,
    read_one,
    read_rows,
)
from recvault.providers.urls import address, bare, host, request, segment, unsigned

if TYPE_CHECKING:
    import httpx

PHASES = {"completed": Phase.COMPLETE, "absent": Phase.GONE, "deleted": Phase.GONE, "failed": Phase.GONE}
"""The final statuses (OpenAPI, recordings docs; failed: callbacks only). Any other is read again until it is final."""
PARENTS = {"call": "/Calls", "conference": "/Conferences"}


@dataclass(frozen=True, slots=True)
class Twilio:
    """One account in one region: recordings, credentials and hosts are regional (Twilio region docs)."""

    name: ClassVar[str] = "twilio"
    provider: ClassVar[str] = "twilio"
    api: ClassVar[str] = "2010-04-01"
    settings: ClassVar[Mapping[str, Setting]] = twilio_account.SETTINGS
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = twilio_account.CREDENTIALS
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")  # recordings docs
    scopes: ClassVar[tuple[str, ...]] = ("account", "call", "conference")
    page_size: ClassVar[int] = 1000  # OpenAPI: the most
    default_lookback: ClassVar[timedelta] = timedelta(hours=26)  # TwiML docs: a recording may last 24 hours
    offset_pages: ClassVar[bool] = False  # PageToken names the last row: SDK fixtures
    newest_first: ClassVar[bool] = False  # seen so, documented nowhere
    lists_unfinished: ClassVar[bool] = True
    media_url_expires: ClassVar[bool] = False
    has_subaccounts: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("2010-04-01", "2008-08-01")  # the same recordings, under the same ids

    base_url: str
    account_id: str

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, str]) -> Self:
        return cls((values.get("base_url") or "https://api.twilio.com").rstrip("/"), values["account_sid"])

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return twilio_account.authorization(values)

    def list_request(self, window: Window, scope: Scope) -> httpx.Request:
        """Both bounds are inclusive; a call's and a conference's list take bare dates, the account's seconds (OpenAPI).

        The name ends in the comparison, `DateCreated>`; an unknown name is ignored and all history comes back.
        """
        check_scope(self, scope)
        parent = "" if scope.kind == "account" else f"{PARENTS[scope.kind]}/{segment(scope.id)}"
        floor, ceiling = (values.second, values.second_after) if not parent else (values.day, values.day_after)
        pairs: list[tuple[str, str | int]] = []
        if window.since:
            pairs.append(("DateCreated>", floor(window.since)))
        if window.until:
            pairs.append(("DateCreated<", ceiling(window.until)))
        path = f"{self._account(self.account_id)}{parent}/Recordings.json"
        url = address(self.base_url, path, [*pairs, ("PageSize", self.page_size)])
        return request("GET", url, headers={"Accept": "application/json"})

    def parse_page(self, reply: Reply) -> Page:
        """`next_page_uri` is relative to the host and holds the filters, percent-encoded (OpenAPI, SDK fixtures)."""
        page, rows = read_list(reply, "recordings", "page_size")
        recordings, rejected = read_rows(rows, self._read, lambda row: values.identifier(row, "sid"))
        following, said = twilio_account.following(self.base_url, reply, page, len(rows), self.page_size)
        return Page(recordings=recordings, rejected=rejected, next=following, total=said.total, pages=said.pages)

    def media_requests(self, recording: Recording, media_format: str) -> tuple[OwnMedia, ...]:
        """Conference media are mono unless two channels are asked for; of a mono one that is a 400 (media docs)."""
        if media_format not in self.formats:
            return ()
        plain = OwnMedia(f"{self.base_url}{self._instance(recording)}.{media_format}")
        both = OwnMedia(f"{plain.text}?RequestedChannels=2", channels=2)
        return (both, plain) if recording.channels == 2 else (plain,)

    def refresh_request(self, recording: Recording) -> httpx.Request:
        """Without `.json` the instance is WAV audio (recordings docs)."""
        url = address(self.base_url, f"{self._instance(recording)}.json")
        return request("GET", url, headers={"Accept": "application/json"})

    def parse_recording(self, reply: Reply) -> Recording:
        return read_one(reply, reply.json(), self._read)

    def delete_request(self, recording: Recording) -> httpx.Request:
        """Answered 204; the row is kept for 40 days, the media are gone at once (recordings docs)."""
        return request("DELETE", address(self.base_url, f"{self._instance(recording)}.json"))

    def media_encryption(self, headers: Mapping[str, str]) -> JSON | None:
        """Voice keys travel in the row (OpenAPI: encryption_details), never in the media's headers."""
        return None

    def accounts_request(self) -> httpx.Request:
        return twilio_account.accounts_request(self.base_url)

    def parse_accounts(self, reply: Reply) -> tuple[tuple[Subaccount, ...], httpx.URL | None]:
        return twilio_account.parse_accounts(self.base_url, reply)

    def _account(self, account_id: str) -> str:
        return f"/2010-04-01/Accounts/{segment(account_id)}"

    def _instance(self, recording: Recording) -> str:
        # Built from the sid: in rows `uri` may name the list (SDK fixtures), and media_url may be plain http.
        return f"{self._account(recording.account_id)}/Recordings/{segment(recording.recording_id)}"

    def _read(self, row: JSON) -> Recording:
        external = self._external_location(row)
        phase = _phase(row)
        encryption = values.mapping(row.get("encryption_details"))
        return Recording(
            provider=self.provider,
            api=self.api,
            account_id=values.text(row.get("account_sid")) or self.account_id,
            recording_id=values.identifier(row, "sid"),
            created_at=values.created(row, "date_created", "start_time"),
            status=values.text(row.get("status")),
            phase=phase,
            formats=_formats(phase, encryption),
            call_id=values.text(row.get("call_sid")),
            conference_id=values.text(row.get("conference_sid")),
            started_at=values.moment_or_none(row.get("start_time")),
            duration_seconds=values.length(row.get("duration")),
            channels=values.whole(row.get("channels")),
            recorded_by=values.text(row.get("source")),
            track=values.text(row.get("track")),
            price=values.number(row.get("price")),
            price_unit=values.text(row.get("price_unit")),
            external_location=external,
            encryption=encryption,
            raw=unsigned(row),
        )

    def _external_location(self, row: JSON) -> str | None:
        """media_url is the whole address where the customer's own storage is used (recordings docs).

        Or where a gateway writes its own name there: the media are asked for all the same, and a 404 tells.
        """
        url = values.text(row.get("media_url")) or ""
        where = host(url)
        ours = not where or where == host(self.base_url) or f".{where}".endswith(".twilio.com")
        return None if ours else bare(url)


def _phase(row: JSON) -> Phase:
    if "status" not in row:
        return Phase.COMPLETE  # rows had no status in 2011 (SDK's captured reply): like 2008, the media must tell
    return PHASES.get(str(row["status"]).lower(), Phase.UNFINISHED)


def _formats(phase: Phase, encryption: JSON | None) -> tuple[str, ...]:
    if phase is Phase.GONE:
        return ()
    return ("wav",) if encryption else Twilio.formats  # an encrypted MP3 is error 16109 (Twilio error docs)
