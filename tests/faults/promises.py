"""What must hold after every step of a history, and at its end, compared with the provider.

At any time: everything listed below a watermark is registered, every recording is in one state and never forgotten, no
object has other bytes than were served, a sidecar exists only with its media, what is archived stays so. At the end,
when faults are over and time has passed, the bucket is the truth: nothing lost, nothing twice, nothing left over. What
a lost ledger stored and its provider no longer has stays: nothing proves it to a new ledger.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from faults.stage import Stage
from faults.steps import History, LoseLedger, Reconcile, Sync
from faults.struck import struck_ledger
from recvault.archive import KeyTemplate
from recvault.models import Phase, Recording, State, unstamp
from recvault.simulator import SimRecording

S = TypeVar("S", bound=Stage)
MEMORY = Path("/dev/shm")  # crashes here lose memory, not disks
MOST_PASSES = 3  # after the last fault, until nothing is open
STATES = {state.value for state in State}
OPEN = {State.PENDING, State.FAILING, State.NOT_READY}


def fault(history: History) -> str | None:
    """Describe what a history breaks; None if all promises hold."""
    return broken_by(history, lambda directory: Stage(directory, history.scene), _play)


def broken_by(history: History, make: Callable[[Path], S], play: Callable[[S, History], None]) -> str | None:
    """Play a history on a stage of its own and describe what it breaks; None for nothing."""
    logging.disable()
    try:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
            stage = make(Path(directory))
            with struck_ledger(stage.effect):
                play(stage, history)
            stage.clients.close()
    except AssertionError as broken:
        return str(broken)
    finally:
        logging.disable(logging.NOTSET)
    return None


def _play(stage: Stage, history: History) -> None:
    promises = Promises(stage)
    for step in history.steps:
        stage.play(step)
        if isinstance(step, LoseLedger):
            promises.known = {}
        promises.check()
    stage.simulator.faults.clear_plans()
    stage.skew = timedelta()
    stage.turn_to_pages_of(50)
    stage.wait(timedelta(hours=45))  # everything has appeared and finished by now
    stage.passes(Reconcile(days=60))
    for _ in range(MOST_PASSES):
        promises.check()
        if not promises.stands_open:
            break
        stage.wait(timedelta(hours=8))
        stage.passes(Sync())
    stage.passes(Sync())
    assert not {"put", "download"} & set(stage.ways), "a pass with nothing to do fetched or wrote"
    promises.check_the_end()


class Promises:
    """Checks a stage repeatedly, and remembers what must not change."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.known: dict[str, str] = {}  # states by recording id
        self._untouched: set[str] = set()  # recordings of which no attempt of this ledger put anything
        self._seen: dict[str, bytes] = {}
        self._keys = KeyTemplate()

    def check(self) -> None:
        """Check what must hold at any time."""
        self._check_objects()
        if self.stage.path.exists():
            self._check_ledger()

    @property
    def stands_open(self) -> bool:
        return bool(OPEN & set(self.known.values()))

    def _check_objects(self) -> None:
        objects = self.stage.bucket.objects
        assert all(objects.get(key) == body for key, body in self._seen.items()), "an object was changed or removed"
        truth = self._by_media_key()
        for key in objects.keys() - self._seen.keys():
            if key.endswith(".json"):
                for medium in json.loads(objects[key])["media"]:
                    body = objects.get(medium["key"], b"")
                    found = (len(body), hashlib.sha256(body).hexdigest())
                    assert found == (medium["bytes"], medium["sha256"]), f"{key} names what does not stand"
            else:
                recording = truth[key.rpartition(".")[0]]
                served = {
                    self.stage.simulator.media(recording, key.rpartition(".")[2], channels).sha256
                    for channels in (1, recording.channels)
                }
                assert hashlib.sha256(objects[key]).hexdigest() in served, f"{key} holds other bytes than were served"
        self._seen = dict(objects)

    def _check_ledger(self) -> None:
        db = sqlite3.connect(self.stage.path)
        try:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            if "quarantine" not in tables:
                return
            rows = db.execute("SELECT recording_id, state, next_attempt_at, lease, sidecar_key FROM recordings")
            found = {row[0]: row[1:] for row in rows}
            untouched = db.execute("SELECT recording_id FROM recordings WHERE NOT may_have_put").fetchall()
            marks = db.execute("SELECT watermark FROM feeds WHERE watermark IS NOT NULL AND list='account'").fetchall()
            kept = {name for (name,) in db.execute("SELECT recording_id FROM quarantine")}
        finally:
            db.close()
        assert self.known.keys() <= found.keys(), f"forgotten: {self.known.keys() - found.keys()}"
        for name, state in self.known.items():
            assert state != State.ARCHIVED or found[name][0] == State.ARCHIVED, f"{name} was archived: {found[name]}"
        self.known = {name: row[0] for name, row in found.items()}
        self._untouched = {name for (name,) in untouched}
        for name, (state, due, lease, sidecar) in found.items():
            assert state in STATES, state
            assert (due is not None) == (state in OPEN or lease is not None), f"{name} is {state}, due {due}"
            assert state != State.DEAD, f"{name} was given up"
            assert state != State.ARCHIVED or sidecar in self.stage.bucket.objects, f"{name} is archived nowhere"
        for (mark,) in marks:
            missing = {r.recording_id for r in self._below(unstamp(mark))} - found.keys() - kept
            assert not missing, f"listed below the watermark {mark}, and not in the ledger: {missing}"

    def _below(self, mark: Any) -> list[SimRecording]:
        stage = self.stage
        return [
            each
            for each in stage.simulator.recordings(stage.account)
            if each.created_at < mark
            and each.listed(stage.now)
            and each.recording_id not in stage.tardy
            and (stage.start_from is None or each.created_at >= stage.start_from)
        ]

    def check_the_end(self) -> None:
        """Check that the bucket is the truth."""
        stage, objects = self.stage, set(self.stage.bucket.objects)
        for recording in stage.simulator.recordings(stage.account):
            name, base = recording.recording_id, self._base(recording)
            there = {key for key in objects if key.rpartition(".")[0] == base}
            objects -= there
            endings = sorted(key.rpartition(".")[2] for key in there)
            whole = len(endings) == 2 and endings[0] == "json"
            if recording.fetchable(stage.now) and not recording.malformed:
                is_due = stage.start_from is None or recording.created_at >= stage.start_from
                assert whole or (not is_due and not there), f"lost: {name} has {endings}"
            elif recording.deleted(stage.now) and not recording.malformed:
                assert whole or not there or self._is_unproven(name, there), f"orphan: {name} is deleted, has {endings}"
            else:
                assert not there, f"orphan: {name} has {endings}"
            self._check_final(
                recording, whole, is_unproven=recording.deleted(stage.now) and self._is_unproven(name, there)
            )
        assert not objects, f"objects of no recording: {objects}"

    def _is_unproven(self, name: str, there: set[str]) -> bool:
        """Whether a lost ledger stored everything of a recording, and no attempt of this one met it."""
        is_met = name in self.known and name not in self._untouched
        return bool(there) and there <= self.stage.of_lost_ledgers and not is_met

    def _check_final(self, recording: SimRecording, whole: bool, *, is_unproven: bool) -> None:
        name, state = recording.recording_id, self.known.get(recording.recording_id)
        if state is None:
            assert not whole or is_unproven, f"{name} is archived and not registered"
        elif whole and not (is_unproven and state == State.GONE):
            assert state == State.ARCHIVED, f"{name} is archived, and {state} in the ledger"
        else:
            assert state in (State.GONE, State.EXTERNAL), f"{recording.recording_id} ended {state}"

    def _by_media_key(self) -> dict[str, SimRecording]:
        return {self._base(each): each for each in self.stage.simulator.recordings(self.stage.account)}

    def _base(self, recording: SimRecording) -> str:
        account = "telnyx" if recording.api == "telnyx" else recording.account_id
        listed = Recording(
            provider="twilio" if recording.api in ("voice", "video") else recording.api,
            api="",
            account_id=account,
            recording_id=recording.recording_id,
            created_at=recording.created_at,
            status=None,
            phase=Phase.COMPLETE,
            formats=(),
        )
        return self._keys(listed, "x").removesuffix(".x")
