"""Detect one account under two names: if the provider has no id for it, its recordings would be registered twice.

Invariant: a recording that is known under one such name is never registered under another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from recvault.errors import ConfigError
from recvault.ledger.database import Database
from recvault.ledger.feeds import Feed
from recvault.models import Recording, stamp

_UNIQUE = 16  # an id of at least this many characters is unique beyond its account
_EACH = 5  # recordings of each other account that are looked up: some may be deleted
_NEWEST = 200_000  # rows that are searched for them

_OTHERS = "SELECT DISTINCT account_id FROM feeds WHERE provider=? AND account_id <> ?"
_OWN = "SELECT 1 FROM tallies WHERE account_id=? AND count > 0"
_SAMPLES = """
    SELECT recording_id, created_at FROM recordings
    WHERE id > (SELECT max(id) FROM recordings) - ? AND account_id=? AND provider=? ORDER BY id DESC LIMIT ?
"""
_KNOWN = """
    SELECT recording_id, account_id, created_at FROM recordings
    WHERE recording_id IN (SELECT value FROM json_each(?)) AND provider=?
"""


@dataclass(frozen=True, slots=True)
class Namesake:
    """A recording that is known under another account name."""

    account_id: str
    recording_id: str
    created_at: str


def samples(db: Database, feed: Feed) -> list[Namesake]:
    """Return recordings of the provider's other accounts, newest first; none if this account has any of its own."""
    if db.execute(_OWN, [feed.account_id]).fetchone():
        return []
    others = db.execute(_OTHERS, [feed.provider, feed.account_id]).fetchall()
    return [
        Namesake(account_id, recording_id, created_at)
        for (account_id,) in others
        for recording_id, created_at in db.execute(_SAMPLES, [_NEWEST, account_id, feed.provider, _EACH]).fetchall()
    ]


def refuse(db: Database, feed: Feed, listed: Sequence[Recording]) -> None:
    """Raise ConfigError if a named account lists recordings that are known only under another name."""
    ids = json.dumps([recording.recording_id for recording in listed])
    known = [
        Namesake(account_id, name, created) for name, account_id, created in db.execute(_KNOWN, [ids, feed.provider])
    ]
    own = {each.recording_id for each in known if each.account_id == feed.account_id}
    others = {each.recording_id: each for each in known if each.recording_id not in own}
    for recording in listed:
        other = others.get(recording.recording_id)
        if other is not None and recording.account_id == feed.account_id and is_same(other, recording):
            raise renamed(feed, other.account_id, recording.recording_id)


def is_same(known: Namesake, found: Recording) -> bool:
    """Whether equal ids mean one recording: a short id may be a number that each account counts by itself."""
    return len(known.recording_id) >= _UNIQUE or known.created_at == stamp(found.created_at)


def renamed(feed: Feed, other: str, recording_id: str) -> ConfigError:
    """Return the error, with the line of configuration that fixes it."""
    return ConfigError(
        f"{feed.source} lists recordings that are already known under the {feed.provider} account {other}, such as "
        f"{recording_id}: as account {feed.account_id} all of them would be archived again",
        f'add account = "{other}" to the [[sources]] entry {feed.source}',
    )
