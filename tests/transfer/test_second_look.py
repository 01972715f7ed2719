"""Looks at incomplete media: the last one of each format is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from recvault.transfer.second_look import SECOND_LOOK, Looking

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_each_format_keeps_its_own_look() -> None:
    """A look at one format, or its absence, does not change another format's look."""
    first = Looking((), NOW)
    assert not first.confirms("wav", 10, "a")
    assert first.away("mp3") == (1, timedelta(0))
    assert [each.media_format for each in first.seen] == ["wav", "mp3"]
    later = Looking(first.seen, NOW + SECOND_LOOK)
    assert later.away("mp3") == (2, SECOND_LOOK)
    assert later.confirms("wav", 10, "a")
    assert {each.media_format for each in later.seen} == {"wav", "mp3"}


def test_a_format_has_one_look() -> None:
    """Other bytes restart the wait; the same ones do not."""
    looking = Looking((), NOW)
    looking.confirms("wav", 10, "a")
    looking.confirms("wav", 20, "b")
    assert [(each.bytes, each.sha256) for each in looking.seen] == [(20, "b")]
    assert not Looking(looking.seen, NOW + SECOND_LOOK).confirms("wav", 30, "c")
