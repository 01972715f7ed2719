"""The body of a put as its sender needs it: its bytes in memory, or a part of a file; neither is copied."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO

BODY_SHA256 = "BodySHA256"  # put argument: SHA-256 for signing the body, whichever checksums are sent


def in_memory(body: Any) -> AbstractContextManager[memoryview | None]:
    """Return a view of a body's bytes if they are in memory, else None.

    Invariant: the view is released at the end of the block, even if still referenced: a traceback keeps the locals of
    its frames, and a BytesIO that is collected while a view of it is open cannot close.
    """
    view: memoryview | None = body.getbuffer() if hasattr(body, "getbuffer") else None
    return view if view is not None else nullcontext()


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
