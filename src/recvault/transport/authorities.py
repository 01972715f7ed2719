"""Trusted certificate authorities: a file or folder named in the environment is tested before anything is sent.

Invariant: an unusable one is a configuration error that names the variable. It is neither a network failure nor a
reason to trust anyone else.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

from recvault.errors import ConfigError

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # names under which OpenSSL finds certificates in a folder


def check_file(name: str, path: str) -> None:
    """Raise ConfigError if the file named by variable `name` holds no certificates."""
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise _unusable(name, path, _why(error)) from error


def check_folders(name: str, paths: str) -> None:
    """Raise ConfigError if none of the folders, joined as in PATH, holds a certificate that OpenSSL would find."""
    folders = [Path(each) for each in paths.split(os.pathsep) if each]
    if not any(folder.is_dir() for folder in folders):
        raise _unusable(name, paths, "no such folder")
    if not any(_HASHED.fullmatch(entry) for folder in folders for entry in _entries(folder)):
        raise _unusable(name, paths, "no certificates named by hash (run `openssl rehash`)")


def check(name: str, path: str) -> None:
    """Raise ConfigError if `path`, a file or a folder, holds no certificates."""
    (check_folders if Path(path).is_dir() else check_file)(name, path)


def _entries(folder: Path) -> Iterator[str]:
    try:
        yield from os.listdir(folder)  # noqa: PTH208 - only names
    except OSError:
        return


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "no certificates in PEM"
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__


def _unusable(name: str, path: str, why: str) -> ConfigError:
    return ConfigError(
        f"{name} cannot be used: {path}: {why}",
        f"set {name} to the certificates of the trusted authorities, or unset it",
    )
