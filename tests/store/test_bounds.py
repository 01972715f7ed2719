"""Bodies from a bucket are limited, by their announced length and by what arrives."""

from __future__ import annotations

import pytest

from recvault.errors import TooLarge
from recvault.store.s3.bounds import MOST_ANSWER, MOST_ERROR, Answer, AnswerTooLarge, Small
from recvault.transport import Head

WHERE = "s3://archive/recordings/RE1.json"


def test_what_tells_that_it_is_too_large_is_not_read() -> None:
    """A body announced as too large is refused before its first byte."""
    small = Small(100, WHERE)
    with pytest.raises(TooLarge, match="101 bytes"):
        small.begin(101)
    assert small.content == b""


@pytest.mark.parametrize("told", [None, 4, 100])
def test_what_is_larger_than_it_tells_is_read_no_further_than_the_bound(told: int | None) -> None:
    """A body larger than announced is cut off at the limit."""
    small = Small(100, WHERE)
    small.begin(told)
    small.write(b"x" * 60)
    with pytest.raises(TooLarge, match="120 bytes"):
        small.write(b"x" * 60)


def test_what_is_as_large_as_it_may_be_is_read_whole() -> None:
    """A body of exactly the limit is accepted; a new start replaces earlier bytes."""
    small = Small(100, WHERE)
    for _ in range(2):
        small.begin(100)
        small.write(b"x" * 60)
        small.write(memoryview(b"y" * 40))
    assert small.content == b"x" * 60 + b"y" * 40


@pytest.mark.parametrize(("status", "most"), [(200, MOST_ANSWER), (403, MOST_ERROR)])
def test_any_other_answer_has_a_bound_of_its_own(status: int, most: int) -> None:
    """Listings and errors have limits of their own."""
    answer = Answer()
    answer.begin(Head(status, ()))
    answer.write(bytes(most))
    with pytest.raises(AnswerTooLarge):
        answer.write(b"x")


def test_an_error_is_no_objects_body() -> None:
    """An error's body is kept for its message, not written as the object's."""
    small = Small(100, WHERE)
    answer = Answer(small)
    answer.begin(Head(403, (("content-length", "7"),)))
    answer.write(b"<Error>")
    assert (bytes(answer.content), small.content) == (b"<Error>", b"")
