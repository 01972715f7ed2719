"""What every real S3 server has in common here: where it is, its processes, and what to install where it is not.

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
    """This machine lacks a server; says what to install."""


class NotStarted(Exception):
    """It is installed, and does not start; says where its log is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealServer:
    """A server that answers, over http and over https by a certificate of our own authority."""

    name: str
    url: str
    tls_url: str
    authority: str  # file: the certificate to trust, as AWS_CA_BUNDLE names it
    access_key: str
    secret_key: str
    pids: tuple[int, ...]

    @property
    def keys(self) -> dict[str, str]:
        """What boto3's own chain reads."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


def home() -> Path:
    """Where servers that were started by hand keep what is theirs."""
    return Path(tempfile.gettempdir()) / f"recvault-real-s3-{os.getuid()}"


def remember(server: RealServer) -> None:
    """Note a server that was started by hand, so that tests find it and `stop` ends it."""
    (home() / server.name / _RECORD).write_text(json.dumps(dataclasses.asdict(server)))


def running(name: str) -> RealServer | None:
    """The server of that name that was started by hand, if it runs."""
    try:
        found = json.loads((home() / name / _RECORD).read_text())
    except (OSError, ValueError):
        return None
    server = RealServer(**{**found, "pids": tuple(found["pids"])})
    return server if all(_is_ours(pid, home() / name) for pid in server.pids) else None


def stop(name: str) -> bool:
    """End the server that was started by hand and remove what it stored; False where there is none."""
    folder = home() / name
    if not folder.exists():
        return False
    pids = [int(each.read_text()) for each in folder.glob("*.pid")]
    for pid in reversed(pids):
        end(pid, folder)
    shutil.rmtree(folder)
    return True


def end(pid: int, folder: Path) -> None:
    """End one process, if it is still the one that was started over this folder."""
    for how, seconds in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        with contextlib.suppress(ProcessLookupError):
            if _is_ours(pid, folder):
                os.kill(pid, how)
        while _is_ours(pid, folder) and time.monotonic() < deadline:
            time.sleep(0.05)


def _is_ours(pid: int, folder: Path) -> bool:
    """Whether this process runs, and runs over this folder: numbers are used again."""
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def spawn(folder: Path, name: str, *words: str) -> int:
    """Start a process that stays; its output goes to NAME.log, its number to NAME.pid."""
    with (folder / f"{name}.log").open("ab") as log:
        started = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    (folder / f"{name}.pid").write_text(str(started.pid))
    return started.pid


def await_answer(url: str, log: Path) -> None:
    """Wait until something answers at a URL, whatever it says."""
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
    """A port that nothing listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def described(server: RealServer) -> str:
    """How to point the tests, or anything else, at it: lines that a shell reads."""
    lines = {"RECVAULT_TEST_S3_ENDPOINT": server.url, **server.keys, "AWS_CA_BUNDLE": server.authority}
    told = "\n".join(f"{name}={value}" for name, value in lines.items())
    return f"{told}\n# {server.name}: also at {server.tls_url}; end it with: {sys.executable} tests/real_s3 stop"
