"""Who carries what was registered under a source's name, once the configuration names its sources otherwise.

Invariant, at any time: a row is claimed by a source that can read it, or by none; what a source that is configured no
more left waiting is taken over by whoever lists its account now. Nothing is taken from a source that is configured, nor
from one that a living process works for, whatever configuration that one has.

Millions of rows may have to change: by an index where they wait, else by ranges of ids; in short transactions, with
pauses between them. Whatever cuts that short, the next pass goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from recvault.errors import ConfigError
from recvault.lateness import Late, late_fact, offered_fact
from recvault.ledger import slices
from recvault.ledger.connection import Connection
from recvault.ledger.leases import Owner
from recvault.ledger.questions import Feed
from recvault.models import stamp

Pause = Callable[[float], bool]  # waits so many seconds; True where a stop was asked for

_MOST = 500  # waiting rows that one transaction moves
_SPAN = 5000  # ids of settled rows that one transaction looks through
_EVER = "9999"  # a bound that is not known: later than any

_WAITING = """
    UPDATE recordings SET source=:to WHERE id IN (
        SELECT id FROM recordings WHERE source=:of AND account_id=:account AND next_attempt_at IS NOT NULL LIMIT :most
    )
"""
_SETTLED = """
    UPDATE recordings SET source=:to WHERE id > :after AND id <= :through AND source=:of AND account_id=:account
"""
_FINISH = (
    """
    UPDATE feeds AS mine SET
        watermark=max(coalesce(mine.watermark, old.watermark), coalesce(old.watermark, mine.watermark)),
        last_success_at=max(coalesce(mine.last_success_at, old.last_success_at),
                            coalesce(old.last_success_at, mine.last_success_at))
    FROM feeds AS old
    WHERE :sound AND mine.source=:to AND mine.account_id=:account
        AND old.source=:of AND old.account_id=:account AND old.list=mine.list
    """,
    """
    UPDATE OR IGNORE feeds SET source=:to, error=NULL, error_at=NULL, scan_started_at=NULL, closed_at=NULL
    WHERE :sound AND source=:of AND account_id=:account
    """,
    "DELETE FROM feeds WHERE source=:of AND account_id=:account",
    "UPDATE OR IGNORE quarantine SET source=:to WHERE source=:of AND account_id=:account",
    "DELETE FROM quarantine WHERE source=:of AND account_id=:account",
    """
    INSERT INTO days SELECT :to, account_id, day, recordings, bytes, last_at FROM days
    WHERE source=:of AND account_id=:account
    ON CONFLICT DO UPDATE SET recordings=recordings + excluded.recordings, bytes=bytes + excluded.bytes,
        last_at=max(last_at, excluded.last_at)
    """,
    "DELETE FROM days WHERE source=:of AND account_id=:account",
    "DELETE FROM tallies WHERE source=:of AND account_id=:account AND count=0",
)
_NAMES_OF_ACCOUNT = """
    SELECT source FROM tallies WHERE account_id=:account AND source <> :source
    UNION SELECT source FROM feeds WHERE account_id=:account AND source <> :source
"""
_ACCOUNTS_OF_NAME = """
    SELECT account_id FROM tallies WHERE source=:source
    UNION SELECT account_id FROM feeds WHERE source=:source
"""
_OPEN = """
    SELECT source, account_id, sum(count) FROM tallies
    WHERE state IN (SELECT value FROM json_each(?)) AND count > 0 GROUP BY source, account_id
