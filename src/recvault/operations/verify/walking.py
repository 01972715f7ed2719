"""Merge a listing with the ledger's rows: one group per recording that either of them knows.

All objects of a recording begin with its stem and a dot, so they are adjacent, but for those of another whose id
begins as this one's: such groups lie in each other. A group is given out when the walk has left its keys behind.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from recvault.archive import KeyParts, KeyTemplate
from recvault.ledger import Expected
from recvault.store import Listed


@dataclass(slots=True)
class Group:
    """What there is of one recording."""

    stem: str
    row: Expected | None = None
    sidecar: Listed | None = None
    parts: KeyParts | None = None  # None: nothing of it was listed
    media: list[Listed] = field(default_factory=list)


Foreign = Listed  # an object that is not of a recording


def walk(keys: KeyTemplate, listing: Iterable[Listed], rows: Iterable[Expected]) -> Iterator[Group | Foreign]:
    """Both must be in key order. Keeps only the groups that overlap at one key."""
    events: Iterable[Listed | Expected] = heapq.merge(listing, rows, key=_key)
    opened: list[Group] = []
    for each in events:
        key = _key(each)
        while opened and not key.startswith(f"{opened[-1].stem}."):
            yield opened.pop()
        parts = keys.read(key) if isinstance(each, Listed) else None
        if isinstance(each, Listed) and parts is None:
            yield each
            continue
        _add(opened, key.rpartition(".")[0], each, parts)
    yield from reversed(opened)


def _key(each: Listed | Expected) -> str:
    return each.key if isinstance(each, Listed) else each.sidecar_key


def _add(opened: list[Group], stem: str, each: Listed | Expected, parts: KeyParts | None) -> None:
    """To its group, which lies in those whose stems its own begins with."""
    group = next((found for found in opened if found.stem == stem), None)
    if group is None:
        group = Group(stem)
        opened.append(group)
    if isinstance(each, Expected):
        group.row = each
        return
    group.parts = parts
    if parts is not None and parts.is_sidecar:
        group.sidecar = each
    else:
        group.media.append(each)
