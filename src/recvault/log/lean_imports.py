"""Import libraries without their optional terminal output.

If rich and click are installed, httpx imports both for its own command line, and structlog imports rich for tracebacks
that recvault does not write: a fifth of a second at each start. This cannot be configured, but both work without them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SCREEN = ("click", "pygments", "rich")


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Imports in this context do not find these modules, unless they are already loaded."""
    modules: dict[str, Any] = sys.modules  # None: import fails as if the module did not exist
    absent = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del modules[name]
