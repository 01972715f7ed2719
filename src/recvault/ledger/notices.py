"""Which notices were sent, and which are still to be sent.

A change of state and its notices are written in one transaction, and a notice is deleted after it was accepted: if the
process is killed in between, the next one sends it with the same id. So each is sent at least once, unless it is
given up as too old, or dropped because too many wait.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from recvault.ledger.connection import Connection
from recvault.ledger.trouble import stored_time
from recvault.models import stamp

MOST = 1000  # waiting notices per channel, beyond which the oldest are dropped

NoticeKey = tuple[str, str]  # topic and subject


@dataclass(frozen=True, slots=True)
class NoticeState:
    """What is remembered about one subject with a problem."""

    since: datetime
    told: str = ""
    told_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NoticeChanges:
    """What to remember, to forget and to send."""

    states: Mapping[NoticeKey, NoticeState] = field(default_factory=dict)
    over: Collection[NoticeKey] = ()
    bodies: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.states or self.over or self.bodies)


@dataclass(frozen=True, slots=True)
class WaitingNotice:
    """A notice that a channel has not accepted yet."""

    id: int
    channel: str
    body: str
    noted_at: datetime
    attempts: int  # failed ones
    failures: int  # the most attempts of any waiting notice of its channel


class Notices:
    """The notices of one ledger. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def change(
        self,
        plan: Callable[[Mapping[NoticeKey, NoticeState]], NoticeChanges],
        channels: Collection[str],
        now: datetime,
    ) -> dict[str, int]:
        """Store a plan, and its notices for each channel; return how many old notices each has dropped.

        Plans again inside the transaction, so two processes that see the same change store it once. Nothing is written
        if nothing changed.
        """
        if not plan(self._states()):
            return {}
        with self._connection.write() as db:
            changes = plan(self._states())
            db.conn.executemany("DELETE FROM notice_states WHERE topic=? AND subject=?", list(changes.over))
            rows = [
                (*key, stamp(each.since), each.told, stamp(each.told_at) if each.told_at else None)
                for key, each in changes.states.items()
            ]
            db.conn.executemany("INSERT OR REPLACE INTO notice_states VALUES (?, ?, ?, ?, ?)", rows)
            new = [(channel, body, stamp(now), stamp(now)) for body in changes.bodies for channel in channels]
            db.conn.executemany(
                "INSERT INTO notices (channel, body, noted_at, next_attempt_at) VALUES (?, ?, ?, ?)", new
            )
            dropped = {each: int(db.execute(_DROP, {"channel": each, "most": MOST}).rowcount) for each in channels}
            return {channel: count for channel, count in dropped.items() if count}

    def due(self, channel: str, now: datetime) -> list[WaitingNotice]:
        """Return a channel's due notices; those with the fewest failures come first, so that one notice blocks no
        other."""
        with self._connection.read() as db:
            rows = list(db.query(_DUE, {"channel": channel, "now": stamp(now)}))
        return [
            WaitingNotice(
                row["id"], row["channel"], row["body"], stored_time(row["noted_at"]), row["attempts"], row["failures"]
            )
            for row in rows
        ]

    def waiting(self) -> dict[str, int]:
        """Return the number of waiting notices by channel."""
        with self._connection.read() as db:
            rows = db.query("SELECT channel, count(*) AS count FROM notices GROUP BY channel")
            return {row["channel"]: row["count"] for row in rows}

    def forget(self, notice: WaitingNotice) -> None:
        """Delete a notice that was accepted or is given up."""
        with self._connection.write() as db:
            db.execute("DELETE FROM notices WHERE id=?", [notice.id])

    def postpone(self, notice: WaitingNotice, until: datetime) -> None:
        """Count a failure, and let the whole channel wait until then."""
        with self._connection.write() as db:
            db.execute("UPDATE notices SET attempts=attempts+1 WHERE id=?", [notice.id])
            db.execute("UPDATE notices SET next_attempt_at=? WHERE channel=?", [stamp(until), notice.channel])

    def forget_channels(self, but: Iterable[str]) -> None:
        """Drop notices for channels that are no longer configured."""
        kept = set(but)
        with self._connection.read() as db:
            channels = [row["channel"] for row in db.query("SELECT DISTINCT channel FROM notices")]
        for channel in set(channels) - kept:
            with self._connection.write() as db:
                db.execute("DELETE FROM notices WHERE channel=?", [channel])

    def _states(self) -> dict[NoticeKey, NoticeState]:
        with self._connection.read() as db:
            rows = list(db.query("SELECT topic, subject, since, told, told_at FROM notice_states"))
        return {
            (row["topic"], row["subject"]): NoticeState(
                stored_time(row["since"]), row["told"], stored_time(row["told_at"]) if row["told_at"] else None
            )
            for row in rows
        }


# If the clock was set back, a notice stored in the future is due.
_DUE = """
    SELECT id, channel, body, noted_at, attempts,
        (SELECT max(attempts) FROM notices WHERE channel=:channel) AS failures
    FROM notices WHERE channel=:channel AND (next_attempt_at<=:now OR noted_at>:now) ORDER BY attempts, id LIMIT 100
"""
_DROP = """
    DELETE FROM notices WHERE channel=:channel AND id NOT IN (
        SELECT id FROM notices WHERE channel=:channel ORDER BY id DESC LIMIT :most
    )
"""
