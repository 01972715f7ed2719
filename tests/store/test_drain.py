"""A large put ends in mid-stream once the drain is over, and leaves nothing."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from recvault.errors import Interrupted
from recvault.shutdown import Pulse, Stop
from recvault.store import StoreFacts
from recvault.store.s3 import retries
from recvault.store.s3.body import Part
from recvault.store.s3.clients import make_client
from recvault.store.s3.endings import asked, drained, drained_at_once
from recvault.store.s3.reader import S3Reader
from recvault.store.s3.s3_store import S3Store
from store.places import LARGE, PART, SENDERS, Place, make_put, store_with, transport_of

BODY = LARGE
HUGE = 64 * 1024**2  # more than the sockets' buffers
KEY = "recordings/RE1.wav"
FACTS = StoreFacts(sha256=True, conditional=True)


@pytest.fixture
def aws(make_place: Callable[[str], Place]) -> Place:
    """The strict server; `store_of` sets the senders."""
    return make_place("aws")


@pytest.fixture(params=SENDERS)
def store_of(request: pytest.FixtureRequest) -> Iterator[Callable[..., S3Store]]:
    """Make stores with clients of their own, as a stop belongs to the client. With each sender."""
    clients = []

    def make(url: str, bucket: str, **options: Any) -> S3Store:
        how = {"addressing_style": "path", "pool": 8, "transport": transport_of(request.param)}
        clients.append(make_client(region="us-east-1", endpoint_url=url, **how))
        return store_with(request.param, clients[-1], bucket, facts=FACTS, **options)

    yield make
    for each in clients:
        each.close()


@dataclass
class SlowStore:
    """Takes one put, slowly until the drain is over, then at once. It answers after the body."""

    stop: Stop
    port: int = 0
    began: threading.Event = field(default_factory=threading.Event)
    puts: int = 0
    taken: int = 0

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), taken:
                self._take(taken)

    def _take(self, taken: socket.socket) -> None:
        head = taken.recv(1 << 16)
        self.puts += head.startswith(b"PUT")
        taken.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while self.taken < HUGE:
            chunk = taken.recv(1 << 16)
            if not chunk:
                return
            self.taken += len(chunk)
            self.began.set()
            self.stop.enforced.wait(0.02)
        taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@contextmanager
def slow_store(stop: Stop) -> Iterator[SlowStore]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SlowStore(stop, listener.getsockname()[1])
        thread = threading.Thread(target=server.serve, args=(listener,))
        thread.start()
        try:
            yield server
        finally:
            stop.enforced.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
    assert not thread.is_alive()


def test_a_large_put_ends_with_the_drain(store_of: Callable[..., S3Store]) -> None:
    """After the drain the body is sent no further and not again, and the connection is closed."""
    stop = Stop()
    with slow_store(stop) as server:
        store = store_of(f"http://127.0.0.1:{server.port}", "bucket", stop=stop)
        ended = threading.Thread(target=lambda: server.began.wait(20) and stop.enforced.set())
        ended.start()
        with pytest.raises(Interrupted, match=r"s3://bucket/recordings/RE1\.wav was not written: the drain took too"):
            store.put(make_put(KEY, bytes(HUGE)))
        ended.join()
    assert server.puts == 1
    assert 0 < server.taken < HUGE


class Trip(io.BytesIO):
    """A file that ends the drain when a condition holds during a read."""

    def __init__(self, body: bytes, stop: Stop, when: Callable[[int], bool]) -> None:
        super().__init__(body)
        self._stop, self._when = stop, when

    def read(self, size: int | None = -1) -> bytes:
        if self._when(self.tell()):
            self._stop.enforced.set()
        return super().read(size)


def test_an_upload_in_parts_is_aborted(aws: Place, store_of: Callable[..., S3Store]) -> None:
    """Parts sent before the drain's end are removed; a later pass uploads everything."""
    bucket, stop = aws.strict, Stop()
    assert bucket is not None
    store = store_of(aws.url, aws.bucket, single_put_most=PART, part_least=PART, stop=stop)
    bucket.clear_counts()
    body = Trip(BODY, stop, lambda at: bucket.counts["PART"] == 1 and at > PART)
    with pytest.raises(Interrupted):
        store.put(replace(make_put(KEY, BODY), body=body))
    assert (bucket.counts["PART"], bucket.counts["ABORT"], bucket.counts["COMPLETE"]) == (1, 1, 0)
    assert (bucket.uploads, KEY in bucket.objects) == ({}, False)
    stop.enforced.clear()
    assert store.put(make_put(KEY, BODY)) is True
    assert bucket.body(KEY) == BODY


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_try_that_fails_is_made_again_whole(
    aws: Place, store_of: Callable[..., S3Store], waits: list[float], in_parts: bool
) -> None:
    """Without a stop a broken put is rewound and sent again."""
    bucket = aws.strict
    assert bucket is not None
    store = store_of(aws.url, aws.bucket, single_put_most=PART if in_parts else 4 * PART, part_least=PART, stop=Stop())
    plan = bucket.faults.plan("reset_before", "PART" if in_parts else "PUT", KEY)
    assert store.put(make_put(KEY, BODY)) is True
    assert (bucket.body(KEY) == BODY, plan.fired, len(waits)) == (True, 1, 1)
    assert store.put(make_put(KEY, BODY)) is False


