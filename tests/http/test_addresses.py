"""Which addresses a request may go to."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import httpx
import pytest

from recvault.errors import Unavailable, UnsafeAddress
from recvault.http import AddressRule, Clients
from recvault.testing import Answer
from recvault.transport import PLAIN, WAYS, ExchangeFailed
from recvault.transport import backend as connecting

from .conftest import get, read

PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::7f00:1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2002:7f00:1::1",
    "2001:0:a9fe:a9fe::1",
]
PUBLIC = [
    "93.184.216.34",
    "2606:2800:220:1:248:1893:25c8:1946",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]


class Network:
    """A resolver that answers in turn, and a network without hosts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.connected: list[str] = []
        monkeypatch.setattr(connecting, "resolve", lambda host, port: self._answers.pop(0))
        monkeypatch.setattr(connecting, "_connected", self._connect)

    def _connect(self, address: str, *_: Any) -> Any:
        self.connected.append(address)
        raise ExchangeFailed("connection")


def backend(*media_hosts: str) -> connecting.Backend:
    watch = connecting.Watch(60.0, 1.0, lambda: None)
    return connecting.Backend(AddressRule.of("https://api.example", media_hosts).permits, lambda: watch)


@pytest.mark.parametrize("address", PRIVATE)
def test_no_connection_to_a_private_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """A name that resolves to a private, local, metadata or disguised address is not connected to."""
    network = Network(monkeypatch, [address])
    with pytest.raises(ExchangeFailed, match="not allowed"):
        backend().connect_tcp("media.example", 443)
    assert network.connected == []


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_connected_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Public addresses are connected to, by IPv4, IPv6 and through translators."""
    network = Network(monkeypatch, [address])
    with pytest.raises(ExchangeFailed, match="cannot be reached"):
        backend().connect_tcp("media.example", 443)
    assert [address] == network.connected


@pytest.mark.parametrize(
    ("listed", "permitted"),
    [
        ("media.example", True),
        ("MEDIA.example", True),
        ("media.example:443", True),
        ("media.example:444", False),
        ("example", False),
        ("other.example", False),
    ],
)
def test_listed_hosts_are_the_operators_choice(monkeypatch: pytest.MonkeyPatch, listed: str, permitted: bool) -> None:
    """A host in media_hosts may be private: on any port, or only on the listed one."""
    network = Network(monkeypatch, ["10.0.0.1"])
    with pytest.raises(ExchangeFailed, match="cannot be reached" if permitted else "not allowed"):
        backend(listed).connect_tcp("media.example", 443)
    assert network.connected == (["10.0.0.1"] if permitted else [])


def test_a_name_is_resolved_once_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check and connection use the same single resolution of a name."""
    network = Network(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    with pytest.raises(ExchangeFailed, match="cannot be reached"):
        backend().connect_tcp("media.example", 443)
    with pytest.raises(ExchangeFailed, match="not allowed"):
        backend().connect_tcp("media.example", 443)
    assert network.connected == ["93.184.216.34"]


def test_of_mixed_addresses_only_the_public_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name's private and public addresses only the public ones are tried, in turn."""
    network = Network(monkeypatch, ["10.0.0.1", "93.184.216.34", "::1", "93.184.216.35"])
    with pytest.raises(ExchangeFailed, match="cannot be reached"):
        backend().connect_tcp("media.example", 443)
    assert network.connected == ["93.184.216.34", "93.184.216.35"]


@pytest.mark.parametrize("error", [socket.gaierror("no such name"), UnicodeError("label too long")])
def test_a_name_without_an_address_is_tried_again_later(
    wired: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A name that does not resolve is temporary, not the recording's fault."""
    session = wired.session(wired.front().origin.replace("127.0.0.1", "localhost"))

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unavailable, match="cannot be resolved") as told:
        session.send(get(session.base_url))
    assert "check base_url and this machine's DNS" in told.value.hint


def test_a_port_where_nobody_listens_is_told_with_what_to_do(wired: Any) -> None:
    """A refused connection is reported with the system's message and a hint at address, network and proxy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        session = wired.session(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1 cannot be reached \(Connection refused\)") as told:
            session.send(get(session.base_url))
    assert "check base_url and the network" in told.value.hint


@pytest.mark.parametrize(
    "location",
    [
        "http://media.example/a.wav",
        "http://93.184.216.34/a.wav",
        "http://10.0.0.1/a.wav",
        "http://localhost.example/a.wav",
        "ftp://media.example/a.wav",
        "file:///etc/passwd",
        "https://127.0.0.1:1/a.wav",
        "https://10.0.0.1/a.wav",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]:1/a.wav",
        "https://[::ffff:169.254.169.254]/a.wav",
        "https://[64:ff9b::a9fe:a9fe]/a.wav",
        "https://[fd00:ec2::254]/a.wav",
        "https://2130706433/a.wav",
        "https://0x7f.1/a.wav",
        "https://2852039166/latest/meta-data",
        "https://0xa9fea9fe/latest/meta-data",
        "https://169.0xfe.43518/latest/meta-data",
        "https://[::ffff:a9fe:a9fe]/latest/meta-data",
        "https://[::169.254.169.254]/latest/meta-data",
        "https://[2002:a9fe:a9fe::]/latest/meta-data",
        "https://user@169.254.169.254/latest/meta-data",
    ],
)
def test_a_redirect_leads_nowhere_unsafe(wired: Any, location: str) -> None:
    """Redirects to plain http beyond loopback or to a private address, however written, are not followed."""
    home = wired.front(Answer(status=302, headers=(("Location", location),)))
    with pytest.raises(UnsafeAddress):
        wired.session(home.origin).download(get(home.origin), read)
    assert len(home.seen) == 1


class Resolver:
    """A name service that answers one name in turn, repeating the last answer, and passes numbers through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, *answers: str) -> None:
        self._name = name
        self._answers = list(answers)
        self._real = socket.getaddrinfo
        self.asked = 0
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: str | bytes, port: Any, *rest: Any, **options: Any) -> list[Any]:
        if host not in (self._name, self._name.encode()):
            return self._real(host, port, *rest, **options)
        self.asked += 1
        return self._real(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0], port, *rest, **options)


