"""Which recordings are asked for, and whether a row of the catalog's columns is one of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from recvault.catalog.flatten import digits
from recvault.models import JSON, stamp

Moment = datetime | date | str
"""A time: a day begins at midnight in UTC, and a time without zone is in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Recordings created from `since` until before `until`, with this number, of this source or call; None: any."""

    since: datetime | None = None
    until: datetime | None = None
    number: str | None = None  # digits
    source: str | None = None
    recording_id: str | None = None
    call_id: str | None = None

    @classmethod
    def of(
        cls,
        since: Moment | None = None,
        until: Moment | None = None,
        number: str | None = None,
        source: str | None = None,
        recording_id: str | None = None,
        call_id: str | None = None,
    ) -> Selection:
        """Read what a person or a program gives. Raises ValueError with a sentence."""
        wanted = None if number is None else digits(number)
        if wanted == "":
            raise ValueError(f"{number!r} has no digits to find a number by")
        return cls(
            since=moment(since),
            until=moment(until),
            number=wanted,
            source=source,
            recording_id=recording_id,
            call_id=call_id,
        )

    @property
    def first_day(self) -> str | None:
        """The first day on which such a recording may have been created."""
        return None if self.since is None else self.since.date().isoformat()

    @property
    def last_day(self) -> str | None:
        """The last such day."""
        return None if self.until is None else (self.until - timedelta(microseconds=1)).date().isoformat()

    def takes(self, row: JSON) -> bool:
        """Whether a row is selected. Its times are texts of fixed width, which compare as times."""
        created = str(row["created_at"])
        return (
            (self.since is None or created >= stamp(self.since))
            and (self.until is None or created < stamp(self.until))
            and self.source in (None, row["source"])
            and self.recording_id in (None, row["recording_id"])
            and self.call_id in (None, row["call_id"])
            and (self.number is None or self.number in (row["numbers"] or ()))
        )


def moment(given: Moment | None) -> datetime | None:
    """Return a time in UTC. Raises ValueError with a sentence."""
    if given is None:
        return None
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError as error:
            raise ValueError(f"{given!r} is neither a day (2026-10-01) nor an ISO time") from error
    if not isinstance(given, datetime):
        given = datetime.combine(given, time())
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
