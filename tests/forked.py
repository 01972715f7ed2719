"""Processes of recvault without the second of CPU that a fresh Python needs for imports.

One process has everything loaded, and forks: a command's process begins like a fresh Python, with its own arguments,
environment, folder and streams, and ends like one. Its fork server for workers is also a fork, made before anything
happened. Tests with the mark `process` get fresh Pythons, for what is about the start itself, or about what a process
loads, shows or weighs; so do commands with a variable that Python reads at its start.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
_MOST = 1 << 18  # bytes of one request
_AT_START = ("PYTHON", "LC_", "LANG", "MALLOC_", "LD_", "GLIBC", "OPENSSL_CONF", "COVERAGE_")

Work = Callable[[], None]


# -- in the tests ------------------------------------------------------------------------------------------------------


class Forked(subprocess.Popen):  # type: ignore[type-arg]
    """A forked process; otherwise like Popen."""

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, *more: Any):  # type: ignore[no-untyped-def]
        cwd, env, _, _, _, stdin, stdin_ours, out_ours, stdout, err_ours, stderr = more[:11]
        asked = {"args": list(args), "cwd": str(cwd or Path.cwd()), "env": dict(os.environ if env is None else env)}
        streams = [ours if theirs == -1 else theirs for ours, theirs in ((0, stdin), (1, stdout), (2, stderr))]
        self.pid, self._status = _server().start(asked, streams)
        self._child_created = True
        self._close_pipe_fds(stdin, stdin_ours, out_ours, stdout, err_ours, stderr)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        told = self._status.recv(64)
        self._status.close()
        return self.pid, int(told or signal.SIGKILL)  # the server was killed, with all its forks

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid == self.pid:
                        self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


def popen(command: list[str], env: Mapping[str, str], **how: Any) -> subprocess.Popen[Any]:
    """Start a command, `python -m recvault …` or `python -c …`, by a fork if that makes no difference."""
    return (Forked if _serves(command, env) else subprocess.Popen)(command, env=env, **how)


def run(command: list[str], env: Mapping[str, str], cwd: Path | str | None, seconds: float) -> tuple[int, str, str]:
    """Run a command to its end; return its exit code and output."""
    pipe = subprocess.PIPE
    with popen(command, env, stdout=pipe, stderr=pipe, text=True, cwd=cwd) as process:
        try:
            said, told = process.communicate(timeout=seconds)
        finally:
            process.kill()
    return process.returncode, said, told


is_fresh = False  # the running test needs fresh processes


def _serves(command: list[str], env: Mapping[str, str]) -> bool:
    known = command[0] == sys.executable and (command[1:3] == ["-m", "recvault"] or command[1] == "-c")
    return sys.platform == "linux" and known and not is_fresh and _read_at_start(env) == _read_at_start(_OWN)


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_AT_START)}


_OWN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}
_OWN["PYTHONWARNINGS"] = "error::ResourceWarning"


class _Server:
    """The forking process, while this one lives."""

    def __init__(self) -> None:
        self._asks, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, str(Path(__file__)), "forkserver", str(theirs.fileno())]
        self._process = subprocess.Popen(command, env=_OWN, pass_fds=[theirs.fileno()], cwd="/")
        theirs.close()
        self._lock = threading.Lock()

    def start(self, asked: dict[str, Any], streams: list[int]) -> tuple[int, socket.socket]:
        told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with self._lock, theirs:
            socket.send_fds(self._asks, [json.dumps(asked).encode()], [*streams, theirs.fileno()])
        return int(told.recv(64)), told

    def close(self) -> None:
        self._asks.close()
        self._process.wait()


_servers: list[_Server] = []


def _server() -> _Server:
    if not _servers:
        _servers.append(_Server())
    return _servers[0]


def close() -> None:
    """End the forking process."""
    while _servers:
        _servers.pop().close()


# -- in the process that forks -----------------------------------------------------------------------------------------


def _load() -> None:
    """Import everything that any command loads, and botocore's models of S3; not DuckDB, whose thread no fork has."""
    import importlib
    import pkgutil

    import boto3
    import pycurl  # noqa: F401

    import botocore_models
    import recvault
    from recvault.log.lean_imports import without

    botocore_models.share()
    boto3.session.Session().client("s3", region_name="us-east-1").close()
    sys.modules["duckdb"] = None  # type: ignore[assignment]  # its threads do not survive a fork: the child aborts
    for module in pkgutil.walk_packages(recvault.__path__, "recvault."):
        if not module.name.startswith(_NOT_LOADED):
            with contextlib.suppress(ImportError), without("duckdb"):
                importlib.import_module(module.name)
    del sys.modules["duckdb"]
    gc.collect()
    gc.freeze()


