"""The files that come with the program: the example configuration, the units, and the rest of `systemd/`.

In a checkout they are at its top; a wheel contains a copy inside the package.
"""

from __future__ import annotations

from pathlib import Path

import recvault
from recvault.errors import RecvaultError

EXAMPLE = "config.example.toml"
UNITS = "systemd"
_PACKAGE = Path(recvault.__file__).parent


def shipped(name: str) -> Path:
    """Return the path of a shipped file or folder. RecvaultError if this installation lacks it."""
    for top in (_PACKAGE / "shipped", _PACKAGE.parents[1]):
        if (top / name).exists():
            return top / name
    raise RecvaultError(
        f"this installation has no {name}", "install recvault again, from a wheel or with `pip install .` in a checkout"
    )


def example() -> str:
    """Return the commented configuration with every option."""
    return shipped(EXAMPLE).read_text(encoding="utf-8")


def unit(name: str) -> str:
    """Return the text of a file below `systemd/`."""
    return (shipped(UNITS) / name).read_text(encoding="utf-8")
