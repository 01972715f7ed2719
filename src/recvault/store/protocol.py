"""The interface of every kind of store. Keys are complete: they include the prefix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO, Protocol

from recvault.errors import TooLarge
from recvault.store.facts import StoreFacts
from recvault.store.inspection import Inspection
from recvault.store.removal import Remover

if TYPE_CHECKING:
    from recvault.store.s3.bounds import Sink

SMALL_MOST = 4 << 20  # bytes; limit of a small object. A sidecar holds one row of a provider's page, far below it


@dataclass(frozen=True, slots=True)
class Origin:
    """An object of another bucket, in one of its versions: unchanged as long as its ETag is this."""

    bucket: str
    key: str
    etag: str  # without quotes

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(slots=True, kw_only=True)
class Put:
    """An object to write: its bytes from the start of `body`, and their checksum. Must not be modified.

    `origin`: an object with the same bytes. A store that can reach it copies it, and reads nothing of `body`.
    """

    key: str
    body: BinaryIO = field(repr=False)
    bytes: int
    sha256: str  # hex
    content_type: str
    metadata: Mapping[str, str]  # ASCII; holds the sha256
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object as the store describes it."""

    key: str
    bytes: int
    sha256: str | None  # from its metadata
    metadata: Mapping[str, str]


class ObjectStore(Protocol):
    """Raises StoreUnavailable, StoreRefused or ConfigError if the whole store is affected.

    Raises KeyRefused or Cold if only one key is affected: the store refuses it, but accepts others.
    """

    def put(self, put: Put) -> bool:
        """Write unless the key exists. False if it holds the same bytes; raises KeyConflict if it holds others."""

    def head(self, key: str) -> Stored | None:
        """Describe an object; None if it does not exist."""

    def get(self, key: str, most: int = SMALL_MOST) -> bytes | None:
        """Return a small object's bytes; None if it does not exist. Above `most` bytes: TooLarge, unread."""

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes in chunks."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield all objects under a prefix, in key order, without their metadata."""


def too_large(where: str, size: int) -> TooLarge:
    """Return the error for an object that is too large to be one of recvault's small objects."""
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
    """An object without its bytes. `kept`: the store's own SHA-256, `noted`: the one in its metadata; both hex."""

    bytes: int
    kept: str | None = None
    noted: str | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """A complete small object."""

    content: bytes
    noted: str | None  # the SHA-256 in its metadata


@dataclass(frozen=True, slots=True)
class ObjectPart:
    """A part of an object: empty if it begins past the object's end."""

    content: bytes = field(repr=False)
    whole: int  # the object's size in bytes


class Reader(Protocol):
    """Read-only access to a store, for many requests. Thread-safe. Raises the same errors as ObjectStore."""

    requests: Counter[str]
    """Number of requests made, by kind."""

    def listed(self, prefix: str, after: str = "", until: str | None = None) -> Iterator[Listed]:
        """Yield the objects under a prefix with keys after `after` and before `until`, in key order."""

    def describe(self, key: str) -> Described | None:
        """Return an object's size and checksums; None if it does not exist."""

    def get(self, key: str, most: int = SMALL_MOST) -> Body | None:
        """Return a small object; None if it does not exist. Raises Cold, and TooLarge above `most` bytes."""

    def digest(self, key: str) -> tuple[int, str] | None:
        """Read a whole object and return its size and SHA-256; None if it does not exist. Raises Cold."""

    def part(self, key: str, start: int, size: int) -> ObjectPart | None:
        """Return at most `size` bytes of an object from `start`; None if it does not exist. Raises Cold."""

    def url(self, key: str, seconds: int) -> str:
        """Return a URL by which anyone may read an object for so long. No request is made."""


class Foreign(Protocol):
    """A bucket that others write. It is only read. Raises the same errors as ObjectStore."""

    bucket: str

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects under a prefix, in key order."""

    def read(self, key: str, sink: Sink) -> Origin | None:
        """Read a whole object into a sink, and return which one it was; None if it does not exist. Raises Cold."""

    def close(self) -> None:
        """Close every connection."""


class Replacer(Protocol):
    """Writes the objects that are derived and replaced, such as the catalog's. A version is opaque."""

    def version(self, key: str) -> str | None:
        """Return an object's version; None if it does not exist."""

    def fetch(self, key: str, into: BinaryIO) -> str | None:
        """Write an object to a file and return its version; None if it does not exist."""

    def replace(self, put: Put, version: str | None) -> bool:
        """Write in place of this version; None: only if there is none. False: another writer was first."""


class Bucket(ObjectStore, Protocol):
    """An archive's store as the commands open it: also handles startup, cleanup and the questions of `check`.

    To add a kind of store, add a folder with such a class, and a line in app/opened_store.py.
    """

    facts: StoreFacts
    """How it is known to handle a put."""

    @property
    def where(self) -> str:
        """Its address, to show to the operator."""

    def begin(self, *, known: bool, make: bool) -> None:
        """Raises unless it holds an archive. `known`: it held one before; `make`: one may be created now."""

    def ask_facts(self, known: Put) -> StoreFacts:
        """Test how it handles a put, using one known object."""

    def clear_unfinished(self, prefix: str, older_than: datetime) -> int:
        """Remove incomplete writes (left by a kill) begun before `older_than`; return how many."""

    def reader(self) -> Reader:
        """Return a reader for many concurrent requests."""

    def replacer(self, retention_days: int | None = None) -> Replacer:
        """Return what replaces objects. `retention_days`: each version is locked that long, not by the default."""

    def remover(self) -> Remover:
        """Return what custody's commands delete and hold by."""

    def inspection(self, clock: Callable[[], datetime]) -> Inspection:
        """Return the questions of `check` that are specific to this kind of store."""

    def delete(self, key: str) -> None:
        """Delete an object. Used by `check` to remove its probe; archiving never calls it."""

    def close(self) -> None:
        """Close every connection."""
