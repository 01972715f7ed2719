"""What a store can do, whatever stands behind it. Keys are whole: prefix included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol

from recvault.errors import TooLarge
from recvault.store.facts import StoreFacts
from recvault.store.inspection import Inspection

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


def too_large(where: str, size: int) -> TooLarge:
    """The error for an object that is none of the small ones that are kept under such keys."""
    kind = "a sidecar" if where.endswith(".json") else "what recvault writes under its key"
    return TooLarge(
        f"{where} is too large to be {kind}: {size:,} bytes or more", "recvault did not write it: move it away"
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it."""

    key: str
    bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """An object without its bytes; its SHA-256 in hex, as the store itself keeps it and as its metadata say."""

    bytes: int
    kept: str | None = None
    noted: str | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """A small object, whole."""

    content: bytes
    noted: str | None  # its SHA-256 as its metadata say


class Reader(Protocol):
    """Many questions to one store, none of which changes anything. Thread-safe. Raises as ObjectStore does."""

    requests: Counter[str]
    """How often each kind of question was asked."""

    def listed(self, prefix: str, after: str = "", until: str | None = None) -> Iterator[Listed]:
        """The objects under a prefix whose keys are beyond `after` and below `until`, in key order."""

    def describe(self, key: str) -> Described | None:
        """An object's size and sums; None where there is none."""

    def get(self, key: str, most: int = SMALL_MOST) -> Body | None:
        """A small object; None where there is none. Raises Cold, and TooLarge where it has more than `most` bytes."""

    def digest(self, key: str) -> tuple[int, str] | None:
        """Read every byte of an object: how many there are, and their SHA-256. None where there is none; or Cold."""


class Bucket(ObjectStore, Protocol):
    """An archive's store as the commands open it: it also starts up, cleans up, and answers what `check` asks.

    A new kind of store is a folder with a class of this shape, and a line in app/opened_store.py.
    """

    facts: StoreFacts
    """What is known of what it does with a put."""

    @property
    def where(self) -> str:
        """Its address, for the operator."""

    def begin(self, *, known: bool, make: bool) -> None:
        """Raises unless it is the place of an archive. `known`: it was before; `make`: it may become one now."""

    def ask_facts(self, known: Put) -> StoreFacts:
        """Find out what it does with a put, by one known object."""

    def clear_unfinished(self, prefix: str, older_than: datetime) -> int:
        """Remove what a kill left half written, and was begun before a moment: how many there were."""

    def reader(self) -> Reader:
        """For many questions side by side."""

    def inspection(self, clock: Callable[[], datetime]) -> Inspection:
        """What `check` asks of this kind of store alone."""

    def delete(self, key: str) -> None:
        """Delete an object: `check` removes its own probe with this, archiving never calls it."""

    def close(self) -> None:
        """Close every connection."""
