"""botocore's models, read once per process: each session reads 2 MB of JSON, and the suite makes thousands."""

from __future__ import annotations

from typing import Any, ClassVar

import botocore.loaders


class SharedLoader(botocore.loaders.Loader):
    """A loader that shares what any of its kind has read."""

    _models: ClassVar[dict[object, object]] = {}

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._cache = self._models


def share() -> None:
    """Let all new sessions share one loader's data."""
    botocore.loaders.Loader = SharedLoader