"""
_ANY_ROW = "SELECT 1 FROM tallies WHERE source=:of AND account_id=:account AND count > 0"
_API = "SELECT api FROM recordings WHERE source=? AND account_id=? {} LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A configured source, as far as it decides which recordings are its own."""

    source: str
    provider: str
    api: str  # of its list
    apis: frozenset[str]  # of the recordings that it can read by their ids, that of its list among them
    account_id: str
    subaccounts: bool = False
    start_from: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a name stood for when it was last at work."""

    provider: str
    api: str
    account_id: str | None = None  # not known of a ledger of an earlier version
    subaccounts: bool = False
    start_from: str = _EVER  # everything older may be missing below its watermarks; "" for all history

    def suits(self, carrier: Carrier) -> bool:
        """Whether the carrier can read what is registered under this name."""
        return self.provider == carrier.provider and self.api in carrier.apis


@dataclass(frozen=True, slots=True)
class Stranded:
    """Recordings that wait, and nothing that is configured lists their account."""

    source: str
    provider: str
    account_id: str
    waiting: int

    @property
    def error(self) -> ConfigError:
        """What is wrong, and what to do."""
        recordings = "1 recording waits" if self.waiting == 1 else f"{self.waiting:,} recordings wait"
        return ConfigError(
            f"{recordings} under {self.source}, which is not in the configuration: nothing archives them",
            f"configure a source for the {self.provider} account {self.account_id} again; if it only has another name "
            f'now and the provider has no id for its account, write account = "{self.account_id}" there; '
            "`recvault failures accept` ends what can never be archived",
        )


class Succession:
    """Of an open ledger. Thread-safe."""

    def __init__(self, connection: Connection, owner: Owner) -> None:
        self._connection = connection
        self._owner = owner

    def begin(self, carriers: Sequence[Carrier], pause: Pause) -> None:
        """Declare what this process works for; set aside what stands under a name that means something else by now."""
        self._owner.declare([carrier.source for carrier in carriers])
        busy = self._owner.declared()
        for carrier in carriers:
            if carrier.source not in busy:
                self._begin(carrier, pause)

    def end(self) -> None:
        """This process works for no source any more: others may take over what waits."""
        self._owner.declare([])

    def take_over(self, feed: Feed, carriers: Sequence[Carrier], pause: Pause) -> list[str]:
        """Make what stands under vacant names in the account of this feed its source's own; those names."""
        carrier = next(each for each in carriers if each.source == feed.source)
        taken: list[str] = []
        with self._connection.read() as db:
            names = [name for (name,) in db.execute(_NAMES_OF_ACCOUNT, _of(feed)).fetchall()]
        for name in self._vacant(names, carriers):
            past = self._past(name) or self._learnt(name, feed.account_id)
            if past is None or not past.suits(carrier) or self._has_nearer(past, carrier, feed.account_id, carriers):
                continue
            for account_id in self._with(past, name, carrier, feed.account_id, carriers):
                if not self._move(name, account_id, carrier.source, pause, sound=_is_sound(past, carrier)):
                    return taken
            taken.append(name)
        return taken

    def stranded(self, carriers: Sequence[Carrier], *, dead: bool = False) -> list[Stranded]:
        """What waits under vacant names, and will be taken over by nobody; with what is dead there, if asked for."""
        states = ("pending", "failing", "not_ready", *(["dead"] if dead else []))
        with self._connection.read() as db:
            waiting = db.execute(_OPEN, [json.dumps(states)]).fetchall()
        vacant = set(self._vacant([name for name, _, _ in waiting], carriers))
        found = []
        for name, account_id, count in waiting:
            if name in vacant:
                past = self._past(name) or self._derived(name, account_id)
                if past is None or not self._heirs(past, name, account_id, carriers):
                    found.append(Stranded(name, past.provider if past else "", account_id, count))
        return found

    # -- whose it is ---------------------------------------------------------------------------------------------------

    def _with(self, past: Past, name: str, carrier: Carrier, account_id: str, carriers: Sequence[Carrier]) -> list[str]:
        """An account, and what only showed in its list; with a main account those below it, closed ones too."""
        others = self._unlisted_accounts(name)
        if past.subaccounts and carrier.subaccounts and past.account_id == account_id == carrier.account_id:
            others = self._accounts(name) - {each.account_id for each in carriers}
        return [account_id, *sorted(others - {account_id})]

    def _vacant(self, names: Sequence[str], carriers: Sequence[Carrier]) -> list[str]:
        configured = {carrier.source for carrier in carriers}
        others = [name for name in names if name not in configured]
        busy = self._owner.declared() if others else frozenset()
        return [name for name in others if name not in busy]

    def _heirs(self, past: Past, name: str, account_id: str, carriers: Sequence[Carrier]) -> list[Carrier]:
        """Who lists that account; of one that was met in another's list, who lists that other."""
        listed = self._listed_accounts(name)
        accounts = {account_id} if account_id in listed or not listed else listed
        return [
            each
            for each in carriers
            if past.suits(each)
            and (each.account_id in accounts or (each.subaccounts and accounts & self._listed_accounts(each.source)))
        ]

    def _has_nearer(self, past: Past, carrier: Carrier, account_id: str, carriers: Sequence[Carrier]) -> bool:
        """Another source lists the same account by the very API: its rows tell more."""
        if past.api == carrier.api:
            return False
        return any(
            past.provider == each.provider
            and past.api == each.api
            and (each.account_id == account_id or account_id in self._listed_accounts(each.source))
            for each in carriers
        )

    def _listed_accounts(self, name: str) -> set[str]:
        with self._connection.read() as db:
            rows = db.execute(
                "SELECT account_id FROM feeds WHERE source=? AND list='account' AND closed_at IS NULL", [name]
            )
            return {account_id for (account_id,) in rows.fetchall()}

    def _accounts(self, name: str) -> set[str]:
        with self._connection.read() as db:
            return {account_id for (account_id,) in db.execute(_ACCOUNTS_OF_NAME, {"source": name}).fetchall()}

    def _unlisted_accounts(self, name: str) -> set[str]:
        """Accounts that only showed in the lists of others."""
        with self._connection.read() as db:
            rows = db.execute("SELECT DISTINCT account_id FROM feeds WHERE source=?", [name]).fetchall()
        return self._accounts(name) - {account_id for (account_id,) in rows}

    # -- what a name stood for -----------------------------------------------------------------------------------------

    def _begin(self, carrier: Carrier, pause: Pause) -> None:
        past = self._past(carrier.source)
        now = _past_of(carrier)
        if past is not None and replace(past, start_from=now.start_from) == now:
            now = replace(now, start_from=max(past.start_from, now.start_from))
        else:
            for account_id in self._accounts(carrier.source):
                stood = past or self._derived(carrier.source, account_id)
                if stood is not None and not self._is_kept(stood, carrier, account_id):
                    aside = f"{carrier.source} ({stood.provider} {stood.api})"
                    self._remember(aside, stood)
                    if not self._move(carrier.source, account_id, aside, pause, sound=True):
                        return
            if past is None and self._accounts(carrier.source):
                now = replace(now, start_from=_EVER)  # by an earlier version, which did not remember
        if now != past:
            self._remember(carrier.source, now)

    def _is_kept(self, past: Past, carrier: Carrier, account_id: str) -> bool:
        if not past.suits(carrier):
            return False
        listed = self._listed_accounts(carrier.source)
        same = past.account_id == carrier.account_id if past.account_id else carrier.account_id in listed
        return account_id == carrier.account_id or (same and (carrier.subaccounts or account_id not in listed))

    def _past(self, name: str) -> Past | None:
        with self._connection.read() as db:
            row = db.execute("SELECT value FROM facts WHERE name=?", [_fact(name)]).fetchone()
        return Past(**json.loads(row[0])) if row else None

    def _remember(self, name: str, past: Past) -> None:
        with self._connection.write() as db:
            _put(db, _fact(name), json.dumps(asdict(past)))

    def _learnt(self, name: str, account_id: str) -> Past | None:
        past = self._derived(name, account_id)
        if past is not None:
            self._remember(name, past)  # settled rows alone may be far to seek: once
        return past

    def _derived(self, name: str, account_id: str) -> Past | None:
        """What a name stood for, by its rows: of a ledger of an earlier version. None where it has none."""
        if not self._has_rows({"of": name, "account": account_id}):
            return None
        with self._connection.read() as db:
            provider = db.execute("SELECT provider FROM feeds WHERE source=? LIMIT 1", [name]).fetchone()
            for waits in ("AND next_attempt_at IS NOT NULL", ""):
                if api := db.execute(_API.format(waits), [name, account_id]).fetchone():
                    return Past(provider=provider[0] if provider else "", api=api[0])
        return None

    # -- moved ---------------------------------------------------------------------------------------------------------

    def _move(self, of: str, account_id: str, to: str, pause: Pause, *, sound: bool) -> bool:
        """Everything of an account; False where a stop came before its end. `sound`: its watermarks hold there too."""
        names: dict[str, Any] = {"of": of, "to": to, "account": account_id, "most": _MOST, "sound": sound}
        if not self._move_rows(names, pause):
            return False
        with self._connection.write() as db:
            _move_slices(db, names)
            _move_lateness(db, names)
            for statement in _FINISH:
                db.execute(statement, names)
            if not db.execute(_ACCOUNTS_OF_NAME, {"source": of}).fetchone():
                closing = [f"closing:{to}", f"closing:{of}"]  # what is known of sub-accounts that were closed
                db.execute("UPDATE OR IGNORE facts SET name=? WHERE name=?", closing)
                db.execute("DELETE FROM facts WHERE name IN (?, ?)", [_fact(of), closing[1]])
        return True

    def _move_rows(self, names: dict[str, Any], pause: Pause) -> bool:
        """What waits first, then what is settled."""
        moved = -1
        while moved:
            moved, stopped = self._step(_WAITING, names, pause)
            if stopped:
                return False
        with self._connection.read() as db:
            [last] = db.execute("SELECT coalesce(max(id), 0) FROM recordings").fetchone()
        for after in range(0, last, _SPAN):
            if not self._has_rows(names):
                break
            if self._step(_SETTLED, {**names, "after": after, "through": after + _SPAN}, pause)[1]:
                return False
        return True

    def _step(self, change: str, names: dict[str, Any], pause: Pause) -> tuple[int, bool]:
        """How many rows it moved, and whether a stop came. It waits as long as it took: another process's turn."""
        began = time.monotonic()
        with self._connection.write() as db:
            moved = int(db.execute(change, names).rowcount)
        return moved, pause(time.monotonic() - began) if moved else False

    def _has_rows(self, names: dict[str, Any]) -> bool:
        with self._connection.read() as db:
            return db.execute(_ANY_ROW, names).fetchone() is not None


