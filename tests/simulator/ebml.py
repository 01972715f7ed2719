"""Walk an EBML tree, enough to check every size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Element:
    """One element and its content."""

    id: int
    body: bytes


def children(content: bytes) -> list[Element]:
    """Return the elements that exactly fill these bytes."""
    found, place = [], 0
    while place < len(content):
        width = 9 - content[place].bit_length()
        identity = int.from_bytes(content[place : place + width], "big")
        place += width
        width = 9 - content[place].bit_length()
        size = int.from_bytes(content[place : place + width], "big") & ((1 << (7 * width)) - 1)
        place += width
        assert place + size <= len(content), f"element {identity:x} overruns its parent"
        found.append(Element(identity, content[place : place + size]))
        place += size
    return found


def find(content: bytes, *path: int) -> bytes:
    """Return the content of the first element at this path."""
    for identity in path:
        content = next(element.body for element in children(content) if element.id == identity)
    return content
