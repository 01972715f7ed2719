"""Connections are made only to addresses that the guard permits, whatever a name resolves to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from recvault.transport import Transport
from transport.loopback import OK, Line, Peer

SILENT = "10.255.255.1"


def refuse(*refused: str) -> Any:
    return lambda host, port, address: address not in refused


def leads(monkeypatch: pytest.MonkeyPatch, line: Line, host: str, port: int, *addresses: str) -> Transport:
    """Make a transport for which a name resolves to these addresses, in order."""
    import pycurl

    from recvault.transport.handle import Handle

    made = Handle._made

    def resolving(self: Any) -> Any:
        curl = made(self)
        curl.setopt(pycurl.RESOLVE, [f"{host}:{port}:{','.join(addresses)}"])
        return curl

    monkeypatch.setattr(Handle, "_made", resolving)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]
    real = socket.getaddrinfo

    def getaddrinfo(name: str, *rest: Any, **named: Any) -> Any:
        return found if name == host else real(name, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return line.transport()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433"])
def test_nothing_is_sent_where_the_guard_forbids_all_addresses(line: Line, name: str) -> None:
    """If all addresses of a literal or name are forbidden, no connection is made, and the error lists them."""
    server = line.server(Peer.pause)
    guarded = line.transport(guard=refuse("127.0.0.1", "::1"))
    error = line.fails(f"{line.scheme}://{name}:{server.port}/", by=guarded)
    assert (error.cause, "127.0.0.1" in error.addresses, server.accepted) == ("address", True, 0)


def test_an_ipv6_literal_is_guarded(line: Line) -> None:
    """IPv6 addresses are guarded, too."""
    server = line.server(Peer.pause, host="::1")
    error = line.fails(f"{line.scheme}://[::1]:{server.port}/", by=line.transport(guard=refuse("::1")))
    assert (error.cause, error.addresses, server.accepted) == ("address", ("::1",), 0)


def test_of_several_addresses_the_permitted_ones_are_tried(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbidden addresses among several are skipped."""

    def answer(peer: Peer) -> None:
        peer.request()
        peer.send(OK)

    server = line.server(answer)
    asked: list[tuple[str, int, str]] = []

    def guard(host: str, port: int, address: str) -> bool:
        asked.append((host, port, address))
        return address == "127.0.0.1"

    leads(monkeypatch, line, "localhost", server.port, "127.0.0.2", "127.0.0.1")
    url = f"{line.scheme}://localhost:{server.port}/"
    assert bytes(line.ask(url, by=line.transport(guard=guard)).body) == b"ok"
    assert {each[:2] for each in asked} == {("localhost", server.port)}
    assert {each[2] for each in asked} == {"127.0.0.2", "127.0.0.1"}


def test_a_permitted_address_that_is_dead_is_the_fault_where_another_is_forbidden(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a permitted address fails, that is the error; the guard is blamed only if it left none."""
    port = line.server(Peer.pause).port  # listens only on 127.0.0.1
    leads(monkeypatch, line, "localhost", port, "127.0.0.1", "127.0.0.2")
    error = line.fails(f"{line.scheme}://localhost:{port}/", by=line.transport(guard=refuse("127.0.0.1")))
    assert (error.cause, error.addresses) == ("connection", ())


def test_a_guard_that_raises_ends_the_exchange_by_its_own_error(line: Line) -> None:
    """A guard's exception propagates, and nothing is permitted."""

    def guard(host: str, port: int, address: str) -> bool:
        raise ZeroDivisionError

    server = line.server(Peer.pause)
    error = line.fails(f"{line.scheme}://127.0.0.1:{server.port}/", by=line.transport(guard=guard))
    assert (type(error), server.accepted) == (ZeroDivisionError, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_name_of_both_families_is_reached_by_the_one_that_listens(line: Line, host: str) -> None:
    """A name with both families is reached on the one that listens."""

    def answer(peer: Peer) -> None:
        peer.request()
        peer.send(OK)

    server = line.server(answer, host=host)
    resolved = {entry[4][0] for entry in socket.getaddrinfo("localhost", 80)}
    if line.way == "curl" or host in resolved:  # libcurl knows both itself; for httpx the system must
        assert bytes(line.ask(f"{line.scheme}://localhost:{server.port}/").body) == b"ok"
    literal = f"[{host}]" if ":" in host else host
    assert bytes(line.ask(f"{line.scheme}://{literal}:{server.port}/").body) == b"ok"


@pytest.mark.parametrize("first", ["127.0.0.9", SILENT], ids=["refuses", "hangs"])
def test_an_address_list_whose_first_is_dead_leads_to_the_second(
    line: Line, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the first address refuses or is silent, the second is reached in time."""

    def answer(peer: Peer) -> None:
        peer.request()
        peer.send(OK)

    server = line.server(answer)
    by = leads(monkeypatch, line, "localhost", server.port, first, "127.0.0.1")
    assert bytes(line.ask(f"{line.scheme}://localhost:{server.port}/", by=by).body) == b"ok"


def test_where_no_address_answers_the_last_fault_is_told(line: Line) -> None:
    """If no address answers, the last error has the operating system's message."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = line.fails(f"{line.scheme}://127.0.0.1:{port}/")
    assert (error.cause, error.detail) == ("connection", "Connection refused")


def test_a_name_that_does_not_exist_is_told_as_such(line: Line) -> None:
    """A name that does not resolve is reported as such, not as a failed connection."""
    error = line.fails(f"{line.scheme}://nowhere.invalid/")
    assert error.cause == "name"
    assert line.fails(f"{line.scheme}://a..b/").cause in ("name", "request")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://user:password@127.0.0.1/",
        "http://127.0.0.1:99999999/",
        "http://127.0.0.1:x/",
        "http://127.0.0.1 /",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nX: y",
        "http://127.0.0.1/ü",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://127.0.0.1\\@example.org/",
        "http:///",
        "//127.0.0.1/",
        "",
    ],
)
def test_what_is_no_plain_url_is_not_asked(line: Line, url: str) -> None:
    """A URL that could be read differently is not requested."""
    assert line.fails(url, by=line.transport()).cause == "request"


@pytest.mark.parametrize(
    "header", [("X", "a\r\nY: b"), ("X\n", "a"), ("X", "a\0b"), ("X: y", "z"), ("X Y", "z"), ("", "x")]
)
def test_what_is_no_header_is_not_sent(line: Line, header: tuple[str, str]) -> None:
    """A header that could inject a line is not sent."""
    server = line.server(Peer.pause)
    error = line.fails(f"{line.scheme}://127.0.0.1:{server.port}/", headers=[header])
    assert error.cause == "request"
