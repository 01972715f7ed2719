"""The desk of hints: what is answered, what is followed, and how little a flood of hints can do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from cli.commands import until
from recvault.daemon import hint_desk
from recvault.daemon.endpoint import Posted
from recvault.daemon.hint_desk import HintDesk, HintReader
from recvault.discovery.hinted import Followed
from recvault.errors import LedgerDamaged, Refused, Unavailable
from recvault.monitoring.metrics import Metrics
from recvault.providers import provider_class
from recvault.providers.hints import Hint
from recvault.shutdown import Stop
from recvault.simulator import SimRecording, Simulator
from rig import START

PUBLIC = "https://hooks.acme.example/recvault"


class Rig:
    """A desk of one Twilio source, with a follow function and a clock set by the test."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        simulator.set_now(START)
        self.account = simulator.add_account("twilio")
        self.metrics, self.stop = Metrics(), Stop()
        self.moment, self.followed = 1000.0, list[str]()
        self.arrived: list[tuple[str, datetime]] = []
        self.damage: list[LedgerDamaged] = []
        self.follow: Callable[[str, Hint], Followed] = lambda source, hint: Followed.REGISTERED
        provider: Any = provider_class("twilio").from_settings("main", self.account.credentials)
        reader = HintReader(source="main", provider=provider, values={"auth_token": self.account.secret})
        self.desk = HintDesk(
            {"main": reader},
            self._follow,
            public_url=PUBLIC,
            clock=lambda: START,
            metrics=self.metrics,
            stop=self.stop,
            note=lambda source, now: self.arrived.append((source, now)),
            on_damage=self.damage.append,
            monotonic=lambda: self.moment,
        )

    def _follow(self, source: str, hint: Hint) -> Followed:
        self.followed.append(hint.recording_id)
        return self.follow(source, hint)

    def recording(self) -> SimRecording:
        return self.simulator.add(self.account, "voice")

    def post(
        self,
        recording: SimRecording,
        source: str = "main",
        *,
        secret: str | None = None,
        query: str = "",
        **further: str,
    ) -> int:
        """Send a webhook as a proxy passes it on, below its own path; return the status."""
        url = f"{PUBLIC}/{source}" + (f"?{query}" if query else "")
        told = self.simulator.callback(self.account, recording, url)
        headers = {name.lower(): value for name, value in told.headers.items()} | further
        if secret is not None:
            headers["x-twilio-signature"] = secret
        return self.desk.receive(Posted(f"/any/{source}", query, headers, told.body)).status

    def step(self, source: str = "main") -> None:
        """Follow what may be followed now, as the desk's thread does."""
        while any(each.not_before <= self.moment for each in self.desk._waiting[source].values()):
            each = self.desk._next(source)
            assert each is not None
            self.desk._one(source, each)

    def count(self, name: str, **labels: str) -> float:
        """Return a counter's value."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = self.metrics.text().decode().splitlines()
        found = [
            line for line in lines if line.startswith(f"recvault_{name}{{") and all(each in line for each in wanted)
        ]
        return sum(float(line.rpartition(" ")[2]) for line in found)


@pytest.fixture
def rig(simulator: Simulator) -> Iterator[Rig]:
    rig = Rig(simulator)
    yield rig
    rig.stop.asked.set()
    rig.desk.wake()


def test_a_hint_is_answered_before_it_is_followed(rig: Rig) -> None:
    """A hint is answered 204 at once, then its recording is read, and the ledger notes that hints arrive."""
    recording = rig.recording()
    assert (rig.post(recording), rig.followed) == (204, [])
    rig.step()
    assert rig.followed == [recording.recording_id]
    assert rig.arrived == [("main", START)]
    assert rig.count("hints_total", source="main", result="accepted") == 1
    assert rig.count("hints_followed_total", result="registered") == 1


def test_what_is_forged_does_nothing(rig: Rig) -> None:
    """A forged hint is answered 403 without a reason, counted, and logged once a minute at most."""
    recording = rig.recording()
    assert {rig.post(recording, secret="forged") for _ in range(20)} == {403}
    rig.step()
    assert (rig.followed, rig.arrived) == ([], [])
    assert rig.count("hints_total", source="main", result="refused") == 20


def test_a_query_is_a_part_of_what_is_signed(rig: Rig) -> None:
    """A query is part of the signed URL."""
    assert rig.post(rig.recording(), query="team=ops") == 204


def test_a_replayed_hint_is_followed_once(rig: Rig) -> None:
    """A hint with a known signature, e.g. the provider's own repetition, is answered but not followed."""
    recording = rig.recording()
    assert [rig.post(recording) for _ in range(3)] == [204, 204, 204]
    rig.step()
    assert [rig.post(recording) for _ in range(2)] == [204, 204]
    rig.step()
    assert rig.followed == [recording.recording_id]
    assert rig.count("hints_total", result="replayed") == 4


def test_a_further_header_makes_no_new_hint(rig: Rig) -> None:
    """A replay with further headers named like signatures is a replay."""
    recording = rig.recording()
    others: list[dict[str, str]] = [{}, {"x-signature": "1"}, {"x-signature": "2"}, {"signature": "3"}]
    assert [rig.post(recording, **each) for each in others] == [204] * 4
    rig.step()
    assert rig.followed == [recording.recording_id]
    assert (rig.count("hints_total", result="accepted"), rig.count("hints_total", result="replayed")) == (1, 3)


