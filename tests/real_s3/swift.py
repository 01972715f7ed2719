"""OpenStack Swift with its S3 API, from PyPI: it verifies SHA-256, and has no Object Lock."""

from __future__ import annotations

import importlib.metadata
import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from real_s3 import certificates
from real_s3.servers import PATIENCE, Absent, NotStarted, RealServer, await_answer, free_port, spawn

NAME = "swift"
_PROCESS = Path(__file__).with_name("swift_process.py")


def check() -> None:
    """Raise Absent, with what to install, if this interpreter has no Swift."""
    try:
        importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:
        raise Absent("Swift is not installed: pip install -e '.[real-s3]'") from None


def start(folder: Path) -> RealServer:
    """Start it over a folder, until it is stopped."""
    check()
    authority, port, tls_port = certificates.make(folder), free_port(), free_port()
    pid = spawn(folder, NAME, *_command(folder, port, tls_port))
    await_answer(f"http://127.0.0.1:{port}/", folder / f"{NAME}.log")
    told = {"port": port, "tls_port": tls_port, "access_key": "test:tester", "secret_key": "testing", "pid": pid}
    return _server(told, authority)


@contextmanager
def started(folder: Path) -> Iterator[RealServer]:
    """Run Swift during the context, and never longer than this process."""
    check()
    authority = certificates.make(folder)
    with (
        (folder / f"{NAME}.log").open("wb") as log,
        subprocess.Popen(
            [*_command(folder, 0, 0), "--until-eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        assert process.stdin and process.stdout
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        line = process.stdout.readline() if ready else b""
        if not line:
            process.kill()
            raise NotStarted(f"Swift did not start: {Path(log.name).read_text()[-2000:]}")
        try:
            yield _server(json.loads(line), authority)
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


def _command(folder: Path, port: int, tls_port: int) -> list[str]:
    """Return the command, with -P as a module beside the script has Swift's name."""
    return [sys.executable, "-P", str(_PROCESS), str(folder), str(port), str(tls_port)]


def _server(told: dict[str, int | str], authority: Path) -> RealServer:
    return RealServer(
        name=NAME,
        url=f"http://127.0.0.1:{told['port']}",
        tls_url=f"https://localhost:{told['tls_port']}",
        authority=str(authority),
        access_key=str(told["access_key"]),
        secret_key=str(told["secret_key"]),
        pids=(int(told["pid"]),),
    )
