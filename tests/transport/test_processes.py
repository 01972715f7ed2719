"""Threads, signals and forks, without leaks."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from pathlib import Path

import pytest

from recvault.transport import Request, Signing
from transport.loopback import OK, Line, Peer, Taken, asked_in_child


def answering(peer: Peer) -> None:
    while True:
        peer.request()
        peer.send(OK)


def hanging(peer: Peer) -> None:
    peer.request()
    peer.pause()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handled_during_an_exchange(line: Line, number: signal.Signals) -> None:
    """A signal handler runs while a server hangs, and can end the exchange within two seconds."""
    asked: list[float] = []
    before = signal.signal(number, lambda *_: asked.append(time.monotonic()))
    sent: list[float] = []

    def strike() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), number)

    def cut() -> None:
        if asked:
            raise InterruptedError

    timer = threading.Timer(0.2, strike)
    timer.start()
    try:
        by = line.transport(patience=line.patience(stall_seconds=20.0))
        assert type(line.fails(line.serve(hanging), by=by, cut=cut)) is InterruptedError
        assert time.monotonic() - sent[0] < 10  # of twenty
    finally:
        timer.join()
        signal.signal(number, before)


def test_close_from_another_thread_lets_an_exchange_end(line: Line) -> None:
    """After close() a running exchange ends by itself, without keeping its connection; the transport can be reused."""
    begun, go_on = threading.Event(), threading.Event()

    def behave(peer: Peer) -> None:
        while True:
            peer.request()
            begun.set()
            go_on.wait(10)
            peer.send(OK)

    server = line.server(behave)
    origin = f"{line.scheme}://127.0.0.1:{server.port}"
    by = line.transport()

    def close() -> None:
        begun.wait(10)
        by.close()
        go_on.set()

    first, _ = line.at_once([lambda: line.ask(origin, by=by, tells_its_answer=True), close])
    assert bytes(first.body) == b"ok"
    assert bytes(line.ask(origin, by=by, tells_its_answer=True).body) == b"ok"
    by.close()
    by.close()
    assert bytes(line.ask(origin, by=by, tells_its_answer=True).body) == b"ok"
    assert server.accepted == 3


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_connections_of_threads_that_ended_are_closed(line: Line) -> None:
    """Connections of ended threads are closed by the next new thread."""
    origin = line.serve(answering)
    line.ask(origin, tells_its_answer=True)
    before = descriptors()
    for _ in range(5):
        line.at_once([lambda: line.ask(origin, tells_its_answer=True)] * 4)
    gc.collect()
    assert descriptors() - before <= 2 * 2 * 4  # both ends of a connection, for the last round's threads


def test_many_servers_do_not_keep_many_connections(line: Line) -> None:
    """The number of kept connections is limited, as media may be on many hosts."""
    origins = [line.serve(answering) for _ in range(20)]
    by = line.transport()
    before = descriptors()
    for each in origins:
        assert bytes(line.ask(each, by=by, tells_its_answer=True).body) == b"ok"
    time.sleep(0.1)
    assert descriptors() - before <= 8 * 4


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_exchanges_leak_nothing(line: Line) -> None:
    """Kept, new and failed connections leak neither descriptors nor memory."""
    origin, broken = line.serve(answering), line.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")
    by = line.transport()
    many = 600 if line.way == "curl" and line.scheme == "http" else 60

    def ask() -> None:
        taken = Taken()
        by.exchange(line.request(origin, tells_its_answer=True), taken, lambda: None)
        by.exchange(line.request(origin, "PUT", body=b"b" * 1000), taken, lambda: None)

    for _ in range(30):
        ask()
    gc.collect()
    before, memory = descriptors(), resident()
    for number in range(many):
        ask()
        if number % 20 == 0:
            line.fails(broken, by=by)
            line.errors.clear()
    gc.collect()
    time.sleep(0.05)
    assert descriptors() - before <= 4
    assert resident() - memory < 12 << 20


def test_a_process_of_the_fork_server_asks_for_itself(line: Line) -> None:
    """A process of the fork server can send requests after its parent has."""
    origin = line.serve(answering)
    line.ask(origin)
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        asked = pool.apply_async(asked_in_child, (line.way, origin, line.authority.file))
        assert asked.get(60) == b"ok"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_leaves_its_parents_connection_alone(line: Line) -> None:
    """A forked process makes its own connection, and the parent's still works."""
    server = line.server(answering)
    origin = f"{line.scheme}://127.0.0.1:{server.port}"
    by = line.transport()
    line.ask(origin, by=by, tells_its_answer=True)
    child = os.fork()
    if not child:
        code = 1
        try:
            taken = Taken()
            by.exchange(line.request(origin, tells_its_answer=True), taken, lambda: None)
            by.close()
            code = 0 if taken.body == b"ok" else 2
        except BaseException:  # noqa: BLE001 - a child of a test must not go on as pytest
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    accepted = server.accepted
    assert bytes(line.ask(origin, by=by, tells_its_answer=True).body) == b"ok"
    assert server.accepted == accepted + (line.way == "plain")


HANGING_RESOLVER = r"""
#define _GNU_SOURCE
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res) {
    sleep(20);
    return EAI_AGAIN;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="takes a C compiler")
@pytest.mark.parametrize("manner", ["cut", "deadline"])
def test_a_resolver_that_hangs_is_left_behind_by_libcurl(tmp_path: Path, manner: str) -> None:
    """A stop and the timeout end an exchange with a hanging resolver, and the process ends, too."""
    source, library = tmp_path / "resolver.c", tmp_path / "resolver.so"
    source.write_text(HANGING_RESOLVER)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    script = """
        import sys, time
        from recvault.transport import ExchangeFailed, Patience, Request, Trust, anywhere
        from recvault.transport.curl import CurlTransport
        from transport.loopback import Taken
        begun = time.monotonic()
        def cut():
            if sys.argv[1] == "cut" and time.monotonic() - begun > 0.3:
                raise InterruptedError
        by = CurlTransport(anywhere, Patience(connect_seconds=1.0 if sys.argv[1] == "deadline" else 30.0), Trust())
        try:
            by.exchange(Request("GET", "http://somewhere.example/"), Taken(), cut)
        except (InterruptedError, ExchangeFailed) as error:
            print(type(error).__name__, getattr(error, "cause", ""), time.monotonic() - begun < 3.0)
    """
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), manner],
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    wanted = {"cut": "InterruptedError  True", "deadline": "ExchangeFailed name True"}
    assert (done.stdout.strip(), done.stderr) == (wanted[manner], "")
    assert time.monotonic() - begun < 15.0


def test_no_secret_is_in_what_a_request_prints() -> None:
    """A request's repr contains neither URL, headers, body nor signing keys."""
    request = Request(
        "GET",
        "https://host/?secret",
        [("Authorization", "secret")],
        memoryview(b"secret"),
        signing=Signing("access", "secret", "us-east-1"),
    )
    assert "secret" not in repr(request) + str(request) + repr(request.signing)
