"""What comes from a bucket is kept with a bound: by the length that its answer tells, and by what comes."""

from __future__ import annotations

import pytest

from recvault.errors import TooLarge
from recvault.store.s3.bounds import MOST_ANSWER, MOST_ERROR, Answer, AnswerTooLarge, Small
from recvault.transport import Head

WHERE = "s3://archive/recordings/RE1.json"


def test_what_tells_that_it_is_too_large_is_not_read() -> None:
    """It ends before the first byte: where it is, it may be gigabytes."""
    small = Small(100, WHERE)
    with pytest.raises(TooLarge, match="101 bytes"):
        small.begin(101)
    assert small.content == b""


@pytest.mark.parametrize("told", [None, 4, 100])
def test_what_is_larger_than_it_tells_is_read_no_further_than_the_bound(told: int | None) -> None:
    """An answer that tells no length, or another one, is cut off at once."""
    small = Small(100, WHERE)
    small.begin(told)
    small.write(b"x" * 60)
    with pytest.raises(TooLarge, match="120 bytes"):
        small.write(b"x" * 60)


def test_what_is_as_large_as_it_may_be_is_read_whole() -> None:
    """The bound itself is allowed; what is begun again replaces what came of it before."""
    small = Small(100, WHERE)
    for _ in range(2):
        small.begin(100)
        small.write(b"x" * 60)
        small.write(memoryview(b"y" * 40))
    assert small.content == b"x" * 60 + b"y" * 40


@pytest.mark.parametrize(("status", "most"), [(200, MOST_ANSWER), (403, MOST_ERROR)])
def test_any_other_answer_has_a_bound_of_its_own(status: int, most: int) -> None:
    """A page of a listing may be large, an error not."""
    answer = Answer()
    answer.begin(Head(status, ()))
    answer.write(bytes(most))
    with pytest.raises(AnswerTooLarge):
        answer.write(b"x")


def test_an_error_is_no_objects_body() -> None:
    """It is kept for whoever tells it, and does not go where the object was to go."""
    small = Small(100, WHERE)
    answer = Answer(small)
    answer.begin(Head(403, (("content-length", "7"),)))
    answer.write(b"<Error>")
    assert (bytes(answer.content), small.content) == (b"<Error>", b"")
