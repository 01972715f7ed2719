"""A Dask cluster for the tests: scheduler and workers in their own processes, started as an operator would."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.commands import environment, until
from real_s3.fixtures import LACKS

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason=f"{LACKS}a cluster: pip install 'recvault[cluster]'"
)


class Cluster:
    """A context that kills its processes at its end."""

    def __init__(self, root: Path, tls: Sequence[str] = ()) -> None:
        self._root, self._tls = root, list(tls)
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        self.address = f"{'tls' if tls else 'tcp'}://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--port", str(self.port))

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            process.send_signal(signal.SIGKILL)
            process.wait()

    def log(self, process: subprocess.Popen[bytes]) -> str:
        """Return what a process wrote."""
        return (self._root / f"{self._name(process)}.log").read_text()

    def add_worker(self, *words: str, tls: Sequence[str] | None = None, **env: str) -> subprocess.Popen[bytes]:
        """Start one more worker, without waiting for it."""
        worker = self._start("worker", self.address, "--nthreads", "1", "--no-nanny", *words, tls=tls, **env)
        self.workers.append(worker)
        return worker

    def with_workers(self, count: int, *words: str, **env: str) -> Cluster:
        """Start so many workers, and wait until they have joined."""
        for worker in [self.add_worker(*words, **env) for _ in range(count)]:
            until(lambda worker=worker: "Registered to" in self.log(worker), 60.0)  # type: ignore[misc]
        return self

    def restart_scheduler(self) -> None:
        """Start a new scheduler at the same address."""
        self.scheduler = self._start("scheduler", "--port", str(self.port))

    def _start(self, kind: str, *words: str, tls: Sequence[str] | None = None, **env: str) -> subprocess.Popen[bytes]:
        self._root.mkdir(exist_ok=True)
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words, "--host", "127.0.0.1"]
        command += ["--no-dashboard", *(self._tls if tls is None else tls)]
        surroundings = {**environment(self._root, **env), "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
        surroundings["DASK_TEMPORARY_DIRECTORY"] = str(self._root)
        del surroundings["PYTHONWARNINGS"]
        made = self._root / f"{len(list(self._root.iterdir()))}.log"
        with made.open("wb") as file:
            process = subprocess.Popen(command, env=surroundings, stdout=file, stderr=file, cwd=self._root)
        made.rename(self._root / f"{self._name(process)}.log")
        return process

    @staticmethod
    def _name(process: subprocess.Popen[bytes]) -> str:
        return f"dask-{process.pid}"
