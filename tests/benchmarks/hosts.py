"""The hosts of the comparison: they list, serve media and accept PUTs, much faster than the contestants.

`fast` is nginx with all files in memory. `slow` is a server that answers after a delay, as over a network; this file
run as a program is that server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import pwd
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ACCOUNT = "AC" + "b" * 32
MEDIA = f"/2010-04-01/Accounts/{ACCOUNT}/Recordings"
DAY = "Thu, 01 Oct 2026 09:00:00 +0000"
RATE = 8000  # samples a second, of two bytes each
PAGE = 1000
DISTINCT = 8  # bodies, served under all names in turn, as no contestant compares them

_EMPTY = '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
_SUM = b"x-amz-checksum-sha256:"  # also in a store's answer
_NGINX = """
user {user}; daemon off; worker_processes auto; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; client_max_body_size 0;
  client_body_buffer_size 4m; client_body_temp_path {root}/body; proxy_temp_path {root}/t1;
  fastcgi_temp_path {root}/t2; uwsgi_temp_path {root}/t3; scgi_temp_path {root}/t4;
  types {{ audio/x-wav wav; application/json json; }}
  map $arg_Page $page {{ "" 0; default $arg_Page; }}
  server {{
    listen 127.0.0.1:{port} backlog=511;
    root {root}/files;
    location = {media}.json {{ rewrite ^ /pages/$page.json break; }}
    location ~ ^{media}/RE[0-9a-f]*(?<last>[0-9a-f])\\.wav$ {{ rewrite ^ /bodies/$last.wav break; }}
    location / {{
      if ($args ~ "(list-type|uploads)") {{ return 200 '{empty}'; }}
      dav_methods PUT; create_full_put_path on;
      add_header ETag '"0"';  # a store says what it took
      add_header x-amz-checksum-sha256 $http_x_amz_checksum_sha256;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Arrived:
    """What a contestant has put: objects, bytes, and the time between the first and the last."""

    media: int
    sidecars: int
    bytes: int
    seconds: float


def ids(count: int) -> list[str]:
    """Return the recordings' names."""
    return [f"RE{number:032x}" for number in range(count)]


def wavs(size: int) -> list[bytes]:
    """Return WAVs of noise."""
    noise = random.Random(1)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16, b"data", size
    )
    return [head + noise.randbytes(size) for _ in range(DISTINCT)]


def pages(count: int, size: int) -> list[bytes]:
    """Return Twilio's list, newest first, a thousand rows a page."""
    rows = [_row(each, size) for each in reversed(ids(count))]
    found = []
    for number in range(0, max(1, count), PAGE):
        more = number + PAGE < count
        document = {
            "recordings": rows[number : number + PAGE],
            "page": number // PAGE,
            "page_size": PAGE,
            "next_page_uri": f"{MEDIA}.json?PageSize={PAGE}&Page={number // PAGE + 1}" if more else None,
        }
        found.append(json.dumps(document).encode())
    return found


def _row(recording_id: str, size: int) -> dict[str, object]:
    return {
        "sid": recording_id,
        "account_sid": ACCOUNT,
        "call_sid": "CA" + recording_id[2:],
        "conference_sid": None,
        "status": "completed",
        "channels": 1,
        "source": "DialVerb",
        "duration": str(max(1, round(size / (2 * RATE)))),
        "date_created": DAY,
        "date_updated": DAY,
        "start_time": DAY,
        "price": "-0.0025",
        "price_unit": "USD",
        "error_code": None,
        "encryption_details": None,
        "api_version": "2010-04-01",
        "uri": f"{MEDIA}/{recording_id}.json",
        "media_url": None,
        "subresource_uris": {},
    }


# -- nginx -------------------------------------------------------------------------------------------------------------


class Fast:
    """nginx, with everything in memory."""

    def __init__(self, root: Path, count: int, size: int) -> None:
        nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if nginx is None:
            raise SystemExit("nginx is not installed: no other host is fast enough (Debian: apt-get install nginx)")
        self._root, port = root, free_port()
        (root / "files/bodies").mkdir(parents=True)
        (root / "files/pages").mkdir()
        for number, each in enumerate(wavs(size)):  # by the last hex digit of a recording's id
            (root / f"files/bodies/{number:x}.wav").write_bytes(each)
        for number in range(DISTINCT, 16):
            os.link(root / f"files/bodies/{number - DISTINCT:x}.wav", root / f"files/bodies/{number:x}.wav")
        for number, each in enumerate(pages(count, size)):
            (root / f"files/pages/{number}.json").write_bytes(each)
        user = pwd.getpwuid(os.getuid()).pw_name
        text = _NGINX.format(user=user, root=root, port=port, media=MEDIA, empty=_EMPTY)
        (root / "nginx.conf").write_text(text)
        self._process = subprocess.Popen([nginx, "-c", str(root / "nginx.conf"), "-e", str(root / "error.log")])
        self.url, self.name = f"http://127.0.0.1:{port}", "nginx, all in memory"
        wait_for(port)

    def arrived(self, bucket: str) -> Arrived:
        """Return what is in a bucket, and empty it."""
        folder = self._root / "files" / bucket
        found = [(path.suffix, path.stat()) for path in folder.rglob("RE*.*")]
        times = [stat.st_mtime for _, stat in found]
        media = [stat.st_size for suffix, stat in found if suffix == ".wav"]
        shutil.rmtree(folder)
        return Arrived(len(media), len(found) - len(media), sum(media), max(times) - min(times))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


# -- a host that takes its time ----------------------------------------------------------------------------------------


class Slow:
    """Answers a GET after 80 ms and a PUT after 40."""

    def __init__(self, root: Path, count: int, size: int) -> None:
        port = free_port()
        self._process = subprocess.Popen([sys.executable, __file__, str(port), str(count), str(size)])
        self.url, self.name = f"http://127.0.0.1:{port}", "a server that takes 80 ms for a GET and 40 ms for a PUT"
        wait_for(port)

    def arrived(self, bucket: str) -> Arrived:
        with urllib.request.urlopen(f"{self.url}/arrived/{bucket}") as answer:
            return Arrived(**json.load(answer))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


class _Waiting(asyncio.Protocol):
    """One connection of the slow host."""

    bodies: list[bytes]
    pages: list[bytes]
    puts: dict[str, list[tuple[bool, int, float]]] = {}  # noqa: RUF012 - one for all connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.head, self.left, self.got = b"", 0, b""

    def data_received(self, data: bytes) -> None:
        while data:
            if self.left:
                taken = min(self.left, len(data))
                self.left -= taken
                data = data[taken:]
                if not self.left:
                    self.answer()
                continue
            head, end, data = (self.got + data).partition(b"\r\n\r\n")
            if not end:
                self.got = head
                return
            self.got, self.head = b"", head
            lower = head.lower()
            at = lower.find(b"\r\ncontent-length:")
            self.left = self.size = 0 if at < 0 else int(lower[at + 17 :].partition(b"\r\n")[0])
            if b"100-continue" in lower:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if not self.left:
                self.answer()

    def answer(self) -> None:
        method, _, rest = self.head.partition(b" ")
        path = rest.partition(b" ")[0].decode()
        if method == b"PUT":
            _, bucket, *_, name = path.partition("?")[0].split("/")
            if name.startswith("RE"):
                self.puts.setdefault(bucket, []).append((name.endswith(".wav"), self.size, time.time()))
            told = next((line for line in self.head.split(b"\r\n") if line.lower().startswith(_SUM)), b"x-none: 1")
            self.later(0.04, b'HTTP/1.1 200 OK\r\nETag: "0"\r\n%b\r\nContent-Length: 0\r\n\r\n' % told)
        elif path.startswith("/arrived/"):
            self.later(0, _answer(self._arrived(path[9:]), b"application/json"))
        elif path.endswith(".wav"):
            body = self.bodies[int(path[-5], 16) % DISTINCT]
            self.later(0.08, _answer(b"" if method == b"HEAD" else body, b"audio/x-wav", len(body)))
        elif path.startswith(MEDIA):
            number = path.partition("&Page=")[2].partition("&")[0]
            self.later(0.08, _answer(self.pages[int(number or 0)], b"application/json"))
        else:
            self.later(0.04, _answer(_EMPTY.encode(), b"application/xml"))

    def later(self, seconds: float, answer: bytes) -> None:
        asyncio.get_running_loop().call_later(seconds, self.transport.write, answer)

    def _arrived(self, bucket: str) -> bytes:
        puts = self.puts.pop(bucket)
        times = [moment for _, _, moment in puts]
        media = [size for is_media, size, _ in puts if is_media]
        return json.dumps(
            vars(Arrived(len(media), len(puts) - len(media), sum(media), max(times) - min(times)))
        ).encode()


def _answer(body: bytes, kind: bytes, length: int | None = None) -> bytes:
    said = len(body) if length is None else length
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, said, body)


async def _serve(port: int, count: int, size: int) -> None:
    _Waiting.bodies, _Waiting.pages = wavs(size), pages(count, size)
    server = await asyncio.get_running_loop().create_server(_Waiting, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


# -- both --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def host(kind: type[Fast] | type[Slow], root: Path, count: int, size: int) -> Iterator[Fast | Slow]:
    """Run a host during the context."""
    found = kind(root, count, size)
    try:
        yield found
    finally:
        found.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("the host does not answer")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("port", "count", "size"):
        parser.add_argument(name, type=int)
    asked = parser.parse_args()
    asyncio.run(_serve(asked.port, asked.count, asked.size))
