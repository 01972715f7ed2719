"""Bandwidth Voice v2: lists of at most 1,000 rows without further pages, and media below each call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from recvault.models import JSON, Phase, Recording
from recvault.providers import values
from recvault.providers.base import Setting
from recvault.providers.calendar import EARLIEST
from recvault.providers.rest import TELEPHONY, Bounds, Paging, Rest
from recvault.providers.urls import basic

LENGTH = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")  # ISO 8601: PT13.67S (docs)
UNITS = (86_400, 3_600, 60, 1)  # seconds


def _seconds(length: Any) -> float | None:
    found = LENGTH.fullmatch(length)
    told = [float(part) * unit for part, unit in zip(found.groups(), UNITS, strict=True) if part] if found else []
    return sum(told) if told else None


class Bandwidth(Rest):
    """One account's recordings. Bandwidth deletes them after 30 days (docs)."""

    name = "bandwidth"
    provider = "bandwidth"
    api = "v2"
    settings: ClassVar[Mapping[str, Setting]] = {
        "account_id": Setting(doc="the account's id"),
        "username": Setting(doc="the name of an API user"),
        "password": Setting(secret=True, doc="that user's password"),
    }
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (("account_id", "username", "password"),)
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")  # docs: fileFormat; each recording has the one of the two
    one_format = True
    bytes_per_second = TELEPHONY  # assumed to be as Twilio's
    scopes: ClassVar[tuple[str, ...]] = ("account", "call")
    page_size = 1000  # docs: the most of a list
    capped_list = True
    default_lookback = timedelta(hours=26)  # startTime is the start (docs); how long a recording may last is not known
    deletes = True  # SDK docs: a DELETE is answered 204, and the media are unreadable from then on

    home = "https://voice.bandwidth.com"
    account_setting = "account_id"
    root = "/api/v2/accounts/{account}"
    lists: ClassVar[Mapping[str, str]] = {"account": "/recordings", "call": "/calls/{scope}/recordings"}
    bounds = Bounds("minStartTime", "maxStartTime", earliest=EARLIEST)  # inclusive, exclusive (docs)
    paging = Paging()
    rows = ""
    instance = "/calls/{call}/recordings/{recording}"  # there is no address without the call (docs)
    # Built from the ids: mediaUrl is null until the recording is done, and an address in a row proves nothing.
    media = "/calls/{call}/recordings/{recording}/media"

    fields: ClassVar[Mapping[str, Any]] = {
        "account_id": "accountId",
        "recording_id": "recordingId",
        "created_at": "startTime",
        "status": "status",
        "call_id": "callId",
        "conference_id": "conferenceId",
        "started_at": "startTime",
        "ended_at": "endTime",
        "duration_seconds": "duration",
        "channels": "channels",
        "recorded_by": "direction",
    }
    readers: ClassVar[Mapping[str, Any]] = {"duration_seconds": _seconds}
    # Webhook docs: of a partial recording a part was lost, what there is can be fetched.
    phases: ClassVar[Mapping[str, Phase]] = {
        "complete": Phase.COMPLETE,
        "partial": Phase.COMPLETE,
        "deleted": Phase.GONE,
        "error": Phase.GONE,
    }

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return basic(values["username"], values["password"])

    def read(self, row: JSON) -> Recording:
        found = super().read(row)
        if found.call_id is None:
            raise ValueError("no callId, without which the media cannot be fetched")
        if found.phase is Phase.COMPLETE and not values.text(row.get("mediaUrl")):
            return replace(found, phase=Phase.UNFINISHED)  # SDK docs: only present if it may be downloaded
        return found

    def formats_of(self, row: JSON, phase: Phase) -> tuple[str, ...]:
        said = (values.text(row.get("fileFormat")) or "").lower()
        return super().formats_of(row, phase) and ((said,) if said in self.formats else self.formats[:1])
