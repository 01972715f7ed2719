"""Toy: a whole provider, as a plug-in brings it, to be copied and changed. `toy_service` is the server to test it with.

Its service tells the time in milliseconds and has WAV alone. A plug-in's own pyproject.toml names such a class in the
entry-point group `recvault.providers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

import httpx

from recvault.models import JSON, Phase, Recording, Scope, Window
from recvault.providers import values
from recvault.providers.base import Page, Reply, Setting, check_scope, read_list, read_one, read_rows
from recvault.providers.urls import address, follow, segment, unsigned

PHASES = {"ready": Phase.COMPLETE, "none": Phase.GONE}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Toy:
    """One shelf of one toy box."""

    name: ClassVar[str] = "toy"
    provider: ClassVar[str] = "toy"
    api: ClassVar[str] = "v1"
    settings: ClassVar[Mapping[str, Setting]] = {
        "shelf": Setting(doc="the shelf's name"),
        "token": Setting(secret=True, doc="what opens it"),
    }
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (("shelf", "token"),)
    formats: ClassVar[tuple[str, ...]] = ("wav",)
    scopes: ClassVar[tuple[str, ...]] = ("account",)
    page_size: ClassVar[int] = 100
    default_lookback: ClassVar[timedelta] = timedelta(hours=1)
    offset_pages: ClassVar[bool] = False
    newest_first: ClassVar[bool] = False
    lists_unfinished: ClassVar[bool] = True
    media_url_expires: ClassVar[bool] = False
    has_subaccounts: ClassVar[bool] = False

    base_url: str
    account_id: str

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, str]) -> Self:
        return cls((values.get("base_url") or "https://toy.example").rstrip("/"), values["shelf"])

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return f"Toy {values['token']}"

    def list_request(self, window: Window, scope: Scope) -> httpx.Request:
        check_scope(self, scope)
        pairs: list[tuple[str, str | int]] = [("most", self.page_size)]
        if window.since:
            pairs.append(("from", (window.since - EPOCH) // MILLISECOND))
        if window.until:
            pairs.append(("before", -((EPOCH - window.until) // MILLISECOND)))
        return httpx.Request("GET", address(self.base_url, self._shelf(self.account_id), pairs))

    def parse_page(self, reply: Reply) -> Page:
        page, rows = read_list(reply, "sounds")
        recordings, rejected = read_rows(rows, self._read, lambda row: values.identifier(row, "id"))
        return Page(recordings=recordings, rejected=rejected, next=follow(self.base_url, page.get("more")))

    def media_requests(self, recording: Recording, media_format: str) -> tuple[httpx.Request, ...]:
        if media_format not in self.formats:
            return ()
        return (httpx.Request("GET", address(self.base_url, f"{self._sound(recording)}/wav")),)

    def refresh_request(self, recording: Recording) -> httpx.Request:
        return httpx.Request("GET", address(self.base_url, self._sound(recording)))

    def parse_recording(self, reply: Reply) -> Recording:
        return read_one(reply, reply.json(), self._read)

    def delete_request(self, recording: Recording) -> httpx.Request:
        return httpx.Request("DELETE", address(self.base_url, self._sound(recording)))

    def media_encryption(self, headers: Mapping[str, str]) -> JSON | None:
        return None

    def _shelf(self, account_id: str) -> str:
        return f"/v1/{segment(account_id)}"

    def _sound(self, recording: Recording) -> str:
        return f"{self._shelf(recording.account_id)}/{segment(recording.recording_id)}"

    def _read(self, row: Any) -> Recording:
        phase = PHASES.get(str(row.get("state")), Phase.UNFINISHED)
        return Recording(
            provider=self.provider,
            api=self.api,
            account_id=self.account_id,
            recording_id=values.identifier(row, "id"),
            created_at=EPOCH + row["made"] * MILLISECOND,
            status=values.text(row.get("state")),
            phase=phase,
            formats=self.formats if phase is not Phase.GONE else (),
            duration_seconds=values.number(row.get("seconds")),
            raw=unsigned(row),
        )
