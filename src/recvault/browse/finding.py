"""Find recordings: what was typed into the search box, as a question to the catalog."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from recvault.browse.holdings import Holdings, month_of

SHOWN = 100
_ROWS = """
    SELECT epoch_us(created_at) AS created_us, source, provider, account_id, recording_id, call_id, from_number,
           to_number, direction, coalesce(media_seconds, duration_seconds) AS seconds, media_bytes, checked, encrypted
    FROM {recordings} WHERE %s ORDER BY created_at DESC, recording_id LIMIT %d
"""
_IDS = ("recording_id", "call_id", "conference_id", "room_id", "participant_id", "leg_id", "session_id")
_DAY, _MONTH = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"\d{4}-\d\d")
_NUMBER = re.compile(r"\+?[\d\s().-]*")
_LEAST_DIGITS = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BINS, _BIN_SECONDS = 144, 600  # of a day's lanes: ten minutes each


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The rows that answer a question, the newest first."""

    words: str  # what was asked, to be shown
    rows: list[dict[str, Any]]
    has_more: bool
    month: str  # which the strip shows
    day: date | None = None  # which the lanes show
    hour: int | None = None


def find(holdings: Holdings, text: str, hour: int | None = None) -> Answered:
    """Answer what was typed: a day, a month, a part of a number, or an ID. Nothing typed: the newest month."""
    months, text = holdings.months(), text.strip()
    if _DAY.fullmatch(text) and (day := _date(text)):
        return _of_day(holdings, day, hour)
    if not text or (_MONTH.fullmatch(text) and _date(f"{text}-01")):
        month = text or months[0]
        rows = holdings.recordings(_ROWS % ("true", SHOWN + 1), [month])
        return _found(f"{_date(month + '-01') or _EPOCH:%B %Y}", rows, month)
    where, values = _where(text)
    rows = holdings.recordings(_ROWS % (where, SHOWN + 1), months, values)
    newest = moment(rows[0]["created_us"]).date() if rows else None
    return _found(f"“{text}”", rows, month_of(newest) if newest else months[0])


def _of_day(holdings: Holdings, day: date, hour: int | None) -> Answered:
    where = "day = ?"
    values: list[Any] = [day]
    if hour is not None:
        where, values = f"{where} AND epoch(created_at)::BIGINT % 86400 // 3600 = ?", [day, hour]
    rows = holdings.recordings(_ROWS % (where, SHOWN + 1), [month_of(day)], values)
    words = f"{day:%A} {day.day} {day:%B %Y}" + ("" if hour is None else f", {hour:02}:00 to {hour + 1:02}:00 UTC")
    return _found(words, rows, month_of(day), day, hour)


def _found(
    words: str, rows: list[dict[str, Any]], month: str, day: date | None = None, hour: int | None = None
) -> Answered:
    more = len(rows) > SHOWN
    return Answered(words=words, rows=rows[:SHOWN], has_more=more, month=month, day=day, hour=hour)


def _where(text: str) -> tuple[str, list[str]]:
    """Return the condition for a part of a number or the beginning of an ID."""
    conditions, values = [f"{name} = ?" for name in _IDS], [text] * len(_IDS)
    conditions.append("starts_with(recording_id, ?)")
    values.append(text)
    digits = re.sub(r"\D", "", text)
    if _NUMBER.fullmatch(text) and len(digits) >= _LEAST_DIGITS:
        conditions.append("contains(array_to_string(numbers, ' '), ?)")
        values.append(digits)
    return " OR ".join(conditions), values


def recordings(holdings: Holdings, name: str) -> list[dict[str, Any]]:
    """Return the recordings of an ID, or of SOURCE:ID, with every column: none, one, or one of each source."""
    select = "SELECT *, epoch_us(created_at) AS created_us, epoch_us(archived_at) AS archived_us FROM {recordings} "
    named, values = "recording_id = ?", [name]
    source, colon, rest = name.partition(":")
    if colon:
        named, values = f"{named} OR (source = ? AND recording_id = ?)", [name, source, rest]
    columns = select.replace("*", "* EXCLUDE (created_at, started_at, ended_at, archived_at)")  # pytz is not there
    return holdings.recordings(f"{columns} WHERE {named} ORDER BY source LIMIT 20", holdings.months(), values)


def days(holdings: Holdings, month: str) -> list[tuple[date, int, float]]:
    """Return each day of a month, how many recordings it has, and their seconds."""
    if (first := _date(f"{month}-01")) is None:
        return []
    select = "SELECT day, sum(recordings)::BIGINT AS count, sum(seconds) AS seconds FROM {days} GROUP BY day"
    known = {row["day"]: row for row in holdings.days(select)}
    all_days = [first + timedelta(days=number) for number in range(31)]
    none: dict[str, Any] = {"count": 0, "seconds": 0.0}
    return [
        (each, (row := known.get(each, none))["count"], row["seconds"] or 0.0)
        for each in all_days
        if each.month == first.month
    ]


def lanes(holdings: Holdings, day: date) -> list[tuple[str, list[int]]]:
    """Return each source of a day with its recordings in every ten minutes."""
    bins = f"epoch(created_at)::BIGINT % 86400 // {_BIN_SECONDS}"
    select = f"SELECT source, {bins} AS bin, count(*) AS count FROM {{recordings}} WHERE day = ? GROUP BY ALL"  # noqa: S608
    found: dict[str, list[int]] = {}
    for row in holdings.recordings(select, [month_of(day)], [day]):
        found.setdefault(row["source"], [0] * BINS)[row["bin"]] = row["count"]
    return sorted(found.items())


def moment(microseconds: int) -> datetime:
    """Return a time of the catalog."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
