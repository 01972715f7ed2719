"""Decide which source takes over recordings that were registered under an earlier source name.

Invariant, at any time: a row is claimed only by a source that can read it. What a source that is no longer configured
left open is taken over by the source that lists its account now. Nothing is taken from a configured source, nor from
one that a living process works for, whatever that process's configuration.

Open recordings are moved before anything is listed; settled ones for a few seconds a round, until all are moved.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from recvault.errors import ConfigError
from recvault.ledger.connection import Connection
from recvault.ledger.feeds import Feed
from recvault.ledger.leases import Owner
from recvault.ledger.moves import Move, Pause, carrier_fact, has_rows, put_fact
from recvault.models import stamp

_SETTLED_SECONDS = 5.0  # spent on settled rows in each round, before the lists are read
_EVER = "9999"  # stands for an unknown bound: later than any

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
_API = "SELECT provider, api FROM recordings WHERE source=? AND account_id=? {} LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A configured source, as far as it decides which recordings belong to it."""

    source: str
    provider: str
    api: str  # of its list
    apis: frozenset[str]  # of the recordings that it can read by id, including that of its list
    account_id: str
    subaccounts: bool = False
    start_from: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a source name meant when it was last used."""

    provider: str
    api: str
    account_id: str | None = None  # unknown in a ledger of an earlier version
    subaccounts: bool = False
    start_from: str = _EVER  # older recordings may be missing below its watermarks; "": all history

    def suits(self, carrier: Carrier) -> bool:
        """Whether the carrier can read what is registered under this name."""
        return self.provider == carrier.provider and self.api in carrier.apis


@dataclass(frozen=True, slots=True)
class Stranded:
    """Open recordings of an account that no configured source lists."""

    source: str
    provider: str
    account_id: str
    waiting: int

    @property
    def error(self) -> ConfigError:
        """The problem and its remedy."""
        recordings = "1 recording waits" if self.waiting == 1 else f"{self.waiting:,} recordings wait"
        return ConfigError(
            f"{recordings} under {self.source}, which is not in the configuration, so they are not archived",
            f"configure a source for the {self.provider} account {self.account_id} again; if the source was only "
            f'renamed and the provider has no account id, set account = "{self.account_id}" there; '
            "use `recvault failures accept` for recordings that can never be archived",
        )


class Succession:
    """Successions in an open ledger. Thread-safe."""

    def __init__(self, connection: Connection, owner: Owner) -> None:
        self._connection = connection
        self._owner = owner

    def begin(self, carriers: Sequence[Carrier], pause: Pause) -> None:
        """Declare this process's sources; set aside rows under a name that now means something else."""
        self._owner.declare([carrier.source for carrier in carriers])
        busy = self._owner.declared()
        for carrier in carriers:
            if carrier.source not in busy:
                self._begin(carrier, pause)

    def end(self) -> None:
        """Declare that this process no longer works for any source: others may take over what is open."""
        self._owner.declare([])

    def take_over(self, feed: Feed, carriers: Sequence[Carrier], pause: Pause) -> list[str]:
        """Take over what this feed's account has under vacant names; return the names that were moved completely."""
        carrier = next(each for each in carriers if each.source == feed.source)
        taken: list[str] = []
        with self._connection.read() as db:
            names = [name for (name,) in db.execute(_NAMES_OF_ACCOUNT, _of(feed)).fetchall()]
        for name in self._vacant(names, carriers):
            past = self._past(name) or self._learnt(name, feed.account_id)
            if past is None or not past.suits(carrier) or self._has_nearer(past, carrier, feed.account_id, carriers):
                continue
            accounts = self._with(past, name, carrier, feed.account_id, carriers)
            sound = _is_sound(past, carrier)
            moves = [Move(self._connection, name, carrier.source, each, pause, sound=sound) for each in accounts]
            if all(move.waiting() for move in moves) and all(move.settled(_SETTLED_SECONDS) for move in moves):
                taken.append(name)
        return taken

    def stranded(self, carriers: Sequence[Carrier], *, dead: bool = False) -> list[Stranded]:
        """Return what is open under vacant names and no source will take over; with dead recordings if `dead`."""
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
        """Return the account and those only seen in its list; for a main account also those below, even closed ones."""
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
        """Return the carriers that list the account; if it was only seen in others' lists, those that list these."""
        listed = self._listed_accounts(name)
        accounts = {account_id} if account_id in listed or not listed else listed
        return [
            each
            for each in carriers
            if past.suits(each)
            and (each.account_id in accounts or (each.subaccounts and accounts & self._listed_accounts(each.source)))
        ]

    def _has_nearer(self, past: Past, carrier: Carrier, account_id: str, carriers: Sequence[Carrier]) -> bool:
        """Whether another source lists the same account by the same API as before: its rows have more."""
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
        """Return the accounts that were only seen in the lists of others."""
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
                    move = Move(self._connection, carrier.source, aside, account_id, pause, sound=True)
                    if not (move.waiting() and move.settled(math.inf)):
                        return
            if past is None and self._accounts(carrier.source):
                now = replace(now, start_from=_EVER)  # registered by an earlier version, which stored no bound
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
            row = db.execute("SELECT value FROM facts WHERE name=?", [carrier_fact(name)]).fetchone()
        return Past(**json.loads(row[0])) if row else None

    def _remember(self, name: str, past: Past) -> None:
        with self._connection.write() as db:
            put_fact(db, carrier_fact(name), json.dumps(asdict(past)))

    def _learnt(self, name: str, account_id: str) -> Past | None:
        past = self._derived(name, account_id)
        if past is not None:
            self._remember(name, past)  # stored, as the search through settled rows may be long
        return past

    def _derived(self, name: str, account_id: str) -> Past | None:
        """Derive from its rows what a name meant, for a ledger of an earlier version. None if it has no rows."""
        with self._connection.read() as db:
            if not has_rows(db, name, account_id):
                return None
            for waits in ("AND next_attempt_at IS NOT NULL", ""):
                if found := db.execute(_API.format(waits), [name, account_id]).fetchone():
                    return Past(provider=found[0], api=found[1])
        return None


def _past_of(carrier: Carrier) -> Past:
    return Past(
        provider=carrier.provider,
        api=carrier.api,
        account_id=carrier.account_id,
        subaccounts=carrier.subaccounts,
        start_from=stamp(carrier.start_from) if carrier.start_from else "",
    )


def _is_sound(past: Past, carrier: Carrier) -> bool:
    """Whether the old watermarks are valid: for the same list, if that one had to archive no less."""
    return past.api == carrier.api and past.start_from <= _past_of(carrier).start_from


def _of(feed: Feed) -> dict[str, str]:
    return {"source": feed.source, "account": feed.account_id}