_NOT_LOADED = (
    "recvault.simulator",
    "recvault.testing",
    "recvault.__main__",
    "recvault.workers.preload",
    "recvault.cli.demo",
)


def _serve(asks: socket.socket) -> Work | None:
    """Fork on request. Returns the work in a child, nothing in the server at its end."""
    wakes, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    while True:
        ready = select.select([asks, wakes], [], [])[0]
        if wakes in ready:
            wakes.recv(4096)
            _reap(running)
        if asks not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(asks, _MOST, 4)
        if not message:
            return None
        status = socket.socket(fileno=fds.pop())
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (asks, wakes, woken, status, *running.values()):
                each.close()
            return _begin(json.loads(message), fds)
        running[pid] = status
        status.send(str(pid).encode())
        for fd in fds:
            os.close(fd)


def _reap(running: dict[int, socket.socket]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with running.pop(ended[0]) as status, contextlib.suppress(OSError):
                status.send(str(ended[1]).encode())


def _begin(asked: dict[str, Any], fds: list[int]) -> Work:
    """Turn this process into the requested one, as far as possible before it runs."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    for fd in fds:
        os.close(fd)
    os.chdir(asked["cwd"])
    _take_environment(asked["env"])
    sys.stdin, sys.stdout, sys.stderr = (_stream(number) for number in range(3))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    _keep_stem()
    _, flag, what, *words = asked["args"]
    return (lambda: _run_module(what, words)) if flag == "-m" else (lambda: _run_code(what, words))


def _take_environment(env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    time.tzset()


def _stream(number: int) -> Any:
    """Return a standard stream as Python makes it at its start."""
    old = (sys.stdin, sys.stdout, sys.stderr)[number]
    mode, newline = ("r", None) if number == 0 else ("w", "\n")
    made = open(number, mode, encoding=old.encoding, errors=old.errors, newline=newline, closefd=False)  # noqa: SIM115
    made.reconfigure(line_buffering=number == 2 or made.isatty())
    return made


def _run_module(name: str, words: list[str]) -> None:
    import runpy

    sys.argv = [name, *words]
    sys.path[0] = str(Path.cwd())
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_code(code: str, words: list[str]) -> None:
    sys.argv = ["-c", *words]
    sys.path[0] = ""
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), vars(main))


# -- its fork server of workers ----------------------------------------------------------------------------------------


def _keep_stem() -> None:
    """Fork before anything happens: this fork becomes multiprocessing's fork server."""
    from multiprocessing import util

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if (pid := os.fork()) == 0:
        ours.close()
        with contextlib.suppress(SystemExit):
            _become_server(theirs)
        os._exit(0)
    theirs.close()
    begin, stems, asks = util.spawnv_passfds, [pid], ours.detach()

    def spawn(path: Any, args: list[Any], passfds: Any) -> int:
        words = [os.fsdecode(each) for each in args]
        if not stems or "forkserver import main" not in words[-1]:
            return begin(path, args, passfds)
        fds = sorted(map(int, passfds))
        told = json.dumps({"code": words[-1], "fds": fds, "env": dict(os.environ)})
        with socket.socket(fileno=asks) as ours:
            socket.send_fds(ours, [told.encode()], fds)
        return stems.pop()

    util.spawnv_passfds = spawn


def _become_server(asks: socket.socket) -> None:
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's signal, handled by its parent
    message, fds, _, _ = socket.recv_fds(asks, _MOST, 64)
    if not message:
        return  # its parent has ended without a request
    signal.signal(signal.SIGINT, interrupt)
    asked = json.loads(message)
    asks.close()
    high = [_moved(fd) for fd in fds]
    os.closerange(3, min(high))
    for fd, number in zip(high, asked["fds"], strict=True):
        os.dup2(fd, number, inheritable=True)
    for fd in high:
        os.close(fd)
    _take_environment(asked["env"])
    sys.argv = ["-c"]
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    exec(compile(asked["code"], "<string>", "exec"), vars(main))


def _moved(fd: int) -> int:
    import fcntl

    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)
    os.close(fd)
    return moved


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[2])) as _asks:
        _load()
        _work = _serve(_asks)
    if _work is not None:
        _work()
