"""An idle daemon makes one list request per source and poll, hardly a write, and nothing else."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cli.commands import until
from daemon.conftest import Start
from daemon.started import archived, lists
from daemon.timeline import rows_of
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import Bucket

POLLS = 8  # per source, finding nothing
WRITES = 2  # per poll: its start and its end
COUNT = 12
_LISTS = {"voice": "/2010-04-01/", "telnyx": "/v2/"}


def fill(rig: Rig, simulator: Simulator) -> None:
    """Two sources with lists that polls read again, with nothing new."""
    for name, kind in (("voice", "twilio"), ("telnyx", "telnyx")):
        account = simulator.add_account("twilio" if kind == "twilio" else "telnyx")
        simulator.populate(account, "voice" if name == "voice" else "telnyx", count=COUNT)
        rig.add_source(name, kind, account, poll_every="0.2s", lookback="7d")


def test_polls_that_find_nothing_cost_a_request_each(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start
) -> None:
    """Each poll makes one list request, none to the bucket, two small writes, and no new row."""
    fill(rig, simulator)
    first = start()
    until(lambda: len(archived(strict_bucket)) == COUNT * len(_LISTS))
    first.stopped()
    ledger = rig.root / "ledger.db"
    assert not any(row.open for row in rows_of(ledger).values())
    rows, size = _rows(ledger), ledger.stat().st_size

    simulator.clear_requests()
    daemon = start().ready()
    asked, written = len(strict_bucket.log), sum(_commits(ledger))
    until(lambda: all(lists(simulator, within) > POLLS for within in _LISTS.values()))
    daemon.killed()  # so that the WAL stays
    polls = {name: lists(simulator, within) for name, within in _LISTS.items()}
    done = {name: [each["source"] for each in daemon.events("discover.done")].count(name) for name in _LISTS}
    assert all(polls[name] - done[name] in (0, 1) for name in _LISTS), "a poll was under way at most"
    assert [each["new"] for each in daemon.events("discover.done")] == [0] * sum(done.values())
    assert len(simulator.requests) == sum(polls.values())
    assert list(strict_bucket.log)[asked:] == []
    assert sum(_commits(ledger)) - written <= WRITES * sum(polls.values())
    assert (_rows(ledger), ledger.stat().st_size) == (rows, size)


def _rows(ledger: Path) -> dict[str, int]:
    """Count the rows of each table."""
    with closing(sqlite3.connect(ledger)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: db.execute(f"SELECT count(*) FROM [{name}]").fetchone()[0] for name in tables}


def _commits(ledger: Path) -> Iterator[bool]:
    """Return for each frame of the WAL whether it ends a transaction, by the database size in it."""
    body = ledger.with_name("ledger.db-wal").read_bytes()
    if len(body) < 32:
        return
    page, salt = struct.unpack(">I", body[8:12])[0], body[16:24]
    for at in range(32, len(body) - 23, 24 + page):
        if body[at + 8 : at + 16] == salt:
            yield struct.unpack(">I", body[at + 4 : at + 8])[0] > 0
