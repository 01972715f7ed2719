"""An `ObjectStore` in a directory. Writes are in linker.py."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from recvault.errors import ConfigError, KeyConflict, StoreUnavailable
from recvault.shutdown import Stop
from recvault.store.facts import SHA256, StoreFacts
from recvault.store.local import attributes
from recvault.store.local.directory_inspection import DirectoryInspection
from recvault.store.local.folder import (
    MARKER,
    FileErrors,
    file_at,
    folder_at,
    is_marked,
    names_of,
    not_mounted,
    opened,
    where_of,
)
from recvault.store.local.key_order import KeyRange, files
from recvault.store.local.linker import CHUNK, Linker, hashed
from recvault.store.local.local_reader import LocalReader
from recvault.store.local.local_remover import LocalRemover
from recvault.store.local.local_replacer import LocalReplacer
from recvault.store.protocol import SMALL_MOST, Body, ObjectPart, Put, Stored, too_large

FACTS = StoreFacts(sha256=True, conditional=True, sums=SHA256, tells=SHA256)
"""This store hashes what it writes and overwrites nothing."""


class LocalStore:
    """A directory. Thread-safe; may be shared by any number of processes and machines."""

    def __init__(self, root: Path, *, stop: Stop | None = None) -> None:
        self.root = root
        self.facts = FACTS
        self._stop = stop or Stop()
        self._linker = Linker(root, self._stop.check_enforced)

    @property
    def where(self) -> str:
        """See Bucket.where."""
        return where_of(self.root)

    def begin(self, *, known: bool, make: bool) -> None:
        """See Bucket.begin. Never creates the folder; creates the marker only if no archive was begun before."""
        if not self.root.is_dir():
            if known:
                raise not_mounted(self.root, "there is no such folder")
            hint = "create it, or mount what holds it, then run `recvault check`"
            raise ConfigError(f"{self.where}: there is no such folder", hint)
        with FileErrors(self.where):
            top = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if not is_marked(top):
                    self._mark(top, known=known, make=make)
            finally:
                os.close(top)

    def _mark(self, top: int, *, known: bool, make: bool) -> None:
        if known:
            raise not_mounted(self.root, f"the archive that was begun there is gone: {MARKER} is missing")
        if not make:
            raise ConfigError(
                f"{self.where}: no archive was begun there yet",
                "see that the right volume is mounted there, then run `recvault check`, which begins it",
            )
        self._linker.mark(top)

    def put(self, put: Put) -> bool:
        """See ObjectStore.put. Raises Interrupted, even in mid-file, once a drain is over."""
        return self._linker.put(put)

    def head(self, key: str) -> Stored | None:
        """See ObjectStore.head."""
        with self._file(key) as file:
            if file is None:
                return None
            metadata = attributes.read(file)
            size = os.fstat(file).st_size
            return Stored(key=key, bytes=size, sha256=metadata.get("sha256"), metadata=metadata)

    def get(self, key: str, most: int = SMALL_MOST) -> bytes | None:
        """See ObjectStore.get."""
        body = self.body(key, most)
        return None if body is None else body.content

    def body(self, key: str, most: int) -> Body | None:
        """See Reader.get."""
        with self._file(key) as file:
            if file is None:
                return None
            return Body(_small(file, most, self._where(key)), attributes.read(file).get("sha256"))

    def digest(self, key: str, check: Callable[[], None]) -> tuple[int, str] | None:
        """See Reader.digest. `check` is called for each chunk."""
        with self._file(key) as file:
            return None if file is None else hashed(file, check)

    def part(self, key: str, start: int, size: int) -> ObjectPart | None:
        """See Reader.part."""
        with self._file(key) as file:
            return None if file is None else ObjectPart(os.pread(file, size, start), os.fstat(file).st_size)

    def stream(self, key: str) -> Iterator[bytes]:
        """See ObjectStore.stream."""
        with self._file(key) as file:
            if file is None:
                raise StoreUnavailable(f"{self._where(key)} is not there")
            while chunk := os.read(file, CHUNK):
                self._stop.check_enforced()
                yield chunk

    def list(self, prefix: str) -> Iterator[Stored]:
        """See ObjectStore.list."""
        with FileErrors(self._where(prefix)), opened(self.root) as top:
            for key, found in files(top, KeyRange(prefix)):
                yield Stored(key=key, bytes=found.st_size, sha256=None, metadata={})

    def delete(self, key: str) -> None:
        """See Bucket.delete."""
        names = names_of(key) or ("",)
        with (
            FileErrors(self._where(key)),
            opened(self.root) as top,
            contextlib.suppress(FileNotFoundError),
            folder_at(top, names[:-1]) as folder,
        ):
            os.unlink(names[-1], dir_fd=folder)

    def ask_facts(self, known: Put) -> StoreFacts:
        """See Bucket.ask_facts. The known object is the only one that a new version of recvault may replace."""
        try:
            self._linker.put(known)
        except KeyConflict:
            self._linker.replace(known)
        if not self._linker.excludes(known):
            raise ConfigError(
                f"the file system of {self.root} lets a link replace a file: recvault could overwrite there",
                "use another file system for archive.bucket",
            )
        return FACTS

    def clear_unfinished(self, prefix: str, older_than: datetime) -> int:
        """See Bucket.clear_unfinished. Unfinished files share one folder, so the prefix is ignored."""
        return self._linker.clear(older_than)

    def reader(self) -> LocalReader:
        """See Bucket.reader."""
        return LocalReader(self, self._stop)

    def replacer(self, retention_days: int | None = None) -> LocalReplacer:
        """See Bucket.replacer. A directory locks nothing."""
        return LocalReplacer(self)

    def swap(self, put: Put, may: Callable[[], bool]) -> bool:
        """Write an object, replacing any, if `may` says so, asked with its folder locked."""
        return self._linker.replace(put, may)

    def remover(self) -> LocalRemover:
        """See Bucket.remover."""
        return LocalRemover(self)

    def inspection(self, clock: Callable[[], datetime]) -> DirectoryInspection:
        """See Bucket.inspection."""
        return DirectoryInspection(self.root)

    def close(self) -> None:
        """See Bucket.close. Nothing stays open between operations."""

    @contextlib.contextmanager
    def _file(self, key: str) -> Iterator[int | None]:
        """Open an object's file; None if it does not exist."""
        names = names_of(key)
        with FileErrors(self._where(key), reading=True), opened(self.root) as top:
            if names is None:
                yield None
                return
            with file_at(top, names) as file:
                yield file

    def _where(self, key: str) -> str:
        return f"{self.where}/{key}"


def _small(file: int, most: int, where: str) -> bytes:
    """Read a small file. TooLarge, without reading it, if it has more than `most` bytes."""
    if (size := os.fstat(file).st_size) > most:
        raise too_large(where, size)
    with os.fdopen(os.dup(file), "rb") as readable:
        content = readable.read(most + 1)
    if len(content) > most:
        raise too_large(where, len(content))
    return content