@pytest.mark.parametrize("op", ["large", "small", "head"])
def test_no_try_is_made_after_the_drain(
    aws: Place, store_of: Callable[..., S3Store], monkeypatch: pytest.MonkeyPatch, op: str
) -> None:
    """If the drain ends during the wait before a retry, the request ends."""
    bucket, stop = aws.strict, Stop()
    assert bucket is not None
    store = store_of(aws.url, aws.bucket, stop=stop)
    bucket.clear_counts()
    bucket.faults.plan("error", match=KEY, times=9)
    monkeypatch.setattr(retries, "pause", lambda seconds, check: stop.enforced.set())
    with pytest.raises(Interrupted):
        store.head(KEY) if op == "head" else store.put(make_put(KEY, BODY if op == "large" else b"{}"))
    assert dict(bucket.counts) == {"HEAD" if op == "head" else "PUT": 1}


def test_an_abort_is_tried_once(aws: Place, store_of: Callable[..., S3Store], waits: list[float]) -> None:
    """An abort that fails after the drain is not retried; a later pass aborts the upload."""
    bucket, stop = aws.strict, Stop()
    assert bucket is not None
    store = store_of(aws.url, aws.bucket, single_put_most=PART, part_least=PART, stop=stop)
    bucket.clear_counts()
    bucket.faults.plan("error", "ABORT", KEY, times=9)
    body = Trip(BODY, stop, lambda at: bucket.counts["PART"] == 1 and at > PART)
    with pytest.raises(Interrupted):
        store.put(replace(make_put(KEY, BODY), body=body))
    assert (bucket.counts["ABORT"], len(bucket.uploads)) == (1, 1)


def test_what_is_small_is_written_still(aws: Place, store_of: Callable[..., S3Store]) -> None:
    """A sidecar is written even after the drain, so that its media were not in vain."""
    stop = Stop()
    store = store_of(aws.url, aws.bucket, stop=stop)
    stop.enforced.set()
    assert store.put(make_put("recordings/RE1.json", b"{}")) is True


def test_a_store_at_work_shows_signs_of_life(aws: Place, store_of: Callable[..., S3Store]) -> None:
    """Each request counts as a sign of life."""
    now = [0.0]
    stop = Stop(pulse=Pulse(lambda: now[0]))
    store = store_of(aws.url, aws.bucket, stop=stop)
    asks: tuple[Callable[[], Any], ...] = (
        lambda: store.head(KEY),
        lambda: store.get(KEY),
        lambda: list(store.list("")),
        lambda: store.put(make_put(f"{KEY}.large", BODY)),
    )
    with stop.pulse.working():
        for ask in asks:
            now[0] += 60
            assert stop.pulse.quiet_seconds() == 60
            ask()
            assert stop.pulse.quiet_seconds() == 0


def test_a_part_is_a_file() -> None:
    """Read, seek and tell work on the part's own bytes."""
    part = Part(io.BytesIO(b"0123456789"), 2, 5)
    assert [part.read(2), part.seek(0), part.read(), part.read()] == [b"23", 0, b"23456", b""]


def test_an_exchange_ends_by_its_own_rule() -> None:
    """After the drain a large body ends at once; short ones and queries only after a moment."""
    stop = Stop()
    cuts = {each: each(stop).cut() for each in (asked, drained, drained_at_once)}
    ended: dict[str, list[str]] = {}
    for name, flag in (("asked", stop.asked), ("enforced", stop.enforced)):
        flag.set()
        for elapsed in (0.0, 60.0):
            ended[f"{name} {elapsed}"] = [each.__name__ for each, cut in cuts.items() if interrupts(cut, elapsed)]
    assert ended == {
        "asked 0.0": [],
        "asked 60.0": ["asked"],
        "enforced 0.0": ["drained_at_once"],
        "enforced 60.0": ["asked", "drained", "drained_at_once"],
    }


def interrupts(cut: Callable[[], None], elapsed: float) -> bool:
    now = time.monotonic() + elapsed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recvault.store.s3.endings.time", types.SimpleNamespace(monotonic=lambda: now))
        try:
            cut()
        except Interrupted:
            return True
    return False


class Mute:
    """A server that accepts everything and never answers. A context."""

    def __enter__(self) -> Mute:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = threading.Event()
        self._taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._listener, *self._taken):
            each.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._taken.append(self._listener.accept()[0])
                self._taken[-1].recv(65536)
                self.asked.set()


HANGS: dict[str, tuple[str, Callable[[S3Store], object]]] = {
    "what it enforces": ("asked", lambda store: store.ask_facts(make_put("schemas/known.json", b"{}"))),
    "uploads": ("asked", lambda store: store.clear_unfinished("", datetime.now(UTC))),
    "a listing": ("asked", lambda store: list(store.list("recordings/"))),
    "described": ("asked", lambda store: S3Reader(store, Stop(asked=store.stop.asked)).describe(KEY)),  # type: ignore[attr-defined]
    "a put": ("enforced", lambda store: store.put(make_put(KEY, b"{}"))),
    "a head": ("enforced", lambda store: store.head(KEY)),
    "a stream": ("enforced", lambda store: list(store.stream(KEY))),
}


@pytest.mark.parametrize("store_of", SENDERS[::2], indirect=True)
@pytest.mark.parametrize("what", HANGS)
def test_a_store_that_hangs_holds_up_no_stop(store_of: Callable[..., S3Store], what: str) -> None:
    """With a silent store, queries end at the stop and puts at the end of the drain."""
    flag, ask = HANGS[what]
    stop = Stop()
    with Mute() as server:
        store = store_of(server.url, "bucket", stop=stop)
        store.stop = stop  # type: ignore[attr-defined]
        told: list[float] = []

        def end() -> None:
            server.asked.wait(20)
            told.append(time.monotonic())
            getattr(stop, flag).set()

        ending = threading.Thread(target=end)
        ending.start()
        with pytest.raises(Interrupted):
            ask(store)
        ending.join()
    assert time.monotonic() - told[0] < 20  # less than the minute for a silent store; two seconds on an idle machine
