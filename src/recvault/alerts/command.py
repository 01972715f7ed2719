"""Run a program as notification: limited in time, in output that is read, and in what it gets to know.

Of this process's environment it gets only a few harmless variables, because the environment may contain secrets.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from recvault.log.lines import redact_text

PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
_MOST_READ = 1 << 16  # bytes kept of what it writes to its error output
_MOST_SAID = 2000  # characters of it that are shown: masked before they are cut, as half a secret is not recognised
_LOOK_SECONDS = 0.05


def run(
    command: Sequence[str],
    given: bytes,
    variables: Mapping[str, str],
    environment: Mapping[str, str],
    seconds: float,
) -> str:
    """Run it without a shell; return the error, or an empty text. It is killed with its children after `seconds`."""
    passed = {name: environment[name] for name in PASSED_ON if name in environment}
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own command
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**passed, **variables},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"{command[0]} cannot be started: {getattr(error, 'strerror', None) or error}"
    with process:
        said = _attended(process, given, time.monotonic() + seconds)
        if process.returncode is None:
            _kill(process)
            return f"{command[0]} was stopped after {seconds:g} s"
    if process.returncode == 0:
        return ""
    end = f"{command[0]} exited with {process.returncode}"
    words = redact_text(said.decode("utf-8", "replace")).strip().replace("\n", " ")[:_MOST_SAID]
    return f"{end}: {words}" if words else end


def _attended(process: subprocess.Popen[bytes], given: bytes, until: float) -> bytes:
    """Write its input and read its error output until it ends or the time is over."""
    assert process.stdin is not None and process.stderr is not None  # noqa: S101 - pipes, as asked for
    for pipe in (process.stdin, process.stderr):
        os.set_blocking(pipe.fileno(), False)
    said, left, writing = b"", memoryview(given), True
    while process.poll() is None and time.monotonic() < until:
        wants = [process.stdin.fileno()] if writing else []
        readable, writable, _ = select.select([process.stderr.fileno()], wants, [], _LOOK_SECONDS)
        if readable:
            said = _read(process, said)
        if writable:
            left = _write(process, left)
            if not left:
                writing = False
                with contextlib.suppress(OSError):
                    process.stdin.close()
    return _read(process, said)


def _read(process: subprocess.Popen[bytes], said: bytes) -> bytes:
    assert process.stderr is not None  # noqa: S101
    with contextlib.suppress(BlockingIOError):
        piece = os.read(process.stderr.fileno(), 1 << 16)
        if not piece:
            time.sleep(_LOOK_SECONDS)  # it closed its error output but still runs
        return (said + piece)[:_MOST_READ]
    return said


def _write(process: subprocess.Popen[bytes], left: memoryview) -> memoryview:
    assert process.stdin is not None  # noqa: S101
    try:
        return left[os.write(process.stdin.fileno(), left) :]
    except BlockingIOError:
        return left
    except OSError:  # it does not read
        return left[len(left) :]


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
