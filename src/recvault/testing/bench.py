# ruff: noqa: S101 - these are tests
"""The bench of a contract test: one provider and one service, with observing fronts between them, and a bucket."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from recvault.archive import KeyTemplate
from recvault.errors import NotFound, NotWhole
from recvault.http import AddressRule, Clients, Limits, Session, Timing
from recvault.models import ACCOUNT, Job, Outcome, Phase, Recording, Window
from recvault.providers.base import Page, Provider, capped_list
from recvault.shutdown import Stop
from recvault.simulator.exchange import Request
from recvault.testing.front import Answer, Front, Spoiling, forward, honest
from recvault.testing.memory import MemoryStore
from recvault.transfer.archive_recording import Transfer
from recvault.transfer.fetch import Line
from recvault.transfer.spool import SpoolPlace

TIMING = Timing(tries=1, stall_timeout=5.0)
_FIRST, _LAST, _SHORTEST = datetime(2008, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), timedelta(seconds=1)


class Service(Protocol):
    """A server that answers like the service, with one account, empty at first. The plug-in's author writes it."""

    origins: tuple[str, ...]  # "http://127.0.0.1:8001": the API's, then those of the media hosts
    authorization: str  # the Authorization header of the account

    def add(self, created_at: datetime, *, media_format: str = "", finished: bool = True, readable: bool = True) -> str:
        """Add a recording, in this format if given, and return its id. If not readable, its date is invalid."""

    def finish(self, recording_id: str) -> None:
        """Make an unfinished recording final."""

    def media(self, recording_id: str, media_format: str) -> bytes:
        """Return what a client must receive, byte for byte."""

    def close(self) -> None:
        """Stop the server."""


@dataclass(slots=True)
class Bench:
    """What a test of the contract works with."""

    service: Service
    provider: Provider
    home: Front  # in front of the API
    media_hosts: list[Front]  # in front of the service's media hosts
    elsewhere: Front  # a host that the source allows, but not the service's
    directory: Path
    clients: Clients
    store: MemoryStore = field(default_factory=MemoryStore)
    stop: Stop = field(default_factory=Stop)

    def session(self) -> Session:
        """Return a new session: no circuit is open, and no earlier response delays the account."""
        base_url, authorization = self.provider.base_url, self.service.authorization
        limits = Limits(100_000, 32)
        return Session(base_url, authorization, self.clients, limits, self.stop, TIMING)

    def pages(self, window: Window | None = None) -> list[Page]:
        """Return every page of the account's list; of a list with a most of rows, every list that is not full."""
        first = self.provider.list_request(window or Window(), ACCOUNT)
        try:
            return [page for page, _ in self.session().pages(self.provider, first)]
        except NotWhole:
            since, until = (window and window.since) or _FIRST, (window and window.until) or _LAST
            if not capped_list(self.provider) or until - since <= _SHORTEST:
                raise
            middle = (since + (until - since) / 2).replace(microsecond=0)  # so that no row is on both sides
            return self.pages(Window(since, middle)) + self.pages(Window(middle, until))

    def recordings(self, window: Window | None = None) -> list[Recording]:
        """Return every recording of the account's list."""
        return [recording for page in self.pages(window) for recording in page.recordings]

    def refreshed(self, recording: Recording) -> Recording:
        """Read the recording by its id."""
        return self.provider.parse_recording(self.session().send(self.provider.refresh_request(recording)))

    def transfer(self, recording: Recording, media_format: str = "", *, as_listed: bool = False) -> Outcome:
        """Archive a recording into the store as a pass would: as restored from the ledger, or as just listed.

        The ledger stores no signed URLs; a recording as just listed still has those of the list.
        """
        kept = recording if as_listed else Recording.from_json(recording.to_json())
        line = Line(self.provider, self.session(), (media_format,) if media_format else self.provider.formats)
        carry = Transfer(
            store=self.store,
            keys=KeyTemplate(),
            line=lambda source, account_id: line,
            place=SpoolPlace(directory=self.directory, memory=1 << 24, min_free_disk=0),
            clock=lambda: datetime.now(UTC),
        )
        return carry(Job(source="contract", recording=kept, attempt=1, maybe_archived=False))

    def only(self) -> Recording:
        """Return the recording that was added; if its row cannot be read, fail with the reason."""
        pages = self.pages()
        listed = [recording for page in pages for recording in page.recordings]
        reasons = [row.reason for page in pages for row in page.rejected]
        assert len(listed) == 1, f"one was added, {len(listed)} were listed; rows rejected: {reasons or 'none'}"
        return listed[0]

    def check_deletion(self, wanted: str, other: str) -> None:
        """Delete a recording, twice: no list has it, its row is gone, and the other recording stays."""
        recording = next(each for each in self.recordings() if each.recording_id == wanted)
        request = self.provider.delete_request(recording)
        self.session().send(request)
        left = {each.recording_id for each in self.recordings() if each.phase is not Phase.GONE}
        assert left == {other}, f"after {wanted} was deleted, the list has {left}, where it should have {other}"
        with suppress(NotFound):
            phase = self.refreshed(recording).phase
            assert phase is Phase.GONE, f"a deleted recording is read as {phase}: answer 404, or see `phases`"
        with suppress(NotFound):
            self.session().send(request)

    def spoil(self, spoil: Spoiling) -> None:
        """Change the answers of all of the service's hosts from now on."""
        for front in (self.home, *self.media_hosts):
            front.spoil = spoil

    def spoil_media(self, recording_id: str, media_format: str, spoil: Callable[[Answer], Answer]) -> None:
        """Change the answers that contain these media, from any host."""
        media = self.service.media(recording_id, media_format)
        self.spoil(lambda request, answer: spoil(answer) if answer.body == media else answer)

    def end_faults(self) -> None:
        """Stop changing answers."""
        self.spoil(honest)

    @property
    def seen_elsewhere(self) -> list[Request]:
        """Requests to any host except the API's."""
        return [request for front in (*self.media_hosts, self.elsewhere) for request in front.seen]


def lay_out(service: Service, make: Callable[[str], Provider], opened: ExitStack) -> Bench:
    """Put a front before each of the service's origins and build the bench; `opened` closes everything."""
    opened.callback(service.close)
    names: dict[str, str] = {}
    fronts = [Front(forward(origin, names)) for origin in service.origins]
    names |= {origin: front.origin for origin, front in zip(service.origins, fronts, strict=True)}
    elsewhere = Front(lambda request: Answer(status=404))
    for front in (*fronts, elsewhere):
        opened.enter_context(front)
    home, *media_hosts = fronts
    rule = AddressRule.of(home.origin, [front.host for front in (*media_hosts, elsewhere)])
    clients = Clients(rule, TIMING.stall_timeout)
    opened.callback(clients.close)
    directory = Path(opened.enter_context(tempfile.TemporaryDirectory()))
    return Bench(service, make(home.origin), home, media_hosts, elsewhere, directory, clients)