class PublicTwo(AddressRule):
    """Treats 127.0.0.2 as public, over plain http."""

    def check_url(self, url: httpx.URL) -> None:
        pass

    def permits(self, host: str, port: int, address: str) -> bool:
        return address == "127.0.0.2" or super().permits(host, port, address)


def test_the_connection_goes_to_the_address_that_was_checked(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a name turns private between check and connection, real sockets still use the checked address."""
    private = wired.front(Answer(body=b"credentials of this machine"))
    port = int(private.origin.rpartition(":")[2])
    with socket.create_server(("127.0.0.2", port)) as public:
        public.settimeout(5)
        resolver = Resolver(monkeypatch, "media.example", "127.0.0.2", "127.0.0.1")
        client = Clients(PublicTwo.of("https://api.example"), 2.0)
        served = threading.Thread(target=_serve_once, args=[public])
        served.start()
        assert client.get().get(f"http://media.example:{port}/a.wav").content == b"media"
        served.join(5)
        with pytest.raises(ExchangeFailed, match="not allowed"):
            client.get().get(f"http://media.example:{port}/a.wav")
        client.close()
    assert (resolver.asked, private.seen) == (2, [])


def _serve_once(listener: socket.socket) -> None:
    with contextlib.suppress(TimeoutError), listener.accept()[0] as connection:
        connection.recv(65536)
        connection.sendall(Answer(body=b"media", claimed=5, headers=(("Connection", "close"),)).bytes_on_wire())


@pytest.mark.parametrize(
    "name", ["metadata.google.internal", "instance-data.ec2.internal", "localhost.", "169.254.169.254.nip.example"]
)
@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "127.0.0.1"])
def test_a_redirect_to_a_name_of_the_machines_own_is_not_followed(
    wired: Any, monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    """A redirect to a name that resolves to this machine is not followed, and nothing is sent there."""
    wired.transport = PLAIN  # libcurl has its own resolver
    home = wired.front(Answer(status=307, headers=(("Location", f"https://{name}/latest/meta-data/iam"),)))
    session = wired.session(home.origin)
    Resolver(monkeypatch, name, address)
    with pytest.raises(UnsafeAddress, match="which is not allowed for media"):
        session.download(get(home.origin), read)
    assert session.count.answers == {"307": 1}


@pytest.mark.parametrize(
    "host",
    [
        "0251.0376.0251.0376",
        "0251.254.169.254",
        "169%2E254%2E169%2E254",
        "169\u3002254\u3002169\u3002254",
        "①⑥⑨.254.169.254",
    ],
    ids=["octal", "half octal", "escaped", "stops of Asia", "circled"],
)
@pytest.mark.parametrize("way", WAYS)
def test_an_address_in_disguise_is_not_connected_to(
    wired: Any, monkeypatch: pytest.MonkeyPatch, host: str, way: str
) -> None:
    """A metadata address is not connected to, however it is written."""
    location = f"https://{host}/latest/meta-data".encode().decode("latin-1")
    home = wired.front(Answer(status=302, headers=(("Location", location),)))
    wired.transport = way
    real, connected = AddressRule.permits, []

    def permits(self: AddressRule, name: str, port: int, address: str) -> bool:
        if is_permitted := real(self, name, port, address):
            connected.append(address)
        return is_permitted

    monkeypatch.setattr(AddressRule, "permits", permits)
    session = wired.session(home.origin)
    with pytest.raises((UnsafeAddress, Unavailable)):
        session.download(get(home.origin), read)
    assert set(connected) == {"127.0.0.1"}


def test_loopback_must_be_listed_too(wired: Any) -> None:
    """A redirect to another service on this machine is followed only if its host, or host and port, is listed."""
    other = wired.front(Answer(body=b"media"))
    home = wired.front(Answer(status=302, headers=(("Location", f"{other.origin}/a.wav"),)))
    with pytest.raises(UnsafeAddress):
        wired.session(home.origin).download(get(home.origin), read)
    with pytest.raises(UnsafeAddress):
        wired.session(home.origin, hosts=("127.0.0.1:1",)).download(get(home.origin), read)
    assert other.seen == []
    for listed in ("127.0.0.1", other.host):
        assert wired.session(home.origin, hosts=(listed,)).download(get(home.origin), read) == b"media"


def test_refused_addresses_use_up_no_connection(wired: Any) -> None:
    """After many refused addresses the same client still connects."""
    away = Answer(status=302, headers=(("Location", "https://127.0.0.1:1/a.wav"),))
    home = wired.front(lambda request: away if request.path == "/away" else Answer(body=b"media"))
    session = wired.session(home.origin)
    for _ in range(12):
        with pytest.raises(UnsafeAddress):
            session.download(get(f"{home.origin}/away"), read)
    assert session.download(get(home.origin), read) == b"media"


def test_the_guard_is_in_every_client(wired: Any) -> None:
    """Every client's transport checks each connection."""
    client = wired.clients("https://api.example").get()
    for address in ("127.0.0.1", "[::1]"):
        with pytest.raises(ExchangeFailed, match="not allowed"):
            client.get(f"https://{address}:1/")
