"""A contrary world: its provider has moods, its bucket lies, its sources are renamed, its workers are killed.

At the end each recording that the provider can serve must be archived completely, once, and each other one have a
named end. In between, what a pass fetched completely, without a strike and with a truthful bucket, must be archived
when the pass ends.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from faults import steps
from faults.lying_bucket import LIES, NAME, LyingBucket
from faults.moods import OF_ALL, OF_ONE, Contrary, Mood
from faults.near import Honest
from faults.promises import broken_by
from faults.stage import Stage
from faults.steps import DAY, HOUR, Grow, History, Row, Scene, Step, Strike, Sync, Wait
from recvault.ledger import Ledger, Policy
from recvault.models import State
from recvault.simulator import SimRecording
from recvault.store import ObjectStore
from recvault.store.s3.s3_store import S3Store

SCENES = (("voice",), ("video",), ("telnyx",), ("signalwire",), ("voice", "legacy"))
POLICY = Policy(
    max_attempts=5,
    retry_base=timedelta(minutes=1),
    retry_max=timedelta(hours=2),
    recheck_every=timedelta(minutes=2),
    give_up_after=timedelta(days=2),
)
ENDS = frozenset({State.ARCHIVED, State.GONE, State.EXTERNAL, State.DEAD})
_PATIENCE = 40  # passes, three hours apart, after which everything must have ended


@dataclass(frozen=True, kw_only=True)
class Lie:
    """What the bucket answers from now on, for that many hours."""

    what: str
    hours: int


@dataclass(frozen=True, kw_only=True)
class Rename:
    """The configuration renames its sources from now on."""

    number: int


@dataclass
class World(Stage):
    """A stage whose provider and bucket are contrary."""

    policy: Policy = POLICY
    duration_seconds: float = 1.0  # a stated 0 would allow empty media
    lies: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.contrary = Contrary(lambda: self.now, ids=self._ids)
        self.kept = LyingBucket(self._lie)
        self._store = S3Store(self.kept.client(), NAME)
        super().__post_init__()

    @property
    def store(self) -> ObjectStore:
        return self._store

    def between(self, kind: str, request: Any, honest: Honest) -> Any:
        return self.contrary(kind, request, honest)

    def play(self, step: Step | Mood | Lie | Rename) -> None:
        match step:
            case Mood():
                self.contrary.begin(step)
            case Lie(what=what, hours=hours):
                self.lies.append((what, self.now + timedelta(hours=hours)))
            case Rename(number=number):
                self.names = {each: f"{each}-{number}" for each in self.scene.lists}
            case _:
                super().play(step)

    def retry_all(self) -> None:
        """Run `recvault retry` for each recording that is suspect or not archived."""
        with closing(sqlite3.connect(self.path)) as db, db:
            ids = [row for (row,) in db.execute("SELECT id FROM recordings WHERE state <> 'archived'")]
        ledger = Ledger.open(self.path, self.clock())
        ledger.retry(ids, self.clock())
        ledger.ask_again(None, self.clock())
        ledger.close()

    def _lie(self) -> str:
        return next((what for what, until in self.lies if self.now < until), "")

    def _ids(self) -> list[str]:
        return [each.recording_id for each in self.simulator.recordings(self.account)]

    @property
    def is_truthful(self) -> bool:
        """Whether the bucket tells the truth now."""
        return not self._lie()


# -- drawn from a seed -------------------------------------------------------------------------------------------------


def drawn(lists: tuple[str, ...], seed: int) -> History:
    """Return the history of that seed."""
    draw = random.Random(f"contrary {'+'.join(lists)} {seed}")
    played: list[Any] = [Grow(tuple(_row(draw, 6 * DAY) for _ in range(draw.randint(1, 6))))]
    while len(played) < 6 or draw.random() < 0.93:
        played.append(_step(draw))
    return History(Scene(lists=lists, page_size=draw.choice((1, 2, 3))), tuple(played))


def _step(draw: random.Random) -> Any:
    match draw.choices(range(7), (32, 24, 7, 5, 9, 20, 3))[0]:
        case 0:
            return Sync(strikes=_strikes(draw))
        case 1:
            whole = draw.random() < 0.45
            hours = draw.choice((1, 4, 9, 24, 30))
            if whole:
                return Mood(what=draw.choice(OF_ALL), hours=hours)
            lasts = None if draw.random() < 0.2 else hours
            return Mood(what=draw.choice(OF_ONE), which=draw.randrange(12), hours=lasts)
        case 2:
            return Lie(what=draw.choice(LIES), hours=draw.choice((1, 4, 9)))
        case 3:
            return Rename(number=draw.randint(1, 3))
        case 4:
            return Grow(tuple(_row(draw, 20 * HOUR) for _ in range(draw.randint(1, 3))))
        case 5:
            return Wait(draw.choice((1, 45, 3 * HOUR, 4 * HOUR, 8 * HOUR, 25 * HOUR)))
        case _:
            return steps.Backfill(since=None)


def _row(draw: random.Random, oldest: int) -> Row:
    return Row(age=draw.randint(0, oldest), unfinished=draw.choice((0, 0, 0, 90)), lag=draw.choice((0, 0, 30)))


def _strikes(draw: random.Random) -> tuple[Strike, ...]:
    if draw.random() < 0.6:
        return ()
    return (Strike(at=draw.randint(1, 25), act=draw.choice(("crash", "error")), after=draw.random() < 0.5),)


# -- played ------------------------------------------------------------------------------------------------------------


def fault(history: History) -> str | None:
    """Describe what a history breaks; None if all promises hold."""
    return broken_by(history, lambda directory: World(directory, history.scene), _play)


def _play(world: World, history: History) -> None:
    for step in history.steps:
        world.contrary.served.clear()
        world.play(step)
        if isinstance(step, Sync) and not step.strikes and world.is_truthful:
            _check_served(world)
        _check_bucket(world)
        _check_blame(world)
    world.contrary.end_all()
    world.lies.clear()
    world.wait(timedelta(hours=45))
    world.passes(steps.Reconcile(days=60))  # finds what was hidden for longer than any lookback
    world.retry_all()  # for recordings whose own problem is over
    for _ in range(_PATIENCE):
        world.passes(Sync())
        _check_bucket(world)
        if set(_states(world).values()) <= ENDS:
            break
        world.wait(timedelta(hours=3))
    _check_ends(world)


def _check_served(world: World) -> None:
    """Check that what an undisturbed pass fetched completely is archived."""
    states = _states(world)
    lost = {each for each in world.contrary.served if states.get(each) != State.ARCHIVED}
    assert not lost, f"served whole and not archived: {lost}"


def _check_bucket(world: World) -> None:
    """Check that sidecars have their media, nothing was written twice, and what is archived is there."""
    objects = world.kept.objects
    for key in [key for key in objects if key.endswith(".json") and key.startswith("recordings/")]:
        for medium in json.loads(objects[key])["media"]:
            assert len(objects.get(medium["key"], b"")) == medium["bytes"], f"{key} names what does not stand"
    twice = {key for key, times in Counter(world.kept.writes).items() if times > 1}
    assert not twice, f"written twice: {twice}"
    if not world.path.exists():
        return
    with closing(sqlite3.connect(world.path)) as db, db:
        rows = db.execute("SELECT recording_id, sidecar_key FROM recordings WHERE state='archived'").fetchall()
    nowhere = [name for name, key in rows if key not in objects]
    assert not nowhere, f"archived nowhere: {nowhere}"


def _check_blame(world: World) -> None:
    """Check that a problem of the account or bucket ends no recording, and a short one flags none."""
    own = world.contrary.own
    ended = {name for name, state in _states(world).items() if state in ENDS - {State.ARCHIVED} and name not in own}
    assert not ended, f"ended without trouble of their own: {ended}"
    for name, sidecars in _sidecars(world).items():
        flagged = any(medium["checked"]["status"] == "suspect" for each in sidecars for medium in each["media"])
        assert not flagged or own.get(name, 0) > 1, f"{name} was archived flagged after an hour's trouble"


def _check_ends(world: World) -> None:
    """Check that each servable recording is archived completely, once, and each other one has a named end."""
    states, sidecars = _states(world), _sidecars(world)
    for recording in world.simulator.recordings(world.account):
        name = recording.recording_id
        state, lasting = states.get(name), world.contrary.lasting(name)
        found = sidecars.get(name, [])
        if not lasting:
            assert state == State.ARCHIVED, f"{name} ended {state}, and can be served"
            assert _is_whole(world, recording, found), f"{name} is archived, and not whole"
        else:
            assert state in ENDS, f"{name} ended {state}: {sorted(lasting)} for good"
        assert len(found) <= 2, f"{name} is archived {len(found)} times"


def _is_whole(world: World, recording: SimRecording, found: list[Any]) -> bool:
    served = {
        world.simulator.media(recording, recording.formats[0], channels).sha256 for channels in (1, recording.channels)
    }
    whole = [medium for sidecar in found for medium in sidecar["media"] if medium["sha256"] in served]
    return len(whole) == 1


def _sidecars(world: World) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for key, body in world.kept.objects.items():
        if key.endswith(".json") and key.startswith("recordings/"):
            sidecar = json.loads(body)
            found.setdefault(sidecar["recording_id"], []).append(sidecar)
    return found


def _states(world: World) -> dict[str, str]:
    if not world.path.exists():
        return {}
    with closing(sqlite3.connect(world.path)) as db, db:
        return dict(db.execute("SELECT recording_id, state FROM recordings").fetchall())
