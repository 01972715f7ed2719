"""A simulated recording over time, from its first listing to its deletion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

Api = Literal["voice", "video", "telnyx", "signalwire", "plivo", "bandwidth", "ringcentral"]
Final = Literal["completed", "absent", "failed"]
NEVER = datetime.max.replace(tzinfo=UTC)
Malformed = Literal["no_date", "bad_date"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimRecording:
    """One recording and the times at which it changes. All times are aware UTC."""

    api: Api
    account_id: str
    recording_id: str
    created_at: datetime  # as in the row
    started_at: datetime
    ended_at: datetime
    completed_at: datetime  # its status is final from then on
    visible_at: datetime  # lists show it from then on
    media_ready_at: datetime  # media are served from then on
    deleted_at: datetime | None = None
    duration_seconds: float = 1.0
    cut_seconds: float = 0.0  # by which its call goes on after it
    channels: int = 1
    formats: tuple[str, ...] = ("wav", "mp3")
    status_final: Final = "completed"
    error_code: int | None = None
    encrypted: bool = False
    external_location: str | None = None
    source: str = ""
    call_id: str | None = None
    conference_id: str | None = None
    room_id: str | None = None
    participant_id: str | None = None
    track_id: str | None = None
    malformed: Malformed | None = None  # its row is never readable

    @property
    def default_channels(self) -> int:
        """What Twilio serves without RequestedChannels: conferences are mono."""
        return 1 if self.api == "voice" and self.conference_id else self.channels

    def deleted(self, now: datetime) -> bool:
        return self.deleted_at is not None and self.deleted_at <= now

    def final(self, now: datetime) -> bool:
        return self.completed_at <= now

    def listed(self, now: datetime) -> bool:
        return self.visible_at <= now and not self.deleted(now)

    def fetchable(self, now: datetime) -> bool:
        """Whether the service itself serves its media."""
        return (
            self.final(now)
            and self.media_ready_at <= now
            and self.status_final == "completed"
            and self.external_location is None
            and not self.deleted(now)
        )

    def status(self, now: datetime) -> str:
        """Return its status in Twilio's words."""
        if self.deleted(now):
            return "deleted"
        if self.final(now):
            return self.status_final
        return "in-progress" if now < self.ended_at else "processing"

    def updated_at(self, now: datetime) -> datetime:
        changes = (self.created_at, max(self.created_at, self.completed_at), self.deleted_at)
        return max(change for change in changes if change is not None and (change <= now or change is self.created_at))

    def changes(self, retention: timedelta) -> tuple[datetime, ...]:
        """Return the times at which a list may begin or cease to show it."""
        if self.deleted_at is None:
            return (self.visible_at,)
        return (self.visible_at, self.deleted_at, self.deleted_at + retention)
