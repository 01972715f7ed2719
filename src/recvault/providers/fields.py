"""Read the fields of a recording from a row, by the keys and the readers that a provider names.

A date or an id that cannot be read costs the row. Anything else that cannot be read is None: `raw` keeps what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recvault.providers import values
from recvault.providers.base import UNREADABLE

Keys = str | tuple[str, ...]
"""A key of a row, with dots where it lies deeper ("call.id"); several are tried in turn until one tells something."""

Reader = Callable[[Any], Any]
Recipe = tuple[tuple[tuple[str, ...], ...], Reader]
"""Where a row tells a field, key below key, and how it is read."""

_REQUIRED = frozenset({"recording_id", "created_at"})
_READERS: Mapping[str, Reader] = {
    "created_at": values.moment,
    "started_at": values.moment_or_none,
    "ended_at": values.moment_or_none,
    "duration_seconds": values.length,
    "channels": values.whole,
    "price": values.number,
    "size_bytes": values.whole,
    "encryption": values.mapping,
}
"""All others are text."""


def recipes(fields: Mapping[str, Keys], readers: Mapping[str, Reader]) -> Mapping[str, Recipe]:
    """Of each field of `Recording` that a row tells; `readers` are the provider's own."""
    own = {name: read if name in _REQUIRED else _tolerant(read) for name, read in readers.items()}
    read_by = {**_READERS, **own}
    named = {name: (keys,) if isinstance(keys, str) else keys for name, keys in fields.items()}
    return {
        name: (tuple(tuple(key.split(".")) for key in keys), read_by.get(name, values.text))
        for name, keys in named.items()
    }


def told(row: Any, recipe: Recipe) -> Any:
    """Return the first readable, non-empty value of a row; None if there is none."""
    paths, read = recipe
    for path in paths:
        value = row
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if value not in (None, "") and (found := read(value)) is not None:
            return found
    return None


def _tolerant(read: Reader) -> Reader:
    def reading(value: Any) -> Any:
        try:
            return read(value)
        except UNREADABLE:
            return None

    return reading
