"""recvault broken on purpose: the suite must detect every break, or it proves nothing.

Each break undoes one rule of the architecture. The scenarios that detect them pass while nothing is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from crash import effects
from crash.effects import NOW, Effects, Fault
from crash.invariants import check_at_once, check_at_the_end
from crash.test_crash import clean, world
from recvault.discovery.scan import Discovery
from recvault.media import Prober
from recvault.models import Check
from recvault.transfer import fetch
from recvault.transfer.attempt import Attempt
from recvault.transfer.placing import Placing

Scenario = Callable[[Path], None]
Break = Callable[[], Any]


# -- scenarios: green while nothing is broken --------------------------------------------------------------------------


def crashes(directory: Path) -> None:
    """A crash after each effect of a pass."""
    for number, effect in enumerate(clean("twilio")[0]):
        place = directory / str(number)
        place.mkdir()
        with world(place) as made:
            made.run(Effects(Fault(effect, "after", "crash")))
            check_at_once(made)
            made.settle()
            check_at_the_end(made, clean("twilio")[1])


def late_row(directory: Path) -> None:
    """A recording that is listed half an hour after its date."""
    with world(directory) as made:
        late = made.simulator.add(
            made.account, "voice", created_at=NOW - timedelta(minutes=1), visible_at=NOW + timedelta(minutes=30)
        )
        made.run(Effects())
        made.now += timedelta(hours=1)
        made.simulator.set_now(made.now)
        made.settle()
        assert any(late.recording_id in key for key in made.bucket.objects), "the late recording was never archived"


def short_body(directory: Path) -> None:
    """A silently truncated body: no Content-Length, a clean end."""
    with world(directory) as made:
        made.simulator.faults.plan("truncate_silent", match="/Recordings/RE")
        made.run(Effects())
        assert not made.simulator.faults.unfired()
        check_at_once(made)


def error_page(directory: Path) -> None:
    """An HTML page with status 200 in place of the audio."""
    with world(directory) as made:
        made.simulator.faults.plan("html_200", match="/Recordings/RE")
        made.run(Effects())
        assert not made.simulator.faults.unfired()
        check_at_once(made)


# -- breaks ------------------------------------------------------------------------------------------------------------


def advance_per_page() -> Any:
    """The watermark moves with each page, not after the last."""
    register = Discovery._register

    def broken(self: Discovery, page: Any) -> None:
        register(self, page)
        self.ledger.advance(self.feed, self.clock() - self.lookback, self.clock())

    return mock.patch.object(Discovery, "_register", broken)


@contextmanager
def sidecar_first() -> Iterator[None]:
    """The sidecar is written before its media."""
    put_medium, commit = Attempt.put, Attempt.commit

    def prove_only(self: Attempt, line: Any, recording: Any, fetched: Any) -> Any:
        with mock.patch.object(type(self.parts.store), "put", lambda store, put: True):
            return put_medium(self, line, recording, fetched)

    def commit_then_put(
        self: Attempt, line: Any, recording: Any, media: Any, fetched_from: Any, *more: Any, **named: Any
    ) -> Any:
        receipt = commit(self, line, recording, media, fetched_from, *more, **named)
        place, name = self.parts.place, media[0].media_format
        with fetch.fetch(place, line, recording, name, self.looking) as fetched:
            put_medium(self, line, recording, fetched)
        return receipt

    with (
        mock.patch.object(Attempt, "put", prove_only),
        mock.patch.object(Attempt, "commit", commit_then_put),
    ):
        yield


def no_lookback() -> Any:
    """The watermark moves up to now."""
    return mock.patch.object(effects, "LOOKBACK", timedelta())


def no_length_check() -> Any:
    """The container's own length is trusted."""
    finish = Prober.finish

    def broken(self: Prober, **expected: Any) -> Any:
        facts = finish(self, **expected)
        return type(facts)(**{**_fields(facts), "check": Check(status="ok", method="none")})

    return mock.patch.object(Prober, "finish", broken)


def skip_committed_check() -> Any:
    """The bucket is not checked for an existing commit."""
    return mock.patch.object(Placing, "commit_at", lambda self, recording, key: None)


@contextmanager
def save_whatever_came() -> Iterator[None]:
    """The kind of the body is not checked."""
    with (
        mock.patch.object(fetch, "refuse_document", lambda *args: None),
        mock.patch.object(Prober, "feed", lambda self, chunk: None),
        mock.patch.object(
            Prober,
            "finish",
            lambda self, **expected: fetch.MediaFacts(
                codec=None,
                sample_rate=None,
                channels=None,
                duration_seconds=None,
                check=Check(status="ok", method="none"),
            ),
        ),
    ):
        yield


def _fields(facts: Any) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in type(facts).__dataclass_fields__}


CAUGHT: tuple[tuple[Break, Scenario], ...] = (
    (advance_per_page, crashes),
    (sidecar_first, crashes),
    (skip_committed_check, crashes),
    (no_lookback, late_row),
    (no_length_check, short_body),
    (save_whatever_came, error_page),
)


@pytest.mark.parametrize("scenario", sorted({scenario for _, scenario in CAUGHT}, key=lambda each: each.__name__))
def test_unbroken_the_scenarios_are_green(scenario: Scenario, tmp_path: Path) -> None:
    """The scenarios pass while nothing is broken."""
    scenario(tmp_path)


@pytest.mark.parametrize(("broken", "scenario"), CAUGHT, ids=[broken.__name__ for broken, _ in CAUGHT])
def test_every_break_is_caught(broken: Break, scenario: Scenario, tmp_path: Path) -> None:
    """Every break makes a scenario fail."""
    clean("twilio")  # computed before anything is broken
    with broken(), pytest.raises(AssertionError):
        scenario(tmp_path)
