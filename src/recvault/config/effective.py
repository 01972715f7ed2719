"""The effective configuration: every option with the value in use, as data and as TOML.

It contains no secret, only the place of each; the key in a URL that is posted to is masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from recvault.config.secret import WAY_NAMES, SecretRef
from recvault.config.settings import Config, PrivateKeyRef, SourceSettings
from recvault.config.units import parse_rate, parse_size
from recvault.log.masking import HIDDEN
from recvault.providers import provider_class

_UNITS = (("d", 86400, 2), ("h", 3600, 1), ("m", 60, 2))  # unit, seconds, least count to use it: `24h`, but `2d`
_SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_FIRST = ("name", "provider")  # of a source's keys; its own settings and secrets follow
_SORTED = ("base_url", "settings", "secrets")  # keys written elsewhere

Values = dict[str, Any]


def document(config: Config) -> Values:
    """Return tables, keys and values as in the file, with defaults; an option without a value is left out."""
    names = ("archive", "ledger", "transfer", "daemon", "catalog", "cost", "notify")
    tables = {name: _table(getattr(config, name)) for name in names}
    if config.archive.directory is not None:
        tables["archive"] = {name: tables["archive"][name] for name in ("bucket", "prefix", "key_template")}
    return {**tables, "sources": [_source(each) for each in config.sources]}


def toml(config: Config) -> str:
    """Return the same as TOML, which loads to the same configuration."""
    tables = document(config)
    sources = tables.pop("sources")
    blocks = [_block(f"[{name}]", values) for name, values in tables.items()]
    return "\n".join([*blocks, *(_block("[[sources]]", values) for values in sources)])


def value(written: Any) -> str:
    """Write a value as TOML, on one line."""
    if isinstance(written, dict):
        pairs = ", ".join(f"{key_text(name)} = {value(each)}" for name, each in written.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(written, list):
        return f"[{', '.join(value(each) for each in written)}]"
    return json.dumps(written, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_text(name: str) -> str:
    """Write a key, quoted if TOML needs it."""
    return name if _BARE.fullmatch(name) else value(name)


def references(found: Any) -> Iterator[SecretRef]:
    """Yield every reference to a secret in a configuration, or in a part of one."""
    if isinstance(found, SecretRef):
        yield found
    elif isinstance(found, BaseModel):
        for name in type(found).model_fields:
            yield from references(getattr(found, name))
    elif isinstance(found, Mapping | tuple):
        for each in found.values() if isinstance(found, Mapping) else found:
            yield from references(each)


def _block(header: str, values: Values) -> str:
    return "\n".join([header, *(f"{key_text(name)} = {value(each)}" for name, each in values.items()), ""])


def _source(source: SourceSettings) -> Values:
    plain = _table(source)
    own: Values = {
        **{name: each for name, each in source.settings.items() if name != "base_url"},
        **{name: _reference(each) for name, each in source.secrets.items()},
    }
    head = {name: plain[name] for name in _FIRST}
    head["base_url"] = provider_class(source.provider).from_settings(source.identity, source.settings).base_url
    return {**head, **own, **{name: each for name, each in plain.items() if name not in _SORTED}}


def _table(model: BaseModel) -> Values:
    return dict(_shown(model))


def _shown(model: BaseModel) -> Iterator[tuple[str, Any]]:
    for name, field in type(model).model_fields.items():
        found = getattr(model, name)
        if name in ("ping_url", "webhook"):
            found = _masked(found)
        if found is not None:
            yield name, _plain(found, field)


def _plain(found: Any, field: FieldInfo) -> Any:
    readers = {getattr(each, "func", None) for each in field.metadata}
    if isinstance(found, SecretRef):
        return _reference(found)
    if isinstance(found, PrivateKeyRef):
        named = {} if found.public_key_sid is None else {"public_key_sid": found.public_key_sid}
        return {**_reference(found.secret), **named}
    if isinstance(found, BaseModel):
        return _table(found)
    if isinstance(found, timedelta):
        return duration(found)
    if isinstance(found, datetime):
        return found.isoformat()
    if isinstance(found, int) and readers & {parse_size, parse_rate}:
        return _size(found) + "/s" * (parse_rate in readers)
    if isinstance(found, float):
        return int(found) if found.is_integer() else found
    if isinstance(found, Mapping):
        return dict(found)
    if isinstance(found, tuple):
        return [_plain(each, field) for each in found]
    return str(found) if isinstance(found, Path) else found


def _reference(secret: SecretRef) -> Values:
    return {way: place for way in sorted(WAY_NAMES) if (place := getattr(secret, way)) is not None}


def _masked(url: str) -> str:
    """Mask the path of a URL: anyone who knows it can post there."""
    parts = urlsplit(url)
    return url if not parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/{HIDDEN}"


def duration(found: timedelta) -> str:
    """Write a duration in the largest unit that gives a whole number: `26h`, `90s`, `0.5s`."""
    seconds = found.total_seconds()
    for unit, size, least in _UNITS:
        if seconds >= size * least and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s" if seconds % 1 else f"{seconds:.0f}s"


def _size(count: int) -> str:
    return next((f"{count // size}{unit}" for unit, size in _SIZES if count and count % size == 0), f"{count}B")