def test_an_unknown_source_is_ignored(rig: Rig) -> None:
    """An unknown source is answered 404, even if the hint is signed."""
    recording = rig.recording()
    assert [rig.post(recording, source) for source in ("other", "", "main/..", "%6dain")] == [404] * 4
    assert rig.count("hints_total", source="", result="unknown_source") == 4


def test_a_flood_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of waiting hints the answer is 503; accepted hints are followed one by one."""
    monkeypatch.setattr(hint_desk, "MOST_WAITING", 5)
    answers = [rig.post(rig.recording()) for _ in range(20)]
    assert answers == [204] * 5 + [503] * 15
    rig.step()
    assert len(rig.followed) == 5
    assert rig.count("hints_total", source="main", result="dropped") == 15


def test_a_hint_that_was_dropped_is_taken_when_it_comes_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repetition of a hint that was answered 503 is no replay."""
    monkeypatch.setattr(hint_desk, "MOST_WAITING", 1)
    first, second = rig.recording(), rig.recording()
    assert [rig.post(first), rig.post(second)] == [204, 503]
    rig.step()
    assert rig.post(second) == 204


def test_webhooks_have_a_rate(rig: Rig) -> None:
    """After a burst only a limited number per second is verified; the rest is answered 429."""
    recording = rig.recording()
    answers = [rig.post(recording, secret="forged") for _ in range(600)]
    assert answers == [403] * 500 + [429] * 100
    rig.moment += 0.1
    assert [rig.post(recording, secret="forged") for _ in range(6)] == [403] * 5 + [429]


@pytest.mark.parametrize(("source", "secret", "status"), [("main", "", 403), ("other", None, 404), ("", "forged", 404)])
def test_what_cannot_be_verified_takes_no_turn(rig: Rig, source: str, secret: str | None, status: int) -> None:
    """A flood without signatures, or for unknown sources, has a rate of its own: real webhooks are still answered."""
    recording = rig.recording()
    flood = [rig.post(recording, source, secret=secret) for _ in range(510)]
    assert flood == [status] * 500 + [429] * 10
    assert rig.post(recording) == 204


def test_what_is_remembered_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures are forgotten by number and by age."""
    monkeypatch.setattr(hint_desk, "MOST_SEEN", 3)
    for _ in range(9):
        assert rig.post(rig.recording()) == 204
    assert len(rig.desk._seen) <= 4
    rig.moment += 3600
    rig.post(rig.recording())
    assert len(rig.desk._seen) == 1


def test_what_is_not_found_yet_is_asked_for_again(rig: Rig) -> None:
    """A recording that is not found is requested three more times; after that it is left to a poll."""
    rig.follow = lambda source, hint: Followed.NOT_FOUND
    rig.post(rig.recording())
    tries = []
    for wait in (0.0, 1.0, 5.0, 30.0, 600.0):
        rig.moment += wait
        rig.step()
        tries.append(len(rig.followed))
    assert tries == [1, 2, 3, 4, 4]
    assert rig.count("hints_followed_total", result="not_found") == 1


def test_a_provider_that_is_away_is_asked_again_and_one_that_refuses_is_not(rig: Rig) -> None:
    """An unavailable provider is retried, a refusal is not; both are logged and counted, and polls continue."""

    def away(source: str, hint: Hint) -> Followed:
        raise Unavailable("127.0.0.1 cannot be reached")

    def refuse(source: str, hint: Hint) -> Followed:
        raise Refused("no")

    rig.follow = away
    rig.post(rig.recording())
    for wait in (0.0, 1.0, 5.0, 30.0):
        rig.moment += wait
        rig.step()
    assert len(rig.followed) == 4
    rig.follow = refuse
    rig.post(rig.recording())
    rig.step()
    assert len(rig.followed) == 5
    assert rig.count("hints_followed_total", result="failed") == 2


def test_a_bug_ends_no_thread_and_a_damaged_ledger_ends_the_daemon(rig: Rig) -> None:
    """The thread survives an unexpected error; a damaged ledger is reported to the daemon."""
    raised: list[Exception] = [LedgerDamaged("the ledger is damaged"), RuntimeError("a bug")]

    def fail(source: str, hint: Hint) -> Followed:
        raise raised.pop()

    rig.follow = fail
    rig.desk.start()
    rig.post(rig.recording())
    until(lambda: rig.count("job_errors_total", task="hints") == 1)
    rig.post(rig.recording())
    until(lambda: len(rig.damage) == 1)
    assert [thread for thread in threading.enumerate() if thread.name == "hints:main" and thread.is_alive()] == [] or (
        rig.desk._threads[0].join(5.0) is None and not rig.desk._threads[0].is_alive()
    )


def test_a_hint_about_nothing_is_ignored(rig: Rig) -> None:
    """A verified webhook without a recording is answered, so that the provider does not repeat it."""
    recording = rig.recording()
    nameless = SimRecording(
        **{name: getattr(recording, name) for name in recording.__dataclass_fields__} | {"recording_id": ""}
    )
    assert rig.post(nameless) == 204
    assert rig.count("hints_total", result="ignored") == 1
