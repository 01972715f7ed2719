"""The details of a recording that callers may choose."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from recvault.simulator.recording import Final, Malformed


class Details(TypedDict, total=False):
    """The keywords of `Simulator.add`, and the overrides of `Simulator.populate`. Times are aware."""

    recording_id: str | None
    created_at: datetime | None
    visible_at: datetime | None
    completed_at: datetime | None
    media_ready_at: datetime | None
    deleted_at: datetime | None
    duration_seconds: float
    cut_seconds: float
    lost: bool  # its call is listed, and it never is
    channels: int
    formats: tuple[str, ...] | None
    status_final: Final
    error_code: int | None
    encrypted: bool
    external_location: str | None
    source: str | None
    call_id: str | None
    conference_id: str | None
    room_id: str | None
    malformed: Malformed | None
