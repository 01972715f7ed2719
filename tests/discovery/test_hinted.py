"""A hint makes one recording known early, and changes nothing else: no watermark, no attempts, no error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recvault.discovery.hinted import Followed, follow
from recvault.discovery.poll import Listing
from recvault.discovery.source import Source
from recvault.ledger import Ledger
from recvault.models import Failure, Verdict
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import Report
from recvault.providers.hints import Hint
from recvault.simulator import SimAccount, SimRecording, Simulator
from rig import START, Rig


@dataclass
class Woken(Observer):
    """Counts how often the dispatcher was woken."""

    times: list[int] = field(default_factory=list)

    def found(self) -> None:
        self.times.append(1)


@dataclass
class Place:
    """One source of the simulator, at a fixed time."""

    simulator: Simulator
    account: SimAccount
    ledger: Ledger
    source: Source
    listing: Listing
    woken: Woken

    def follow(self, recording_id: str = "", call_id: str = "") -> Followed:
        return follow(self.listing, self.ledger, self.source, Hint(recording_id=recording_id, call_id=call_id))

    def poll(self) -> None:
        assert self.listing.poll(self.source, self.source.account_id) is None

    def row(self, recording: SimRecording) -> dict[str, Any]:
        (row,) = self.ledger.ask.find(recording.recording_id)
        return row

    @property
    def watermark(self) -> Any:
        return self.ledger.watermark(self.source.feed(self.source.account_id))


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def placed(opened: ExitStack, tmp_path: Path, simulator: Simulator, kind: Any = "twilio", **options: Any) -> Place:
    simulator.set_now(START)
    rig = Rig(root=tmp_path, simulator=simulator, s3_url="http://127.0.0.1:9", bucket="none")
    account = simulator.add_account(kind)
    rig.add_source("main", kind, account, **options)
    runtime = opened.enter_context(rig.runtime(lambda: simulator.now))
    woken = Woken()
    report = Report(command="run", started_at=START)
    listing = Listing(ledger=runtime.ledger, clock=lambda: simulator.now, report=report, observer=woken)
    return Place(simulator, account, runtime.ledger, runtime.listed("main"), listing, woken)


@pytest.fixture
def place(opened: ExitStack, tmp_path: Path, simulator: Simulator) -> Place:
    return placed(opened, tmp_path, simulator)


def ago(simulator: Simulator, **span: float) -> Any:
    return simulator.now - timedelta(**span)


def test_a_hint_registers_and_moves_no_watermark(place: Place) -> None:
    """The recording is due at once; the watermark does not move, and a poll still finds the others."""
    first = place.simulator.add(place.account, "voice", created_at=ago(place.simulator, days=3))
    place.poll()
    mark = place.watermark
    assert mark is not None
    new, other = (place.simulator.add(place.account, "voice", created_at=ago(place.simulator, hours=1)) for _ in "ab")
    lists = place.simulator.count(lambda each: each.path.endswith("Recordings.json"))
    assert place.follow(new.recording_id) is Followed.REGISTERED
    assert (place.row(new)["state"], place.row(new)["source"]) == ("pending", "main")
    assert place.watermark == mark
    assert place.simulator.count(lambda each: each.path.endswith("Recordings.json")) == lists
    assert len(place.woken.times) >= 2
    place.poll()
    assert {place.row(each)["state"] for each in (first, new, other)} == {"pending"}


def test_a_hint_again_asks_nobody(place: Place) -> None:
    """A hint about a known recording sends no request."""
    new = place.simulator.add(place.account, "voice", created_at=ago(place.simulator, hours=1))
    assert place.follow(new.recording_id) is Followed.REGISTERED
    asked = len(place.simulator.requests)
    assert [place.follow(new.recording_id) for _ in range(3)] == [Followed.KNOWN] * 3
    assert len(place.simulator.requests) == asked


def test_one_that_is_not_finished_waits_and_is_hastened(place: Place) -> None:
    """An unfinished recording is not ready; a later hint makes it due, and its waiting time continues."""
    later = place.simulator.now + timedelta(minutes=5)
    new = place.simulator.add(place.account, "voice", completed_at=later)
    assert place.follow(new.recording_id) is Followed.REGISTERED
    before = place.row(new)
    assert (before["state"], before["next_attempt_at"] > before["registered_at"]) == ("not_ready", True)
    place.simulator.advance(timedelta(seconds=60))
    assert place.follow(new.recording_id) is Followed.HASTENED
    after = place.row(new)
    assert {key: after[key] for key in before if key != "next_attempt_at"} == {
        key: before[key] for key in before if key != "next_attempt_at"
    }
    assert after["next_attempt_at"] < before["next_attempt_at"]


def test_one_that_fails_keeps_its_turn(place: Place) -> None:
    """A hint, or its replay, gives a failing recording no earlier attempt."""
    new = place.simulator.add(place.account, "voice", created_at=ago(place.simulator, hours=1))
    place.poll()
    (job,) = place.ledger.claim("main", place.simulator.now, 5)
    failed = Failure(
        source="main", recording=job.recording, verdict=Verdict.RETRY, reason="media.truncated", message="short"
    )
    place.ledger.settle([failed], place.simulator.now, {"main": place.source.policy})
    before = place.row(new)
    assert before["state"] == "failing"
    assert place.follow(new.recording_id) is Followed.KNOWN
    assert place.row(new) == before


def test_what_is_not_there_is_no_error(place: Place) -> None:
    """A deleted or unknown recording is not registered, and is no error of the source."""
    place.poll()
    for recording_id in ("RE" + "0" * 32, "../../Accounts", "x" * 3000):
        assert place.follow(recording_id) is Followed.NOT_FOUND
    assert [each.error for each in place.ledger.ask.feeds()] == [None]
    assert place.listing.report.exit_code == 0


def test_only_what_is_wanted_is_registered(opened: ExitStack, tmp_path: Path, simulator: Simulator) -> None:
    """A recording before start_from is not registered, as in polls."""
    place = placed(opened, tmp_path, simulator, start_from="2026-09-30")
    old = simulator.add(place.account, "voice", created_at=ago(simulator, days=30))
    assert place.follow(old.recording_id) is Followed.NOT_WANTED
    assert place.ledger.ask.find(old.recording_id) == []


def test_an_answer_that_names_another_recording_is_not_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer about another recording or account registers nothing."""
    from recvault.discovery import hinted

    one, two = (place.simulator.add(place.account, "voice", created_at=ago(place.simulator, hours=1)) for _ in "ab")
    read = hinted.by_id
    monkeypatch.setattr(hinted, "by_id", lambda provider, session, _: read(provider, session, two.recording_id))
    assert place.follow(one.recording_id) is Followed.NOT_WANTED
    assert place.ledger.ask.find(two.recording_id) == []


def test_a_call_s_recordings_are_registered(opened: ExitStack, tmp_path: Path, simulator: Simulator) -> None:
    """If Telnyx names only the call, its recordings are listed and registered, no others."""
    place = placed(opened, tmp_path, simulator, "telnyx")
    new = simulator.add(place.account, "telnyx", created_at=ago(simulator, hours=1))
    other = simulator.add(place.account, "telnyx", created_at=ago(simulator, hours=1))
    session = _session_of(place, new)
    assert place.follow(call_id=session) is Followed.REGISTERED
    assert place.row(new)["state"] == "pending"
    assert place.ledger.ask.find(other.recording_id) == []
    assert place.watermark is None
    assert place.follow(call_id="11111111-2222-3333-4444-555555555555") is Followed.NOT_FOUND


def _session_of(place: Place, recording: SimRecording) -> str:
    """Return the session's id from the service's row."""
    from recvault.discovery.scan import by_id

    line = place.source.line(place.source.account_id)
    found = by_id(line.provider, line.session, recording.recording_id)
    assert found.session_id is not None
    return found.session_id
