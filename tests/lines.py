"""A provider and a session that answer what a test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx

from recvault.http import MediaHead, RequestCount
from recvault.models import Phase, Recording
from recvault.providers.base import Page, Reply
from recvault.transfer.fetch import Line

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
URL = "https://provider.example/RE1.wav"


def a_recording(number: int = 1, **values: Any) -> Recording:
    """A complete recording of one second."""
    standing = Recording(
        provider="twilio",
        api="2010-04-01",
        account_id="AC1",
        recording_id=f"RE{number}",
        created_at=NOW,
        status="completed",
        phase=Phase.COMPLETE,
        formats=("wav",),
        duration_seconds=1.0,
    )
    return replace(standing, **values)


def wav(seconds: float = 1.0, fill: bytes = b"\x01\x02", told: float | None = None) -> bytes:
    """Make 8 kHz, 16 bit, mono; `told` is the length in its header, if different."""
    body = fill * round(8000 * seconds)
    size = len(body) if told is None else round(16000 * told)
    header = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = b"\x01\x00\x01\x00" + (8000).to_bytes(4, "little") + (16000).to_bytes(4, "little") + b"\x02\x00\x10\x00"
    return header + form + b"data" + size.to_bytes(4, "little") + body


@dataclass
class FakeProvider:
    """A provider with one page of recordings; the test sets the reply to a refresh."""

    listed: list[Recording] = field(default_factory=list)
    refreshed: Callable[[Recording], Recording] = lambda recording: recording
    provider: str = "twilio"
    account_id: str = "AC1"
    formats: tuple[str, ...] = ("wav", "mp3")
    media_url_lifetime: timedelta | None = None
    bytes_per_second: dict[str, tuple[int, int]] = field(default_factory=dict)
    offset_pages: bool = False
    newest_first: bool = False
    _asked: Recording | None = None

    def list_request(self, window: Any, scope: Any) -> httpx.Request:
        return httpx.Request("GET", URL)

    def media_requests(self, recording: Recording, media_format: str) -> tuple[httpx.Request, ...]:
        return (httpx.Request("GET", URL),)

    def refresh_request(self, recording: Recording) -> httpx.Request:
        self._asked = recording
        return httpx.Request("GET", URL)

    def parse_recording(self, reply: Reply) -> Recording:
        assert self._asked is not None
        return self.refreshed(self._asked)

    def media_encryption(self, headers: httpx.Headers) -> None:
        return None


@dataclass
class FakeSession:
    """Serves the test's bodies in turn, the last one repeatedly."""

    bodies: list[bytes] = field(default_factory=lambda: [wav()])
    provider: FakeProvider | None = None
    count: RequestCount = field(default_factory=RequestCount)

    def send(self, request: httpx.Request) -> Reply:
        return Reply(request, 200, httpx.Headers(), b"{}")

    def pages(self, provider: Any, first: httpx.Request) -> Iterator[tuple[Page, Reply]]:
        yield Page(recordings=tuple(provider.listed)), self.send(first)

    def download(self, request: httpx.Request, receive: Any, *, signed: bool = False) -> Any:
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        head = MediaHead(URL, {"content-type": "audio/x-wav"}, len(body))
        sink = receive(head)
        try:
            sink.write(body)
            return sink.finish()
        except BaseException:
            sink.close()
            raise


def a_line(provider: FakeProvider | None = None, session: FakeSession | None = None) -> Line:
    return Line(cast("Any", provider or FakeProvider()), cast("Any", session or FakeSession()), ("wav",))
