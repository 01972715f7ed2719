"""The configuration: TOML in, frozen models out, or all problems at once, each with its file and line.

At any time no secret of a configuration file is in a model, a message or a repr, only where to find it.
`SecretRef.resolve` and `SourceSettings.resolve_secrets` read secrets each time.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from recvault.config.places import SYSTEM, find, ledger_path, lookup, source_names, user_config

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # no package may look on; to search for some takes 20 ms

if TYPE_CHECKING:
    from recvault.config.reading import load, read
    from recvault.config.secret import SecretRef
    from recvault.config.settings import (
        ArchiveSettings,
        Config,
        DaemonSettings,
        LedgerSettings,
        NotifySettings,
        ObjectLock,
        PrivateKeyRef,
        SourceSettings,
        TransferSettings,
    )
    from recvault.config.units import parse_duration, parse_rate, parse_size, parse_time

__all__ = [
    "SYSTEM",
    "ArchiveSettings",
    "Config",
    "DaemonSettings",
    "LedgerSettings",
    "NotifySettings",
    "ObjectLock",
    "PrivateKeyRef",
    "SecretRef",
    "SourceSettings",
    "TransferSettings",
    "find",
    "ledger_path",
    "load",
    "lookup",
    "parse_duration",
    "parse_rate",
    "parse_size",
    "parse_time",
    "read",
    "source_names",
    "user_config",
]

_MODULES = ("reading", "secret", "settings", "units")


def __getattr__(name: str) -> Any:
    """Load the models on first use: who only looks for the file does not need them."""
    if name in __all__:
        for module in (importlib.import_module(f"{__name__}.{each}") for each in _MODULES):
            if hasattr(module, name):
                globals()[name] = getattr(module, name)
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
