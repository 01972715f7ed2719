"""Run a command that asks on a terminal: wait for its output, and type the answers."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.commands import PATIENCE, open_terminal
from forked import popen

_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CTRL_D = "\x04"  # end of input


def talk(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, *answers: tuple[str, str], columns: int = 100
) -> tuple[int, str]:
    """Run a command; when its output ends with the first text, type the second, and so on: exit code and all shown."""
    ours, theirs = open_terminal(50, columns)
    surroundings = {**env, "TERM": "xterm-256color", "NO_COLOR": "1", "COLUMNS": str(columns)}
    process = popen(list(command), surroundings, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd)
    os.close(theirs)
    shown, seen = "", 0
    try:
        for awaited, reply in answers:
            shown = _until(ours, shown, seen, awaited)
            seen = len(shown)
            os.write(ours, reply.encode() if reply == CTRL_D else f"{reply}\n".encode())
        shown = _until(ours, shown, seen, None)
        return process.wait(PATIENCE), shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _until(terminal: int, shown: str, seen: int, awaited: str | None) -> str:
    """Read until the text appears, or to the end."""
    limit = time.monotonic() + PATIENCE
    while awaited is None or awaited not in shown[seen:]:
        assert time.monotonic() < limit, f"waited for {awaited!r} after:\n{shown[-2000:]}"
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:  # EIO: the other side is closed
            more = b""
        if not more:
            assert awaited is None, f"ended without {awaited!r}:\n{shown[-3000:]}"
            return shown
        shown += _STYLE.sub("", more.decode("utf-8", "replace")).replace("\r\n", "\n")
    return shown
