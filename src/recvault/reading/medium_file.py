"""A medium as a seekable file: read by ranges, proven when it was read to its end."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from recvault.errors import NotAsArchived
from recvault.reading.fetching import VERIFY
from recvault.store import Reader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MOST = 8 << 20  # bytes of one request


class MediumFile(io.RawIOBase):
    """Read-only. The hash takes each byte once, in order; what is read out of order is not proven until then."""

    def __init__(self, reader: Reader, key: str, size: int, sha256: str) -> None:
        self._reader, self._key, self._size, self._sha256 = reader, key, size, sha256
        self._at = 0
        self._digest, self._hashed = hashlib.sha256(), 0

    def readable(self) -> bool:
        """See io.IOBase."""
        return True

    def seekable(self) -> bool:
        """See io.IOBase."""
        return True

    def tell(self) -> int:
        """See io.IOBase."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io.IOBase."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """See io.RawIOBase. Raises NotAsArchived in place of the last bytes."""
        view = memoryview(buffer).cast("B")
        content = self._read(len(view))
        view[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        """See io.RawIOBase."""
        pieces = []
        while piece := self._read(_MOST):
            pieces.append(piece)
        return b"".join(pieces)

    def _read(self, size: int) -> bytes:
        size = min(size, _MOST, self._size - self._at)
        if size <= 0:
            return b""
        found = self._reader.part(self._key, self._at, size)
        if found is None:
            raise NotAsArchived(f"{self._key} is not in the bucket, although it was archived", VERIFY)
        if found.whole != self._size or len(found.content) != size:
            raise NotAsArchived(
                f"{self._key} has another size than archived: {found.whole:,} bytes, not {self._size:,}", VERIFY
            )
        self._prove(found.content)
        self._at += size
        return found.content

    def _prove(self, content: bytes) -> None:
        """Hash what has not been hashed yet, if it follows; at the end, compare."""
        if not self._at <= self._hashed < self._at + len(content):
            return
        self._digest.update(memoryview(content)[self._hashed - self._at :])
        self._hashed = self._at + len(content)
        if self._hashed == self._size and self._digest.hexdigest() != self._sha256:
            self._digest, self._hashed = hashlib.sha256(), 0  # a second attempt fails as the first did
            raise NotAsArchived(f"{self._key} has another SHA-256 than archived", VERIFY)
