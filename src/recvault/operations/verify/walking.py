"""Merge a listing with the ledger's rows into groups, one per recording that either of them knows.

All objects of a recording begin with its stem and a dot, so they are adjacent, except that those of a recording whose
stem begins so lie between them: such groups are nested. A group is yielded when the walk has passed its keys.
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
    """All that was found of one recording."""

    stem: str
    row: Expected | None = None
    sidecar: Listed | None = None
    parts: KeyParts | None = None  # None: nothing was listed
    media: list[Listed] = field(default_factory=list)


Foreign = Listed  # an object of no recording


def walk(keys: KeyTemplate, listing: Iterable[Listed], rows: Iterable[Expected]) -> Iterator[Group | Foreign]:
    """Merge both, which must be in key order. Keeps only the groups that overlap at one key."""
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
    """Add an object or row to its group, opened inside those whose stems its own begins with."""
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
