"""A store asked whether it wants a body, which answers neither yes nor no."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from recvault.errors import StoreUnavailable
from recvault.store import StoreFacts
from store.places import SENDERS, client_of, make_put, store_with, transport_of

LARGE = b"RIFF" * 500_000  # announced before it is sent


SAYINGS = {"half": b"HTTP/1.1 100 Continue\r\n", "other": b"HTTP/1.1 102 Processing\r\n\r\n"}


@pytest.fixture(params=SAYINGS)
def unclear(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that sends half of `100 Continue`, or no final answer, and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        while b"\r\n\r\n" not in connection.recv(65536):
                            pass
                        connection.sendall(SAYINGS[request.param])

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("sender", SENDERS)
def test_what_is_no_answer_is_no_success(unclear: str, sender: str, waits: list[float]) -> None:
    """A connection that ends before a final answer ends the try, with each sender, without success."""
    knows = StoreFacts(sha256=True, conditional=True)
    store = store_with(sender, client_of(unclear, transport=transport_of(sender)), "recordings", facts=knows)
    given_up = threading.Event()

    def put() -> None:
        with contextlib.suppress(StoreUnavailable):
            store.put(make_put("recordings/RE1.wav", LARGE))
            return
        given_up.set()

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    assert given_up.wait(30)
