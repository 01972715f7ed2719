"""botocore's models, read once a process: each of its sessions reads 2 MB of JSON, and the suite makes thousands."""

from __future__ import annotations

from typing import Any, ClassVar

import botocore.loaders


class SharedLoader(botocore.loaders.Loader):
    """A loader that keeps what any of its kind has read."""

    _models: ClassVar[dict[object, object]] = {}

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._cache = self._models


def share() -> None:
    """Let every session that is made from now on read them once."""
    botocore.loaders.Loader = SharedLoader