def _move_slices(db: Database, names: dict[str, Any]) -> None:
    """Each list's, merged with what the new source has read."""
    lists = db.execute("SELECT DISTINCT list FROM slices WHERE source=:of AND account_id=:account", names).fetchall()
    for (each,) in lists:
        old = Feed(names["of"], "", names["account"], each)
        if names["sound"]:
            for done in slices.read(db, old):
                slices.add(db, replace(old, source=names["to"]), done)
        slices.forget(db, old)


def _move_lateness(db: Database, names: dict[str, Any]) -> None:
    of, to = (late_fact(names[each], names["account"]) for each in ("of", "to"))
    known = dict(db.execute("SELECT name, value FROM facts WHERE name IN (?, ?)", [of, to]).fetchall())
    offered = [offered_fact(names[each], names["account"]) for each in ("to", "of")]
    db.execute("UPDATE OR IGNORE facts SET name=? WHERE name=?", offered)
    db.execute("DELETE FROM facts WHERE name=?", offered[1:])
    if of in known:
        late = Late.from_json(known[of])
        _put(db, to, (late + Late.from_json(known[to]) if to in known else late).to_json())
        db.execute("DELETE FROM facts WHERE name=?", [of])


def _put(db: Database, name: str, value: str) -> None:
    db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value=excluded.value", [name, value])


def _past_of(carrier: Carrier) -> Past:
    return Past(
        provider=carrier.provider,
        api=carrier.api,
        account_id=carrier.account_id,
        subaccounts=carrier.subaccounts,
        start_from=stamp(carrier.start_from) if carrier.start_from else "",
    )


def _is_sound(past: Past, carrier: Carrier) -> bool:
    """A watermark holds for the same list alone, and where that one was to archive no less."""
    return past.api == carrier.api and past.start_from <= _past_of(carrier).start_from


def _fact(name: str) -> str:
    return f"carrier:{name}"


def _of(feed: Feed) -> dict[str, str]:
    return {"source": feed.source, "account": feed.account_id}
