"""Hours of calls on the simulator in a minute or two: what is recorded, its fate, and what was observed."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from recvault.models import unstamp
from recvault.simulator import SimAccount, Simulator
from recvault.simulator.details import Details
from recvault.simulator.recording import Api, SimRecording
from rig import SOURCES, Rig

LOOKBACK = timedelta(minutes=45)
_LATEST = LOOKBACK - timedelta(minutes=1)  # after its date, until a list shows a recording
_MINUTE = timedelta(minutes=1)
_APIS: dict[str, Api] = {"voice": "voice", "video": "video", "telnyx": "telnyx", "signalwire": "signalwire"}

# Fates, given in turn; all other recordings are listed at once and soon complete.
FATES = ("late", "long", "after", "before", "whenever", "failed")
_EVERY = 2  # one of this many recordings has a fate

_ROWS = """
    SELECT recordings.recording_id, recordings.state, recordings.lease, recordings.next_attempt_at,
        recordings.created_at < feeds.watermark
    FROM recordings LEFT JOIN feeds
        ON feeds.source = recordings.source AND feeds.account_id = recordings.account_id AND feeds.list = 'account'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The size of a timeline."""

    kills: int
    hours: float  # of the simulator's time
    seconds: float  # of real time
    each: int  # recordings of each provider

    @property
    def span(self) -> timedelta:
        return timedelta(hours=self.hours)


@dataclass(frozen=True, slots=True)
class Row:
    """A recording as in the ledger."""

    state: str
    leased: bool
    open: bool  # not settled
    below: bool  # below its list's watermark


@dataclass(slots=True, kw_only=True)
class Timeline:
    """From `begin` to `end` by the simulator's clock, which only the test moves."""

    scale: Scale
    simulator: Simulator
    begin: datetime
    fates: dict[str, str] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)  # ids seen not ready below the watermark
    vanished: dict[str, str] = field(default_factory=dict)  # deleted ids, with their state then
    _every: dict[str, SimRecording] = field(default_factory=dict)

    @property
    def end(self) -> datetime:
        return self.begin + self.scale.span

    @property
    def half(self) -> datetime:
        return self.begin + self.scale.span / 2

    def of(self, *fates: str) -> set[str]:
        """Return the ids of the recordings with this fate."""
        return {recording_id for recording_id, fate in self.fates.items() if fate in fates}

    def moments(self, tick: float) -> Iterator[datetime]:
        """Yield the simulator's times while real time passes, in steps of at most a hundredth."""
        at, asked = self.begin, time.monotonic()
        while at < self.end:
            yield at
            time.sleep(tick)
            at += self.scale.span * min(0.01, (time.monotonic() - asked) / self.scale.seconds)
            asked = time.monotonic()
        yield self.end

    # -- what there is -------------------------------------------------------------------------------------------------

    def configure(self, rig: Rig) -> list[SimAccount]:
        """Configure sources for all wire formats and add all recordings. Legacy and voice share theirs."""
        accounts = {kind: self.simulator.add_account(kind) for kind in ("twilio", "telnyx", "signalwire")}
        often = {"poll_every": "1s", "recheck_every": "1s", "lookback": f"{LOOKBACK.seconds}s"}
        for name, (provider, kind) in SOURCES.items():
            rig.add_source(name, provider, accounts[kind], **often)
        for name, api in _APIS.items():
            self._fill(accounts[SOURCES[name][1]], api)
        return list(accounts.values())

    def _fill(self, account: SimAccount, api: Api) -> None:
        draw = random.Random(f"{api} {self.scale.each}")
        for number in range(self.scale.each):
            turn, misses = divmod(number, _EVERY)
            fate = "usual" if misses else FATES[turn % len(FATES)]
            recording = self.simulator.add(account, api, **self._details(api, fate, draw))
            self.fates[recording.recording_id] = fate
            self._every[recording.recording_id] = recording

    def _details(self, api: Api, fate: str, draw: random.Random) -> Details:
        """Return one recording's details. Long ones begin in the first quarter and end in the second half."""
        span = self.scale.span
        created = self.begin + draw.random() * (span / 4 if fate in ("long", "before") else span - 4 * LOOKBACK / 3)
        soon = created + draw.uniform(0.1, 5) * _MINUTE
        chosen: Details = {"created_at": created, "completed_at": soon, "duration_seconds": draw.uniform(0.5, 2)}
        if api in ("voice", "telnyx", "signalwire") and draw.random() < 0.1:
            chosen |= {"conference_id": f"CF{draw.getrandbits(128):032x}", "channels": 2}
        if fate == "late":
            chosen["visible_at"] = created + draw.uniform(0.2, 1) * _LATEST
        elif fate in ("long", "before"):
            chosen |= {"visible_at": created, "completed_at": self.half + draw.uniform(0.1, 0.9) * span / 2}
        elif fate == "whenever":
            chosen["deleted_at"] = soon + draw.uniform(0, 20) * _MINUTE
        elif fate == "failed" and api != "telnyx":  # which has no such status
            chosen["status_final"] = "failed" if api == "video" else draw.choice(("absent", "failed"))
        return chosen

    # -- what is seen --------------------------------------------------------------------------------------------------

    def look(self, ledger: Path) -> dict[str, Row]:
        """Return the ledger's current rows. Deletes at the provider what must vanish in this state."""
        rows = rows_of(ledger)
        self.passed |= {name for name, row in rows.items() if row.state == "not_ready" and row.below}
        for name in rows.keys() & self.of("before", "after") - self.vanished.keys():
            unfinished = not self._every[name].final(self.simulator.now)
            if rows[name].state == "archived" or (rows[name].state == "not_ready" and unfinished):
                wanted = "archived" if self.fates[name] == "after" else "not_ready"
                if rows[name].state == wanted:
                    self.simulator.delete(self._every[name])
                    self.vanished[name] = wanted
        return rows

    @property
    def recordings(self) -> dict[str, SimRecording]:
        return self._every


def rows_of(ledger: Path) -> dict[str, Row]:
    """Read all rows by a connection that is closed at once, so that a killed daemon's file is left alone."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        return {
            name: Row(state, lease is not None, due is not None, bool(below))
            for name, state, lease, due, below in db.execute(_ROWS)
        }


def polled_since(ledger: Path, moment: datetime, lists: int) -> bool:
    """Whether that many lists were read completely since then."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        times = [row[0] for row in db.execute("SELECT last_success_at FROM feeds WHERE list = 'account'")]
    return len(times) == lists and all(each and unstamp(each) > moment for each in times)
