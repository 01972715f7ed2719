"""Media between download and upload: small ones in memory, larger ones in an unnamed file on disk.

Invariant: all spools of a place together use no more memory than its `together`, however many workers there are. The
file has no name, so a kill leaves nothing behind. A nearly full disk is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from recvault.errors import Translation, Unavailable

_TOGETHER = 24 * 1024**2
_LOOK_EVERY = 64 * 1024**2
_STEP = 64 * 1024
_BLOCK = 256 * 1024  # bytes to hash and walk at once: libcurl delivers 16 KiB
_KEPT = 12 * 1024**2  # bytes kept for reuse
_OWN = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_FILLED = _OWN | getattr(mmap, "MAP_POPULATE", 0)  # maps all pages at once: otherwise each costs a fault


class SpoolFull(Unavailable):
    """The spool's disk has no room: a problem of this machine, not of the recording."""


class SpoolTooSmall(SpoolFull):
    """The announced length never fits on this disk: fails only that recording, as its host may claim any length."""


class _Memory:
    """Memory for spools, kept for reuse: new pages cost more than a small spool does otherwise.

    Mapped, because memory returned to malloc stays with the process.
    """

    def __init__(self) -> None:
        self._used = 0  # bytes
        self._kept: list[mmap.mmap] = []  # in the order of their return
        self._lock = threading.Lock()

    def take(self, size: int, most: int, *, is_told: bool) -> mmap.mmap | None:
        """Return at least so many bytes; None if all spools together would use more than `most`.

        If the size is announced, all pages are mapped at once, otherwise each on first use.
        """
        steps = -(-size // _STEP) * _STEP
        with self._lock:
            fitting = [each for each in self._kept if steps <= len(each) <= 2 * steps]
            found = min(fitting, key=len, default=None)
            if self._used + (len(found) if found is not None else steps) > most:
                return None
            if found is not None:
                self._kept.remove(found)
                self._used += len(found)
                found.seek(0)
                return found
            while self._kept and self._used + sum(map(len, self._kept)) + steps > most:
                _unmap(self._kept.pop(0))
            self._used += steps
        return mmap.mmap(-1, steps, flags=_FILLED if is_told else _OWN)

    def give(self, mapping: mmap.mmap) -> None:
        """Keep it for reuse, or return it to the system."""
        with self._lock:
            self._used -= len(mapping)
            self._kept.append(mapping)
            while sum(map(len, self._kept)) > _KEPT:
                _unmap(self._kept.pop(0))


class _InMemory(io.RawIOBase):
    """The written bytes of a mapping, as a file, or without a copy as a buffer."""

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
        return self._view[:]  # the caller may release it without releasing ours


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolPlace:
    """Where to spool, and how much."""

    directory: Path
    memory: int  # bytes of one recording that stay in memory
    min_free_disk: int
    together: int = _TOGETHER  # bytes of all recordings at once that stay in memory
    _memory: _Memory = field(default_factory=_Memory, repr=False, compare=False)

    def take(self, size: int, *, is_told: bool) -> mmap.mmap | None:
        """Return memory for so many bytes; None if that is too much for one spool, or if none is free."""
        return self._memory.take(size, self.together, is_told=is_told) if 0 < size <= self.memory else None

    def give(self, mapping: mmap.mmap) -> None:
        """Give back what was taken."""
        self._memory.give(mapping)


class Spool:
    """One medium's bytes, hashed as they arrive. A context that frees them.

    `walk` gets all bytes once, in order, in blocks that are invalid after the call. Its errors reach the caller that
    writes, or reads the hash.
    """

    def __init__(
        self, place: SpoolPlace, expected: int | None, walk: Callable[[memoryview], None] | None = None
    ) -> None:
        self._place, self._walk = place, walk
        self._disk_errors = _DiskErrors(place.directory)
        self._digest = hashlib.sha256()
        self._walked = 0  # bytes hashed and walked so far
        self._look_at = 0  # bytes after which the free space is checked again
        self._block = bytearray()  # on the way to the disk
        self._reader: _InMemory | None = None
        self._closed = False
        self.bytes = 0
        wanted = place.memory if expected is None else expected
        taken = place.take(wanted, is_told=expected is not None)
        if taken is None:
            self._check_room(expected or 0)
        self._room = wanted if taken is not None else 0  # bytes in memory
        self._file: IO[bytes] | mmap.mmap = taken if taken is not None else self._on_disk()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, piece: bytes | memoryview) -> None:
        """Append."""
        size = self.bytes + len(piece)
        if size > self._room > 0:
            self._move_to_disk()
        self.bytes = size
        if self._room:
            self._file.write(piece)
        else:
            if self.bytes >= self._look_at:
                self._check_room(0)
            self._block += piece
        if size - self._walked >= _BLOCK:
            self.settle()

    def settle(self) -> None:
        """Hash and walk what is not yet; write it to the disk if it belongs there."""
        if self._walked == self.bytes:
            return
        walked, self._walked = self._walked, self.bytes
        if self._room:
            with memoryview(cast("mmap.mmap", self._file))[walked : self.bytes] as block:
                self._take(block)
            return
        with memoryview(self._block) as block:
            self._take(block)
            with self._disk_errors:
                self._file.write(block)
        self._block.clear()

    def _take(self, block: memoryview) -> None:
        self._digest.update(block)
        if self._walk is not None:
            self._walk(block)

    @property
    def sha256(self) -> str:
        """Hex, of all written bytes."""
        self.settle()
        return self._digest.hexdigest()

    @property
    def file(self) -> IO[bytes]:
        """The bytes, to be read from the start once all are written."""
        self.settle()
        if isinstance(self._file, mmap.mmap) and self._reader is None:
            self._reader = _InMemory(self._file, self.bytes)
        elif not isinstance(self._file, mmap.mmap):
            with self._disk_errors:
                self._file.flush()  # here a full disk is reported as such; a later seek would flush, too
        return cast("IO[bytes]", self._reader or self._file)

    def close(self) -> None:
        """Free the memory or the file."""
        if self._closed:  # returned memory may already be in use elsewhere
            return
        self._closed = True
        self._release()

    def _release(self) -> None:
        if isinstance(self._file, mmap.mmap):
            self._place.give(self._file)
        else:
            _close(self._file)

    def _on_disk(self) -> IO[bytes]:
        with self._disk_errors:
            return tempfile.TemporaryFile(dir=self._place.directory)

    def _move_to_disk(self) -> None:
        self.settle()
        self._check_room(self.bytes)
        memory, file = self._file, self._on_disk()
        try:
            with self._disk_errors:
                file.write(memoryview(cast("mmap.mmap", memory))[: self.bytes])
        except SpoolFull:
            _close(file)
            raise
        self._release()
        self._file, self._room = file, 0

    def _check_room(self, more: int) -> None:
        """Raise SpoolFull if so many bytes more would not leave min_free_disk; checked again as the file grows."""
        place = self._place
        self._look_at = self.bytes + _LOOK_EVERY
        with self._disk_errors:
            place.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk = shutil.disk_usage(place.directory)
        if disk.free - more < place.min_free_disk:
            kind = SpoolTooSmall if more > disk.total - place.min_free_disk else SpoolFull
            raise kind(
                f"not enough space in the spool {place.directory}: {disk.free} bytes free, {more} needed",
                f"free some space; transfer.min_free_disk keeps {place.min_free_disk} free",
            )


class _DiskErrors(Translation):
    __slots__ = ("_directory",)

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def translated(self, error: BaseException) -> SpoolFull | None:
        if not isinstance(error, OSError):
            return None
        return SpoolFull(f"the spool {self._directory} cannot be used: {error.strerror}")


def _close(file: IO[bytes]) -> None:
    """Close it. It tries once more to write what a full disk refused; that error is ignored."""
    with contextlib.suppress(OSError):
        file.close()


def _unmap(mapping: mmap.mmap) -> None:
    with contextlib.suppress(BufferError):  # an error's traceback still refers to it: it is freed with that
        mapping.close()
