"""The invariants that must hold at any instant, checked against the provider's truth, in the modules' own words."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from typing import Any

from crash.effects import World
from recvault.models import unstamp

SIDECAR = ".json"


def check_at_once(world: World) -> None:
    """Check the invariants of archive, transfer, discovery and ledger, at any instant."""
    truth = {each.recording_id: each for each in world.simulator.truth(world.account)}
    for key, body in world.bucket.objects.items():
        recording_id = key.rpartition("/")[2].partition(".")[0]
        if key.endswith(SIDECAR):
            _check_sidecar(world, json.loads(body))
        else:
            served = world.simulator.media(truth[recording_id], key.rpartition(".")[2], truth[recording_id].channels)
            assert hashlib.sha256(body).hexdigest() == served.sha256, f"{key} holds other bytes than were served"
    _check_ledger(world)


def check_at_the_end(world: World, clean: dict[str, Any]) -> None:
    """Check that the bucket equals a clean run's: media byte for byte, sidecars except for their attempts."""
    left = comparable(world)
    assert set(left) == set(clean), "objects are missing or left over"
    for key, body in left.items():
        assert body == clean[key], key


def comparable(world: World) -> dict[str, Any]:
    """Return the bucket's objects; of sidecars only what is equal in all runs."""
    return {key: _lasting(body, world) if key.endswith(SIDECAR) else body for key, body in world.bucket.objects.items()}


def _check_sidecar(world: World, sidecar: dict[str, Any]) -> None:
    for medium in sidecar["media"]:
        body = world.bucket.objects.get(medium["key"])
        assert body is not None, f"a sidecar exists, but {medium['key']}, which it names, does not"
        assert (len(body), hashlib.sha256(body).hexdigest()) == (medium["bytes"], medium["sha256"]), medium["key"]


def _check_ledger(world: World) -> None:
    path = world.directory / "ledger.db"
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as db, db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone():
            return
        rows = dict(db.execute("SELECT recording_id, state FROM recordings").fetchall())
        marks = [unstamp(mark) for (mark,) in db.execute("SELECT watermark FROM feeds WHERE watermark IS NOT NULL")]
        keys = [key for (key,) in db.execute("SELECT sidecar_key FROM recordings WHERE state = 'archived'")]
    db.close()
    for mark in marks:
        listed = {each.recording_id for each in world.simulator.truth(world.account) if each.created_at < mark}
        assert listed <= set(rows), f"below the watermark {mark}, but not in the ledger: {listed - set(rows)}"
    for key in keys:
        assert key in world.bucket.objects, f"archived in the ledger, but {key} does not exist"


def _lasting(body: bytes, world: World) -> Any:
    places = (world.simulator.base_url.encode(), f"http://{world.simulator.media_host}".encode())
    document = json.loads(body.replace(places[0], b"https://api").replace(places[1], b"https://media"))
    document["archive"].pop("attempts")
    return document
