"""Present a part of a file as a file: nothing is copied, so a part needs no memory."""

from __future__ import annotations

import io
from typing import BinaryIO


class Part:
    """`size` bytes of a seekable file, from `start`. Only one part of a file may be read at a time."""

    def __init__(self, body: BinaryIO, start: int, size: int) -> None:
        self._body = body
        self._start = start
        self.bytes = size
        self._at = 0
        self.seek(0)

    def read(self, size: int | None = -1) -> bytes:
        """See io.RawIOBase.read."""
        left = self.bytes - self._at
        chunk = self._body.read(left if size is None or size < 0 else min(size, left))
        self._at += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io.IOBase.seek."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.bytes}[whence]
        self._at = min(max(0, base + offset), self.bytes)
        self._body.seek(self._start + self._at)
        return self._at

    def tell(self) -> int:
        """See io.IOBase.tell."""
        return self._at
