"""Nothing is followed, decoded or added, neither by the answer nor by the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from recvault.transport import Enough, Head, Trust
from transport.certificates import Authority
from transport.loopback import OK, Asked, Line, Peer, Taken


def keeping(seen: list[Asked], octets: bytes = OK) -> object:
    def behave(peer: Peer) -> None:
        while True:
            seen.append(peer.request())
            peer.send(octets)

    return behave


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_handed_over(line: Line, status: int) -> None:
    """A redirect is returned, not followed, as each host has its own credentials."""
    other = line.server(Peer.pause)
    place = f"{line.scheme}://127.0.0.1:{other.port}/there"
    head = f"HTTP/1.1 {status} Found\r\nLocation: {place}\r\nContent-Length: 2\r\n\r\n".encode()
    taken = line.ask(line.answers(head + b"ok"))
    assert (taken.head.status, [value for name, value in taken.head.headers if name == "Location"]) == (status, [place])
    assert (bytes(taken.body), other.accepted) == (b"ok", 0)


def test_a_refusal_is_handed_over(line: Line) -> None:
    """A 401 with challenges is returned, and no credentials are tried."""
    seen: list[Asked] = []
    answer = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 2\r\n\r\nok"
    assert line.ask(line.serve(keeping(seen, answer))).head.status == 401
    assert len(seen) == 1


@pytest.mark.parametrize("moment", ["begin", "write"])
def test_a_receiver_that_has_enough_ends_an_exchange_quietly(line: Line, moment: str) -> None:
    """A receiver's Enough returns the head, and nothing more is read."""

    class Full(Taken):
        def begin(self, head: Head) -> None:
            super().begin(head)
            if moment == "begin":
                raise Enough

        def write(self, piece: memoryview | bytes) -> None:
            super().write(piece)
            raise Enough

    origin = line.answers(b"HTTP/1.1 302 Found\r\nContent-Length: 900\r\nLocation: /x\r\n\r\nok", then=Peer.pause)
    full = Full()
    request = line.request(origin)
    head = line.by.exchange(request, full, lambda: None)
    assert (head, full.pieces) == (full.head, 0 if moment == "begin" else 1)


@pytest.mark.parametrize("moment", ["begin", "write"])
def test_what_a_receiver_raises_comes_out_as_itself(line: Line, moment: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A receiver's exception propagates unchanged, and nothing is printed by C."""

    class Failing(Taken):
        error: BaseException = KeyError("full")

        def begin(self, head: Head) -> None:
            if moment == "begin":
                raise self.error

        def write(self, piece: memoryview | bytes) -> None:
            raise self.error

    origin = line.serve(keeping([]))
    for error in (KeyError("full"), OSError(28, "No space left on device"), SystemExit(3), KeyboardInterrupt()):
        failing = Failing()
        failing.error = error
        with pytest.raises(type(error)) as raised:
            line.ask(origin, to=failing)
        assert raised.value is error
    assert bytes(line.ask(origin).body) == b"ok"
    assert capfd.readouterr() == ("", "")


def test_a_body_that_cannot_be_read_ends_its_exchange_by_its_own_error(line: Line, tmp_path: Path) -> None:
    """An error of the body's file propagates unchanged."""
    path = tmp_path / "body"
    path.write_bytes(b"12345")
    with path.open("rb") as body:
        body.close()
        with pytest.raises(ValueError, match="closed file"):
            line.ask(line.serve(keeping([])), "PUT", body=body, length=5)


def test_a_body_is_as_long_as_announced(line: Line, tmp_path: Path) -> None:
    """A longer body is sent only up to its length; a shorter one is an error."""
    path = tmp_path / "body"
    path.write_bytes(b"1234567890")
    seen: list[Asked] = []
    origin = line.serve(keeping(seen))
    with path.open("rb") as body:
        body.seek(2)
        line.ask(origin, "PUT", body=body, length=5)
        assert line.fails(origin, "PUT", body=body, length=100_000).cause == "request"
    assert seen[0].body == b"34567"


def test_only_what_is_asked_is_sent(line: Line) -> None:
    """Only headers that HTTP needs are added, and cookies are not kept."""
    seen: list[Asked] = []
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"
    origin = line.serve(keeping(seen, cookie))
    asking = [("X-One", "1"), ("Accept-Encoding", "identity"), ("User-Agent", "recvault/1"), ("X-Empty", "")]
    line.ask(f"{origin}/a/../b?x=%2F", headers=asking)
    line.ask(f"{origin}/a/../b?x=%2F", headers=asking)
    line.ask(origin, "PUT", body=b"12")
    line.ask(origin, "DELETE")
    line.ask(origin, "POST", body=b"")
    host = origin.partition("://")[2]
    sent = {"authorization": f"Bearer {line.secret}", "host": host}
    wanted = sent | {"x-one": "1", "accept-encoding": "identity", "user-agent": "recvault/1", "x-empty": ""}
    assert [each.headers for each in seen] == [
        wanted,
        wanted,
        sent | {"content-length": "2"},
        sent,
        sent | {"content-length": "0"},
    ]
    assert [each.method for each in seen] == ["GET", "GET", "PUT", "DELETE", "POST"]
    assert seen[0].target == f"/a/../b?x=%2F&token={line.secret}"


def test_the_environment_plays_no_part(
    line: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority
) -> None:
    """Proxies, passwords and certificates of the environment are ignored."""
    elsewhere = line.server(Peer.pause)
    address = f"http://127.0.0.1:{elsewhere.port}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, address)
        monkeypatch.setenv(name.lower(), address)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CURL_HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password netrc\n")
    (tmp_path / ".curlrc").write_text(f'proxy = "{address}"\nheader = "X-From: curlrc"\n')
    other = Authority(tmp_path, "other")
    monkeypatch.setenv("SSL_CERT_FILE", other.file)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    seen: list[Asked] = []
    origin = line.serve(keeping(seen))
    taken = line.ask(origin, by=line.transport())
    assert (bytes(taken.body), elsewhere.accepted) == (b"ok", 0)
    assert set(seen[0].headers) == {"authorization", "host"}
    if line.scheme == "https":
        monkeypatch.setenv("SSL_CERT_FILE", authority.file)
        assert line.fails(origin, by=line.transport(trust=Trust(file=other.file))).cause == "certificate"


def test_no_proxy_variable_takes_a_proxy_away(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured proxy is used despite NO_PROXY."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = line.server(Peer.pause)
    with line.closed_port() as port:
        by = line.transport(proxy=line.proxy(f"http://127.0.0.1:{port}"))
        assert line.fails(f"{line.scheme}://127.0.0.1:{server.port}", by=by).cause == "proxy"
    assert server.accepted == 0
