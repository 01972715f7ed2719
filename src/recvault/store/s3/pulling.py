"""A body that comes by itself, for whoever asks for its pieces: it comes in a thread, a few pieces ahead at most."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from botocore.exceptions import IncompleteReadError

from recvault.store.s3.bounds import Sink
from recvault.transport import Enough

_AHEAD = 8
_SECONDS = 0.2  # between two looks


def pulled(fetch: Callable[[Sink], object], check: Callable[[], None]) -> Iterator[bytes]:
    """What `fetch` hands to a sink. What either raises is raised here; whoever stops in between ends it."""
    pipe = _Pipe()
    threading.Thread(target=pipe.run, args=(fetch,), name="pulled", daemon=True).start()
    try:
        while (piece := pipe.next()) is not None:
            check()
            if piece:
                yield piece
        if pipe.error is not None:
            raise pipe.error
    finally:
        pipe.abandoned.set()


class _Pipe:
    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._count = 0
        self.abandoned = threading.Event()
        self.error: BaseException | None = None

    def run(self, fetch: Callable[[Sink], object]) -> None:
        """The thread's whole work."""
        try:
            fetch(self)
        except BaseException as error:  # noqa: BLE001 - the other thread's to see
            self.error = error
        self._put(None)

    def next(self) -> bytes | None:
        """The next piece, an empty one while there is none yet, None at the end."""
        try:
            return self._pieces.get(timeout=_SECONDS)
        except queue.Empty:
            return b""

    def begin(self, length: int | None) -> None:
        """See Sink. What was handed on already cannot be taken back."""
        if self._count:
            raise IncompleteReadError(actual_bytes=self._count, expected_bytes=length or 0)

    def write(self, piece: memoryview | bytes) -> None:
        """See Sink."""
        self._count += len(piece)
        if not self._put(bytes(piece)):
            raise Enough

    def _put(self, piece: bytes | None) -> bool:
        """Whether somebody wants it."""
        while not self.abandoned.is_set():
            try:
                self._pieces.put(piece, timeout=_SECONDS)
            except queue.Full:
                continue
            return True
        return False
