"""A small object is read with a bound: by the length that its answer tells, and by what comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recvault.errors import TooLarge
from recvault.store.bounds import small

WHERE = "s3://archive/recordings/RE1.json"


def test_what_tells_that_it_is_too_large_is_not_read() -> None:
    """Not one byte of it: where it is, it may be gigabytes."""
    read: list[bytes] = []

    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            read.append(b"{}")
            yield b"{}"

    with pytest.raises(TooLarge, match="101 bytes"):
        small(chunks(), 101, 100, WHERE)
    assert read == []


@pytest.mark.parametrize("told", [None, 4, 100])
def test_what_is_larger_than_it_tells_is_read_no_further_than_the_bound(told: int | None) -> None:
    """An answer that tells no length, or another one, is cut off at once."""
    chunks = iter([b"x" * 60] * 10)
    with pytest.raises(TooLarge, match="120 bytes"):
        small(chunks, told, 100, WHERE)
    assert len(list(chunks)) == 8


def test_what_is_as_large_as_it_may_be_is_read_whole() -> None:
    """The bound itself is allowed."""
    assert small(iter([b"x" * 60, b"y" * 40]), 100, 100, WHERE) == b"x" * 60 + b"y" * 40
