"""Libraries are loaded without what they bring along for a screen that nobody looks at.

Where rich and click are installed, httpx loads both for a command line of its own, and structlog loads rich for
tracebacks that recvault does not write: a fifth of a second of each start. Neither can be told not to; each of them
does without where it finds none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SCREEN = ("click", "pygments", "rich")


@contextmanager
def without(*names: str) -> Iterator[None]:
    """What is imported meanwhile does not find these, unless they are loaded already."""
    modules: dict[str, Any] = sys.modules  # None in it says that there is no such module
    absent = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del modules[name]
