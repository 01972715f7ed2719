"""Plivo Voice: JSON pages of 20 by offset, windows of 30 days, and media at complete addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from recvault.models import JSON, Phase, Recording
from recvault.providers import values
from recvault.providers.base import Reply, Setting
from recvault.providers.calendar import EARLIEST
from recvault.providers.rest import TELEPHONY, Bounds, Paging, Rest
from recvault.providers.stated import Stated
from recvault.providers.urls import basic, fetchable, with_parameter

if TYPE_CHECKING:
    import httpx

MILLISECOND = timedelta(milliseconds=1)


def _plain(when: datetime) -> str:
    """YYYY-MM-DD HH:MM:SS in UTC (list docs)."""
    return values.second(when).replace("T", " ").rstrip("Z")


def _plain_after(when: datetime) -> str:
    return values.second_after(when).replace("T", " ").rstrip("Z")


def _moment(millis: Any) -> datetime | None:
    found = values.number(millis)
    return None if found is None else EARLIEST + found * MILLISECOND


def _seconds(millis: Any) -> float | None:
    found = values.length(millis)
    return None if found is None else found / 1000


class Plivo(Rest):
    """One account's recordings. Its docs say nothing of a status: rows are taken to be finished recordings."""

    name = "plivo"
    provider = "plivo"
    api = "v1"
    settings: ClassVar[Mapping[str, Setting]] = {
        "auth_id": Setting(doc="the account's Auth ID, MA…"),
        "auth_token": Setting(secret=True, doc="the account's Auth Token"),
    }
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (("auth_id", "auth_token"),)
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")  # recording docs; each recording has the one of the two
    one_format = True
    bytes_per_second = TELEPHONY  # assumed to be as Twilio's
    page_size = 20  # list docs: the most
    # Whether add_time is the start or the end of a recording is not known: the lookback is for the start.
    default_lookback = timedelta(hours=26)
    offset_pages = True  # list docs: offset
    lists_unfinished = False
    # List docs: of more than 30 days answers 400, and a list without bounds shows the last seven days without a word.
    # A day less, as bounds are rounded outward. A call's list may have the same window, so there is none.
    longest_window = timedelta(days=29)

    home = "https://api.plivo.com"
    public = "plivo.com"
    account_setting = "auth_id"
    root = "/v1/Account/{account}/Recording/"
    lists: ClassVar[Mapping[str, str]] = {"account": ""}
    bounds = Bounds("add_time__gte", "add_time__lt", _plain, _plain_after, earliest=EARLIEST)  # in UTC (list docs)
    paging = Paging(size="limit", within="meta", next="next")
    rows = "objects"
    marks = ("meta",)
    instance = "{recording}/"  # a DELETE deletes it by the SDK; its answer was not seen, so it is not `deletes`

    fields: ClassVar[Mapping[str, Any]] = {
        "recording_id": "recording_id",
        "created_at": "add_time",
        "call_id": "call_uuid",
        "started_at": "recording_start_ms",
        "ended_at": "recording_end_ms",
        "duration_seconds": "recording_duration_ms",
        "recorded_by": "recording_type",
    }
    readers: ClassVar[Mapping[str, Any]] = {"started_at": _moment, "ended_at": _moment, "duration_seconds": _seconds}

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return basic(values["auth_id"], values["auth_token"])

    def following(
        self, reply: Reply, page: JSON, rows: int, paging: Paging, size: int
    ) -> tuple[httpx.URL | None, Stated]:
        """Return this page's address with the offset of the next link.

        In the SDK's sample the link has no parameters but limit and offset. Whether it would repeat the bounds is not
        known; without them it leads to another list.
        """
        url, said = super().following(reply, page, rows, paging, size)
        asked = reply.request.url
        offset = values.whole(url.params.get("offset")) if url is not None else None
        if url is None or offset is None or (url.host, url.path) != (asked.host, asked.path):
            return url, said  # the sender refuses another host
        return with_parameter(asked, "offset", offset), said

    def read(self, row: JSON) -> Recording:
        found, url = super().read(row), row.get("recording_url")
        if not fetchable(url):
            return replace(found, phase=Phase.UNFINISHED)
        if self.base_url.startswith("https://") and str(url).startswith("http://"):  # as in the docs' sample
            url = f"https://{str(url)[7:]}"
        return replace(found, media_urls={found.formats[0]: str(url)})

    def formats_of(self, row: JSON, phase: Phase) -> tuple[str, ...]:
        said = (values.text(row.get("recording_format")) or "").lower()
        return (said,) if said in self.formats else self.formats[1:]
