"""Hostile text costs time and memory in proportion to its length, whatever it contains."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

import httpx
import pytest

from recvault.errors import ProtocolError
from recvault.http import classify
from recvault.log.lines import redact_text
from recvault.providers import urls, values
from recvault.providers.base import Reply
from recvault.providers.twilio_legacy import TwilioLegacy

LONG = 100_000  # characters: quadratic time is over half a minute, linear time milliseconds
SECONDS = 15
LEGACY = TwilioLegacy("https://api.example", "AC1")
PIECES = [
    "http://",
    "https://h/?token",
    "token",
    "authorization ",
    "Authorization: ",
    "Basic ",
    "bearer",
    "X-Amz-Signature=",
    "+1",
    "%2B",
    "?",
    "&sig",
    "@",
    "1 ",
    "\x1b[",
    "(",
    " ",
    "\n",
]


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """Interrupt a test that takes too long, even within one regex search."""

    def astray(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"{LONG} characters took {SECONDS} s and more")

    before = signal.signal(signal.SIGALRM, astray)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("piece", PIECES, ids=repr)
def test_rows_are_read_in_line_with_their_length(piece: str) -> None:
    """Reading a URL, date or number as long as a page takes proportional time."""
    text = piece * (LONG // len(piece))
    for value in (text, f"https://h/{text}", f"https://h/?{text}", f"https://h/?{text}=1", f"http://{text}@h/?a=1"):
        assert urls.unsigned({"a": [value]}).keys() == {"a"}
        assert isinstance(urls.fetchable(value), bool)
        assert not urls.host(value)
    assert values.moment_or_none(text) is None
    assert values.whole(text) is None


@pytest.mark.parametrize("piece", PIECES, ids=repr)
def test_lines_are_redacted_in_line_with_their_length(piece: str) -> None:
    """Redacting a long id or status takes proportional time."""
    text = piece * (LONG // len(piece))
    for value in (text, f"http://{text}", f"authorization{text}", f"https://h/?{text}"):
        redact_text(value)


@pytest.mark.parametrize("piece", PIECES, ids=repr)
def test_errors_are_told_in_line_with_their_length(piece: str) -> None:
    """Describing a long error body takes proportional time."""
    text = (piece * 4096)[:4096]
    for body in (text, f'{{"message": "{text}'[:4094] + '"}', f"<Message>{text}"):
        assert len(classify.describe(body.encode())) <= 200


def test_what_is_remembered_is_short() -> None:
    """Cached dates and hosts are limited in length."""
    date = "Mon, 01 Jan 2024 00:00:00 +0000"
    assert values.moment_or_none(date + " " * 100) is None
    assert values.moment_or_none(date) is not None
    assert urls.host("https://h/" + "a" * 100) == "h"
    assert urls.host("https://h/" + "a" * urls.LONGEST) == ""


@pytest.mark.parametrize(
    "body",
    [
        b"<a>" * 100_000 + b"</a>" * 100_000,
        b"<T><Recordings><Recording><x>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</x></Recording></Recordings></T>",
        b"<T><Recordings><Recording " + b"".join(b'a%d="" ' % each for each in range(50_000)) + b"/></Recordings></T>",
        b"<T><Recordings/>" + b"<!--" * 100_000 + b"--></T>",
    ],
    ids=["deep", "a deep field", "wide", "comments"],
)
def test_xml_of_any_shape_is_a_page_or_none(body: bytes) -> None:
    """XML of any depth or width is read or refused without a crash."""
    reply: Any = Reply(httpx.Request("GET", "https://api.example/x"), 200, httpx.Headers(), body)
    try:
        assert LEGACY.parse_page(reply).recordings == ()
    except ProtocolError:
        return


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 100_000, b'{"recordings": [' + b"[" * 900 + b"]" * 900 + b"]}"],
    ids=["deep lists", "deep objects", "a long number", "a deep row"],
)
def test_json_of_any_shape_is_a_page_or_none(body: bytes) -> None:
    """JSON of any depth, with numbers of any length, is read or refused without a crash."""
    reply = Reply(httpx.Request("GET", "https://api.example/x"), 200, httpx.Headers(), body)
    try:
        urls.unsigned(reply.json())
    except ProtocolError:
        return
