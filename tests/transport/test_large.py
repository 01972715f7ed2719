"""Bodies larger than memory are streamed."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recvault.transport import Head
from transport.loopback import OK, Line, Peer

SIZE = 200 << 20
PIECE = bytes(1 << 20)
MOST_GROWTH = 40 << 20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@contextmanager
def little_growth() -> Iterator[None]:
    """Check that the peak resident memory hardly grows."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident()
    yield
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) * 1024 - before < MOST_GROWTH


@dataclass
class Counted:
    """Counts the bytes."""

    count: int = 0
    largest: int = 0

    def begin(self, head: Head) -> None: ...

    def write(self, piece: memoryview | bytes) -> None:
        self.count += len(piece)
        self.largest = max(self.largest, len(piece))


def behave(peer: Peer) -> None:
    while True:
        head = peer.head()
        if head.method == "PUT":
            peer.skip(int(head.headers["content-length"]))
            peer.send(OK)
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            for _ in range(SIZE // len(PIECE)):
                peer.send(PIECE)


def test_a_large_answer_passes_by_in_pieces(line: Line) -> None:
    """Memory does not grow with an answer of 200 MB."""
    origin = line.serve(behave)
    counted = Counted()
    with little_growth():
        line.ask(origin, to=counted)
    assert (counted.count, counted.largest <= 1 << 20) == (SIZE, True)


def test_a_large_body_goes_from_a_file(line: Line, tmp_path: Path) -> None:
    """Memory does not grow with a body of 200 MB from a file."""
    path = tmp_path / "body"
    with path.open("wb") as file:
        file.truncate(SIZE)
    origin = line.serve(behave)
    with path.open("rb") as body, little_growth():
        assert line.ask(origin, "PUT", body=body, length=SIZE).head.status == 200


def test_a_large_body_goes_from_memory_without_a_copy(line: Line) -> None:
    """A body in memory is not copied."""
    body = memoryview(bytes(SIZE // 2))
    origin = line.serve(behave)
    with little_growth():
        assert line.ask(origin, "PUT", body=body).head.status == 200
