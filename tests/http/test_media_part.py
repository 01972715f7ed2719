"""A part of media: the bytes that were asked for, or what is known of all of them if Range is ignored."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from recvault.errors import ProtocolError, Refused, Unavailable
from recvault.providers.base import OwnMedia
from recvault.testing import Answer

BODY = bytes(range(256)) * 4


def part(start: int, size: int, whole: int = len(BODY)) -> Answer:
    told = ("Content-Range", f"bytes {start}-{start + size - 1}/{whole}")
    return Answer(status=206, body=BODY[start : start + size], headers=(told,))


def test_a_part_is_asked_for_with_the_credentials_of_the_account(wired: Any) -> None:
    """The range and our credentials are sent to the provider, and the part and the whole size come back."""
    home = wired.front(part(100, 20))
    found = wired.session(home.origin).part(OwnMedia(f"{home.origin}/RE1.wav"), 100, 20)
    assert (found.content, found.whole, found.sent) == (BODY[100:120], len(BODY), 20)
    [seen] = home.seen
    assert (seen.headers["range"], seen.headers["authorization"]) == ("bytes=100-119", wired.authorization)


def test_a_redirect_keeps_the_range_and_not_the_credentials(wired: Any) -> None:
    """Media elsewhere are asked for the same part, without our credentials."""
    media = wired.front(part(0, 8))
    home = wired.front(Answer(status=307, headers=(("Location", f"{media.origin}/signed"),)))
    found = wired.session(home.origin, hosts=(media.host,)).part(OwnMedia(f"{home.origin}/RE1.wav"), 0, 8)
    assert found.content == BODY[:8]
    [seen] = media.seen
    assert seen.headers["range"] == "bytes=0-7"
    assert "authorization" not in seen.headers


def test_an_ignored_range_gives_the_hash_of_all(wired: Any) -> None:
    """A 200 is the whole: it is hashed, not kept."""
    home = wired.front(Answer(body=BODY))
    found = wired.session(home.origin).part(httpx.Request("GET", f"{home.origin}/RE1.wav"), 5, 5)
    assert (found.content, found.whole, found.sent) == (None, len(BODY), len(BODY))
    assert found.sha256 == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize(
    "told", ["bytes 0-19/1024", "bytes 100-140/1024", "bytes 90-119/1024", "bytes */1024", "100-119"]
)
def test_another_part_is_an_error(wired: Any, told: str) -> None:
    """A part that was not asked for is not compared with anything."""
    home = wired.front(Answer(status=206, body=BODY[100:120], headers=(("Content-Range", told),)))
    with pytest.raises(ProtocolError, match="another part"):
        wired.session(home.origin).part(OwnMedia(f"{home.origin}/RE1.wav"), 100, 20)


def test_a_part_that_nobody_asked_for_is_no_medium(wired: Any) -> None:
    """A download is not satisfied by a 206, as before."""
    home = wired.front(part(0, 20))
    with pytest.raises(Unavailable, match="206"):
        wired.session(home.origin).download(OwnMedia(f"{home.origin}/RE1.wav"), lambda head: pytest.fail("no sink"))


def test_a_range_beyond_the_end_is_refused(wired: Any) -> None:
    """A 416 is a refusal."""
    home = wired.front(Answer(status=416))
    with pytest.raises(Refused):
        wired.session(home.origin).part(OwnMedia(f"{home.origin}/RE1.wav"), 5000, 20)
