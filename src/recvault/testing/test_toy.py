# ruff: noqa: S101 - this is a test
"""The toy's test, to copy: the contract of every provider, and a reply from the service's documents."""

from __future__ import annotations

from recvault.testing import Provider, ProviderContract, Service, reply_to
from recvault.testing.toy import Toy
from recvault.testing.toy_service import SHELF, ToyBox

SAMPLE = {"sounds": [{"id": "s1", "made": 1717171717000, "state": "ready", "seconds": 2.5}], "more": None}


class TestToy(ProviderContract):
    def service(self) -> Service:
        return ToyBox()

    def provider(self, base_url: str) -> Provider:
        return Toy(base_url, SHELF)


def test_the_documented_page_is_read() -> None:
    """The sample page of the service's documents yields its one recording."""
    toy = Toy("https://toy.example", SHELF)
    page = toy.parse_page(reply_to(toy, SAMPLE))
    (recording,) = page.recordings
    assert (recording.recording_id, recording.duration_seconds, page.next) == ("s1", 2.5, None)
