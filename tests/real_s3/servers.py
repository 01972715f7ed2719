"""Shared by all real S3 servers: address, processes, and what to install.

Nothing here installs anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE = 60.0  # seconds until a server must answer
_RECORD = "server.json"


class Absent(Exception):
    """This machine lacks a server; the message says what to install."""


class NotStarted(Exception):
    """An installed server does not start; the message says where its log is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealServer:
    """A running server, over http and over https with a certificate of our own authority."""

    name: str
    url: str
    tls_url: str
    authority: str  # file: the certificate to trust, as AWS_CA_BUNDLE names it
    access_key: str
    secret_key: str
    pids: tuple[int, ...]

    @property
    def keys(self) -> dict[str, str]:
        """The credentials as environment variables, which boto3 reads."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


def home() -> Path:
    """Return the folder of servers that were started by hand."""
    return Path(tempfile.gettempdir()) / f"recvault-real-s3-{os.getuid()}"


def remember(server: RealServer) -> None:
    """Record a server that was started by hand, for tests and `stop`."""
    (home() / server.name / _RECORD).write_text(json.dumps(dataclasses.asdict(server)))


def running(name: str) -> RealServer | None:
    """Return the server of that name that was started by hand, if it runs."""
    try:
        found = json.loads((home() / name / _RECORD).read_text())
    except (OSError, ValueError):
        return None
    server = RealServer(**{**found, "pids": tuple(found["pids"])})
    return server if all(_is_ours(pid, home() / name) for pid in server.pids) else None


def stop(name: str) -> bool:
    """End the server that was started by hand and remove its data; False if there is none."""
    folder = home() / name
    if not folder.exists():
        return False
    pids = [int(each.read_text()) for each in folder.glob("*.pid")]
    for pid in reversed(pids):
        end(pid, folder)
    shutil.rmtree(folder)
    return True


def end(pid: int, folder: Path) -> None:
    """End one process, if it still is the one started over this folder."""
    for how, seconds in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        with contextlib.suppress(ProcessLookupError):
            if _is_ours(pid, folder):
                os.kill(pid, how)
        while _is_ours(pid, folder) and time.monotonic() < deadline:
            time.sleep(0.05)


def _is_ours(pid: int, folder: Path) -> bool:
    """Whether this process runs over this folder, as pids are reused."""
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def spawn(folder: Path, name: str, *words: str) -> int:
    """Start a process that stays; output goes to NAME.log, its pid to NAME.pid."""
    with (folder / f"{name}.log").open("ab") as log:
        started = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    (folder / f"{name}.pid").write_text(str(started.pid))
    return started.pid


def await_answer(url: str, log: Path) -> None:
    """Wait until a URL gives any answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise NotStarted(f"nothing answers at {url} ({error}); see {log}") from error
            time.sleep(0.1)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def described(server: RealServer) -> str:
    """Return shell lines that point the tests, or anything else, at it."""
    lines = {"RECVAULT_TEST_S3_ENDPOINT": server.url, **server.keys, "AWS_CA_BUNDLE": server.authority}
    told = "\n".join(f"{name}={value}" for name, value in lines.items())
    return f"{told}\n# {server.name}: also at {server.tls_url}; end it with: {sys.executable} tests/real_s3 stop"
