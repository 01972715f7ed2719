"""The configuration: TOML in, frozen models out, or all problems at once, each with its file and line.

At any time no secret is in a model, a message or a repr, only where to find it. `SecretRef.resolve` and
`Source.resolve_secrets` read secrets, in the composition root only.
"""

from recvault.config.reading import find, ledger_path, load, read
from recvault.config.secret import SecretRef
from recvault.config.settings import (
    ArchiveSettings,
    Config,
    DaemonSettings,
    LedgerSettings,
    ObjectLock,
    PrivateKeyRef,
    SourceSettings,
    TransferSettings,
)
from recvault.config.units import parse_duration, parse_rate, parse_size, parse_time

__all__ = [
    "ArchiveSettings",
    "Config",
    "DaemonSettings",
    "LedgerSettings",
    "ObjectLock",
    "PrivateKeyRef",
    "SecretRef",
    "SourceSettings",
    "TransferSettings",
    "find",
    "ledger_path",
    "load",
    "parse_duration",
    "parse_rate",
    "parse_size",
    "parse_time",
    "read",
]
