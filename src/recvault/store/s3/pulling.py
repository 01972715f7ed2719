"""Turn a pushed body into an iterator of pieces: a thread fetches it, at most a few pieces ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from botocore.exceptions import IncompleteReadError

from recvault.store.s3.bounds import Sink
from recvault.transport import Enough

_AHEAD = 8
_SECONDS = 0.2  # between checks


def pulled(fetch: Callable[[Sink], object], check: Callable[[], None]) -> Iterator[bytes]:
    """Yield what `fetch` writes to a sink. Errors of `fetch` and `check` are raised here; closing ends the fetch."""
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
        """Run the thread."""
        try:
            fetch(self)
        except BaseException as error:  # noqa: BLE001 - raised in the other thread
            self.error = error
        self._put(None)

    def next(self) -> bytes | None:
        """Return the next piece; an empty one if there is none yet, None at the end."""
        try:
            return self._pieces.get(timeout=_SECONDS)
        except queue.Empty:
            return b""

    def begin(self, length: int | None) -> None:
        """See Sink. Cannot restart once pieces were passed on."""
        if self._count:
            raise IncompleteReadError(actual_bytes=self._count, expected_bytes=length or 0)

    def write(self, piece: memoryview | bytes) -> None:
        """See Sink."""
        self._count += len(piece)
        if not self._put(bytes(piece)):
            raise Enough

    def _put(self, piece: bytes | None) -> bool:
        """Queue a piece; False if the consumer has stopped."""
        while not self.abandoned.is_set():
            try:
                self._pieces.put(piece, timeout=_SECONDS)
            except queue.Full:
                continue
            return True
        return False
