"""Read the fields of a recording from a row, by the keys and readers that a provider declares.

A row is rejected if its date or id cannot be read, or if a text holds invalid bytes. Any other unreadable value is
None; `raw` keeps what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recvault.providers import values
from recvault.providers.base import UNREADABLE

Keys = str | tuple[str, ...]
"""A row's key, with dots for nested ones ("call.id"); of several, the first with a value is used."""

Reader = Callable[[Any], Any]
Recipe = tuple[tuple[tuple[str, ...], ...], Reader]
"""The paths of a field in a row, and its reader."""

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
"""All other fields are text."""


def recipes(fields: Mapping[str, Keys], readers: Mapping[str, Reader]) -> Mapping[str, Recipe]:
    """Return the recipe of each field of `Recording` in `fields`; `readers` are the provider's own."""
    own = {name: read if name in _REQUIRED else _tolerant(read) for name, read in readers.items()}
    read_by = {**_READERS, **own}
    named = {name: (keys,) if isinstance(keys, str) else keys for name, keys in fields.items()}
    return {
        name: (tuple(tuple(key.split(".")) for key in keys), read_by.get(name, values.text))
        for name, keys in named.items()
    }


def told(row: Any, recipe: Recipe) -> Any:
    """Return the first non-empty value of a row that the reader accepts; None if there is none."""
    paths, read = recipe
    for path in paths:
        value = row
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None and value != "" and (found := read(value)) is not None:
            return found
    return None


def _tolerant(read: Reader) -> Reader:
    def reading(value: Any) -> Any:
        try:
            return read(value)
        except UNREADABLE:
            return None

    return reading
