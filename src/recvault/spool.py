"""Where media wait between download and upload: in memory while small, past that in a nameless file on disk.

Invariant: all spools of a place together hold no more in memory than its `together`, however many workers there are.
The file has no name on disk, so a kill leaves nothing behind. A disk that is nearly full is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from recvault.errors import Unavailable

_TOGETHER = 24 * 1024**2
_LOOK_EVERY = 64 * 1024**2
_STEP = 64 * 1024
_KEPT, _KEPT_LARGEST = 8 * 1024**2, 1024**2  # bytes of mappings that wait for another use, and of the largest of them
_OWN = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_FILLED = _OWN | getattr(mmap, "MAP_POPULATE", 0)  # all pages at once: one by one, as they are met, each costs a fault


class SpoolFull(Unavailable):
    """The spool's disk has no room: a trouble of this machine, not of the recording."""


class SpoolTooSmall(SpoolFull):
    """No room would be enough for what is announced: one recording's matter, as its host may claim any length."""


class _Held:
    """How many bytes of memory all spools of a place hold."""

    def __init__(self) -> None:
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, size: int, most: int) -> bool:
        with self._lock:
            if size > 0 and self._bytes + size > most:
                return False
            self._bytes += size
            return True


class _Mappings:
    """Memory for spools, kept for the next ones: a new page costs a fault, which is most of what a small spool costs.

    Mapped, because what malloc is given back stays with the process.
    """

    def __init__(self) -> None:
        self._kept: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def take(self, size: int, *, is_told: bool) -> mmap.mmap:
        """Memory for so many bytes. Where they are announced all pages come at once, else each as it is met."""
        steps = -(-size // _STEP) * _STEP
        with self._lock:
            for mapping in self._kept:
                if len(mapping) == steps:
                    self._kept.remove(mapping)
                    mapping.seek(0)
                    return mapping
        return mmap.mmap(-1, steps, flags=_FILLED if is_told else _OWN)

    def give(self, mapping: mmap.mmap) -> None:
        """Keep it, or give it back to the system."""
        with self._lock:
            if len(mapping) <= _KEPT_LARGEST and sum(map(len, self._kept)) + len(mapping) <= _KEPT:
                self._kept.append(mapping)
                return
        with contextlib.suppress(BufferError):  # looked at still, by an error's traceback: it goes with that
            mapping.close()


class _InMemory(io.RawIOBase):
    """The bytes of a mapping that were written, as a file, or without a copy as a buffer."""

    def __init__(self, mapping: mmap.mmap, size: int) -> None:
        self._view = memoryview(mapping)[:size]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        found = self._view[self._at : self._at + len(into)]
        into[: len(found)] = found
        self._at += len(found)
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def getbuffer(self) -> memoryview:
        return self._view


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolPlace:
    """Where to spool, and how much."""

    directory: Path
    memory: int  # bytes of one recording that stay in memory
    min_free_disk: int
    together: int = _TOGETHER  # bytes of all recordings at once that stay in memory
    mappings: _Mappings = field(default_factory=_Mappings, repr=False, compare=False)
    _held: _Held = field(default_factory=_Held, repr=False, compare=False)

    def hold(self, size: int) -> bool:
        """Reserve memory for so many bytes, or say that there is none to spare."""
        return self._held.add(size, self.together)

    def free(self, size: int) -> None:
        """Give back what was reserved."""
        self._held.add(-size, self.together)


class Spool:
    """One medium's bytes, hashed as they are written. A context that frees them."""

    def __init__(self, place: SpoolPlace, expected: int | None) -> None:
        self._place = place
        self._digest = hashlib.sha256()
        self._look_at = 0  # bytes after which the disk's room is looked at again
        self._held = 0
        self._reader: _InMemory | None = None
        self.bytes = 0
        reserved = place.memory if expected is None else expected
        if 0 < reserved <= place.memory and place.hold(reserved):
            self._held = reserved
            self._file: IO[bytes] | mmap.mmap = place.mappings.take(reserved, is_told=expected is not None)
        else:
            self._check_room(expected or 0)
            self._file = self._on_disk()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, chunk: bytes) -> None:
        """Append and hash."""
        if self.bytes + len(chunk) > self._held > 0:
            self._move_to_disk()
        self.bytes += len(chunk)
        if self._held == 0 and self.bytes >= self._look_at:
            self._check_room(0)
        self._digest.update(chunk)
        with self._disk_errors():
            self._file.write(chunk)

    @property
    def sha256(self) -> str:
        """Hex, of all that was written."""
        return self._digest.hexdigest()

    @property
    def file(self) -> IO[bytes]:
        """The bytes, to be read from the start, once all are written."""
        if isinstance(self._file, mmap.mmap) and self._reader is None:
            self._reader = _InMemory(self._file, self.bytes)
        elif not isinstance(self._file, mmap.mmap):
            with self._disk_errors():
                self._file.flush()  # here, where a full disk is told as one: whoever seeks next would do it too
        return cast("IO[bytes]", self._reader or self._file)

    def close(self) -> None:
        """Free the memory or the file."""
        if isinstance(self._file, mmap.mmap):
            if self._held:  # once
                self._place.mappings.give(self._file)
        else:
            _close(self._file)
        self._place.free(self._held)
        self._held = 0

    def _on_disk(self) -> IO[bytes]:
        with self._disk_errors():
            return tempfile.TemporaryFile(dir=self._place.directory)

    def _move_to_disk(self) -> None:
        self._check_room(self.bytes)
        memory, file = self._file, self._on_disk()
        try:
            with self._disk_errors():
                file.write(memoryview(cast("mmap.mmap", memory))[: self.bytes])
        except SpoolFull:
            _close(file)
            raise
        self.close()
        self._file = file

    def _check_room(self, more: int) -> None:
        """Raise SpoolFull where so many bytes more would not leave min_free_disk; looked at as the file grows."""
        place = self._place
        self._look_at = self.bytes + _LOOK_EVERY
        with self._disk_errors():
            place.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk = shutil.disk_usage(place.directory)
        if disk.free - more < place.min_free_disk:
            kind = SpoolTooSmall if more > disk.total - place.min_free_disk else SpoolFull
            raise kind(
                f"the spool {place.directory} has {disk.free} bytes free and {more} more are due",
                f"free some: {place.min_free_disk} are always left (transfer.min_free_disk)",
            )

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SpoolFull(f"the spool {self._place.directory} cannot be used: {error.strerror}") from error


def _close(file: IO[bytes]) -> None:
    """Close it. What a full disk did not take is tried once more then, in vain, and nobody wants it."""
    with contextlib.suppress(OSError):
        file.close()
