"""recvault: the recording archive sync daemon.

    from recvault import Archive            # reads an archive: needs its URL and keys that may read, nothing else

Both public names are loaded on first use: importing a part of recvault loads no more than that part.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recvault.errors import NotAsArchived
    from recvault.reading import Archive

__version__ = "0.1.0"
__all__ = ["Archive", "NotAsArchived", "__version__"]

_PUBLIC = {"Archive": "recvault.reading", "NotAsArchived": "recvault.errors"}


def __getattr__(name: str) -> Any:
    """Load a public name."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
