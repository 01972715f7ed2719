"""What a new configuration changes: every value with its path; of a secret only that it changed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from recvault.config import Config
from recvault.errors import ConfigError
from recvault.timefmt import span

_ABSENT = object()


def secret_prints(settings: Config) -> dict[str, str]:
    """Return a fingerprint of each available secret of a source, by its path."""
    prints = {}
    for path, secret, lines in settings.secret_refs():
        try:
            prints[path] = hashlib.sha256(secret.resolve(lines=lines).encode()).hexdigest()
        except ConfigError:
            continue
    return prints


def changes(
    before: Config, after: Config, prints_before: Mapping[str, str], prints_after: Mapping[str, str]
) -> list[str]:
    """Return `path: before -> after` for values, `path: changed` for secrets, and added and removed sources."""
    names_before, names_after = ({source.name for source in each.sources} for each in (before, after))
    kept = names_before & names_after
    old, new = dict(_flat("", _tree(before, kept))), dict(_flat("", _tree(after, kept)))
    return [
        *(f"sources.{name}: removed" for name in sorted(names_before - kept)),
        *(f"sources.{name}: added" for name in sorted(names_after - kept)),
        *(
            f"{path}: {_words(old.get(path, _ABSENT))} -> {_words(new.get(path, _ABSENT))}"
            for path in sorted(old.keys() | new.keys())
            if old.get(path, _ABSENT) != new.get(path, _ABSENT)
        ),
        *(
            f"{path}: changed"
            for path in sorted(prints_before.keys() | prints_after.keys())
            if prints_before.get(path) != prints_after.get(path)
            and path.removeprefix("sources.").rpartition(".")[0] in kept
        ),
    ]


def _tree(settings: Config, names: Collection[str]) -> dict[str, Any]:
    """Return the configuration as a tree, with only these sources."""
    tree = settings.model_dump(mode="python")
    tree["sources"] = {source["name"]: source for source in tree["sources"] if source["name"] in names}
    return tree


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(f"{path}.{key}" if path else str(key), each)
    else:
        yield path, value


def _words(value: Any) -> str:
    if value is _ABSENT:
        return "not there"
    if isinstance(value, timedelta):
        return span(value.total_seconds())
    return value.isoformat() if isinstance(value, datetime) else str(value)
