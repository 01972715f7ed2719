"""Run a merge in a short child process: its memory is limited, and is gone when it ends."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recvault.errors import ConfigError, RecvaultError

_KEPT = frozenset({"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "PYTHONHOME", "TMPDIR", "VIRTUAL_ENV"})
"""What the child needs of the environment: none of its secrets."""


class CatalogNotMade(RecvaultError):
    """The child process could not make a file of the catalog."""


def is_installed() -> bool:
    """Whether the extra `catalog` is installed."""
    return importlib.util.find_spec("duckdb") is not None


def require() -> None:
    """Raise ConfigError unless the extra `catalog` is installed."""
    if not is_installed():
        raise ConfigError("the catalog needs DuckDB, which is not installed", "pip install 'recvault[catalog]'")


def run(task: str, temp: Path, **job: Any) -> Mapping[str, int]:
    """Run a task of merging.py. Raises CatalogNotMade with DuckDB's message if it fails."""
    require()
    asked = json.dumps({"task": task, "temp": str(temp), **job})
    environment = {name: value for name, value in os.environ.items() if name in _KEPT}
    environment["MALLOC_ARENA_MAX"] = "1"  # what one thread frees, another takes: 30 MiB less
    done = subprocess.run(
        [sys.executable, "-m", "recvault.catalog.merging"],
        input=asked,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        first = next(iter(done.stderr.strip().splitlines()), f"its process ended with status {done.returncode}")
        raise CatalogNotMade(
            f"the catalog was not written: {first}", "free disk space in the temporary directory, or report this"
        )
    counts: dict[str, int] = json.loads(done.stdout)
    return counts
