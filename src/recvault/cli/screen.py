"""A page on a terminal that is refreshed in place, line by line, so that it does not flicker."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from recvault.cli.tables import console

if TYPE_CHECKING:
    from rich.console import Console

_HOME, _LINE_END, _BELOW, _ALL = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"


class Screen:
    """The terminal's whole window. The first page clears it, each further one is written over the last."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None

    def show(self, draw: Callable[[Console], None]) -> None:
        """Draw a page, cut to the window's height, in one write."""
        columns, rows = shutil.get_terminal_size()
        screen = console()
        with screen.capture() as captured:
            draw(screen)
        lines = captured.get().rstrip("\n").split("\n")
        if len(lines) > rows - 1:
            left = len(lines) - (rows - 2)
            lines = [*lines[: rows - 2], f"… {left} more lines: enlarge the window, or omit --watch"]
        clear = _ALL if self._size != (columns, rows) else ""
        self._size = (columns, rows)
        sys.stdout.write(f"{clear}{_HOME}{''.join(f'{line}{_LINE_END}{chr(10)}' for line in lines)}{_BELOW}")
        sys.stdout.flush()
