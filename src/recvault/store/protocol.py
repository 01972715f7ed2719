"""What a store can do, whatever stands behind it. Keys are whole: prefix included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

SMALL_MOST = 4 << 20  # bytes of a small object: a sidecar, whose row a provider told in a page, comes nowhere near it


@dataclass(slots=True, kw_only=True)
class Put:
    """An object to write: its bytes from the start of `body`, and the proof of them. Nothing of it is changed."""

    key: str
    body: BinaryIO = field(repr=False)
    bytes: int
    sha256: str  # hex
    content_type: str
    metadata: Mapping[str, str]  # ASCII; holds the sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object as the store describes it."""

    key: str
    bytes: int
    sha256: str | None  # as its metadata say
    metadata: Mapping[str, str]


class ObjectStore(Protocol):
    """Raises StoreUnavailable, StoreRefused or ConfigError where the store as a whole is the trouble.

    KeyRefused, or Cold, where it is one key's: the store refuses that one, and takes others.
    """

    def put(self, put: Put) -> bool:
        """Write unless it stands there: False where the same bytes did. KeyConflict where others do."""

    def head(self, key: str) -> Stored | None:
        """Describe an object; None where there is none."""

    def get(self, key: str, most: int = SMALL_MOST) -> bytes | None:
        """A small object's bytes; None where there is none. TooLarge, and not read, where it has more than `most`."""

    def stream(self, key: str) -> Iterator[bytes]:
        """An object's bytes, in chunks."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """All objects under a prefix, in key order, without their metadata."""
