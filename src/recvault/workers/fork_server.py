"""Start worker processes: forked by a server that has everything loaded, if possible.

The server is a fresh Python that is executed, not forked: it inherits no lock, thread or file. Without it each worker
process is a fresh Python itself, and takes a second of CPU to start.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import sys
from collections.abc import Callable
from multiprocessing import forkserver, util
from multiprocessing.process import BaseProcess
from typing import Any

from recvault.log.lines import get_logger

log = get_logger("recvault.workers.fork_server")

HAS_SERVER = sys.platform == "linux"
_PRELOAD = "recvault.workers.preload"


def warm() -> None:
    """Let the server load in parallel with its parent, because a process will be needed soon."""
    if HAS_SERVER:
        with contextlib.suppress(OSError):  # reported when a process is started
            _context()
            forkserver.ensure_running()


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process that runs `target` and ends with this one, at the latest."""
    if HAS_SERVER:
        try:
            process: BaseProcess = _context().Process(target=target, args=arguments, daemon=True)
            process.start()
            return process
        except (OSError, EOFError) as error:  # no space for its socket, or the server was just killed
            log.warning("worker.no_fork_server", error=f"{type(error).__name__}: {error}")
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def clear() -> None:
    """Remove the folder of the server's socket, which a killed parent could not remove."""
    shutil.rmtree(util.get_temp_dir(), ignore_errors=True)


def _context() -> multiprocessing.context.ForkServerContext:
    util.get_temp_dir()  # created before any process, so that each knows it: it holds the server's socket
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOAD])  # not `__main__`, which is a command line
    return context
