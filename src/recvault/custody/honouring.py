"""Honour the bucket's tombstones in a ledger: what is erased is never listed, retried, repaired or fetched again.

One listing of `erasures/` a pass. Only tombstones that the ledger does not know yet are read.
"""

from __future__ import annotations

from datetime import datetime

from recvault.custody.records import Records
from recvault.custody.tombstones import Identity, Tombstone, Tombstones, identity_of, read_tombstone
from recvault.ledger import Ledger
from recvault.log.lines import get_logger
from recvault.models import JSON

log = get_logger("recvault.custody")


def honour(ledger: Ledger, records: Records, now: datetime) -> Tombstones:
    """Erase in the ledger what the bucket's tombstones name; return them. Raises what bucket and ledger raise."""
    stones = Tombstones.listed(records)
    due, left = list[tuple[str, Identity]](), list[Tombstone]()
    for path in ledger.custody.unburied(list(stones)):
        identity = identity_of(path)
        if stones.is_open(path) or identity is None:
            stone = read_tombstone(records, path)
            if stone is None:
                continue
            if stone.is_refused and stones.is_open(path):
                left.append(stone)
                continue
            identity = stone.identity
        due.append((path, identity))
    if due:
        burial = ledger.custody.bury(due, now)
        if burial.known:
            ledger.custody.scrub()
            log.warning("erasures.honoured", recordings=burial.known)
    known = {path for path in stones.open if path not in {each.path for each in left}}
    ledger.custody.note_open(
        [*(_kept(each) for each in left), *({"path": path, "why": "not complete"} for path in known)]
    )
    return stones


def in_force(records: Records) -> Tombstones:
    """Return the tombstones that are honoured: those of recordings that something keeps are not, until it is done."""
    stones = Tombstones.listed(records)
    refused = {
        path for path in stones.open if (found := read_tombstone(records, path)) is not None and found.is_refused
    }
    return Tombstones(stones.paths - refused)


def _kept(stone: Tombstone) -> JSON:
    first = next((each for each in stone.document["refused"] if isinstance(each, dict)), {})
    return {"path": stone.path, "why": first.get("why"), "until": first.get("until")}
