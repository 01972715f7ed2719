"""A part of a file as a file of its own: nothing is copied, so a part costs no memory."""

from __future__ import annotations

import io
from typing import BinaryIO


class Part:
    """`bytes` bytes of a seekable file from `start` on. One part of a file is read at a time."""

    def __init__(self, body: BinaryIO, start: int, size: int) -> None:
        self._body = body
        self._start = start
        self.bytes = size
        self._at = 0
        self.seek(0)

    def read(self, size: int | None = -1) -> bytes:
        """As a file does."""
        left = self.bytes - self._at
        chunk = self._body.read(left if size is None or size < 0 else min(size, left))
        self._at += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As a file does."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.bytes}[whence]
        self._at = min(max(0, base + offset), self.bytes)
        self._body.seek(self._start + self._at)
        return self._at

    def tell(self) -> int:
        """As a file does."""
        return self._at
