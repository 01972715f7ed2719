"""What botocore works out anew for each client, worked out once a process: the suite makes thousands of clients.

Its models are 2 MB of JSON; the names of its events and the signatures of its handlers take half of what is left.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import botocore.hooks
import botocore.loaders
import botocore.session

_asked_of_any = botocore.hooks.accepts_kwargs


class SharedLoader(botocore.loaders.Loader):
    """A loader that keeps what any of its kind has read."""

    _models: ClassVar[dict[object, object]] = {}

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._cache = self._models


class SharedAliaser(botocore.hooks.EventAliaser):
    """One that keeps what any of its kind has found the names of events to be."""

    _names: ClassVar[dict[str, str]] = {}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._alias_name_cache = self._names


def share() -> None:
    """Let every session that is made from now on do it once."""
    botocore.loaders.Loader = SharedLoader
    botocore.session.EventAliaser = SharedAliaser
    botocore.hooks.accepts_kwargs = _accepts_kwargs


def _accepts_kwargs(function: Callable[..., Any]) -> Any:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code.co_flags & inspect.CO_VARKEYWORDS if code else _asked_of_any(function)
