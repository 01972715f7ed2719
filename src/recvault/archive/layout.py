"""Object keys, and the metadata that each object carries.

Invariant: keys depend on the recording alone; two recordings never share a key, whatever their ids contain.

    recordings/provider=twilio/account=AC…/date=2026-10-01/RE….wav     media, write-once
    recordings/provider=twilio/account=AC…/date=2026-10-01/RE….json    sidecar, written last
    recordings/provider=twilio/account=AC…/date=2026-10-01/RE…~2.wav   a second edition, where its first key is taken
    recordings/provider=twilio/account=AC…/date=2026-10-01/RE…~2.json  its sidecar, which names the earlier edition
    calls/provider=twilio/account=AC…/date=2026-10-02/….jsonl          facts of calls that came after the sidecar
    erasures/… holds/… prunes/… events/…                               custody's records, write-once
    schemas/sidecar-v1.json                                            what every sidecar meets
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from string import Formatter
from typing import Any
from urllib.parse import unquote

from recvault.models import Recording, stamp

SCHEMA = "recvault/sidecar/v1"
CALLS, CATALOG, MANIFESTS, SCHEMAS = "calls/provider=", "catalog/", "manifests/", "schemas/"
ERASURES, HOLDS, PRUNES, EVENTS = RECORDS = ("erasures/", "holds/", "prunes/", "events/")
"""Custody's records: what was erased, held, pruned and done."""
RESERVED = (CALLS, CATALOG, *RECORDS, MANIFESTS, SCHEMAS)
"""Beginnings of keys that belong to no recording, after the archive's prefix."""
SCHEMA_KEY = f"{SCHEMAS}sidecar-v1.json"
SIDECAR_SUFFIX = ".json"
DEFAULT_TEMPLATE = "recordings/provider={provider}/account={account}/date={date}/{recording_id}.{ext}"

_FIELDS = frozenset({"provider", "account", "date", "recording_id", "ext"})
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]|^\.")
_SEPARATOR = re.compile(r"[^A-Za-z0-9_.%~-]")  # a character that no escaped value contains
# What `escape` writes: ~ appears only after %, so an edition's own ~ is never part of it.
_ESCAPED = r"(?:[A-Za-z0-9_.-]|%(?:~[0-9a-f]{64})?)+"
_EDITION = r"(?:~(?P<edition>[2-9]|[1-9][0-9]))?"
_FORMS = {"date": r"\d{4}-\d{2}-\d{2}", "ext": r"[a-z0-9]+"}
EDITIONS = range(1, 100)
_LONGEST = 200  # of an escaped value; three of them stay well within S3's limit of 1,024 bytes a key


@functools.lru_cache(maxsize=1024)  # a recording's names are escaped four times each, an account's for all of its own
def escape(text: str) -> str:
    """Encode any text as one safe path segment, injectively: `%XX` per unsafe byte, as Hive partitions do.

    A value too long for a key ends in `%~` and its SHA-256; no other escaped value contains `%~`.
    """
    escaped = _UNSAFE.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass")), text
    )
    if not escaped:
        return "%"
    if len(escaped) > _LONGEST:
        return f"{escaped[:100]}%~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return escaped


def unescape(segment: str) -> str | None:
    """Reverse `escape`; None for a value that was shortened."""
    if "%~" in segment:
        return None
    return "" if segment == "%" else unquote(segment, errors="surrogatepass")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParts:
    """The escaped parts of a key. `stem`, the key without extension, is the same for all files of an edition."""

    provider: str
    account: str
    date: str | None  # None: not in the template
    recording_id: str
    ext: str
    stem: str
    edition: int = 1

    @property
    def is_sidecar(self) -> bool:
        return self.ext == "json"

    @property
    def sidecar_key(self) -> str:
        return f"{self.stem}.json"


class KeyTemplate:
    """A key template, checked to be injective over (provider, account, recording id).

    Raises ValueError with the reason for a template that could give two recordings one key.
    """

    def __init__(self, template: str = DEFAULT_TEMPLATE, prefix: str = "") -> None:
        self.template = template
        self._prefix = f"{prefix}/" if prefix else ""
        self._check()
        self._form = self._written_as()

    def __repr__(self) -> str:
        return f"KeyTemplate({self.template!r})"

    def __call__(self, recording: Recording, ext: str, edition: int = 1) -> str:
        """Return the key of a recording's media (`wav`, `mp3`, `mka`, `mkv`) or sidecar (`json`).

        Objects are never replaced: later versions, or ones whose key is taken, are further editions.
        """
        stem = self.template.removesuffix(".{ext}").format(
            provider=escape(recording.provider),
            account=escape(recording.account_id),
            date=stamp(recording.created_at)[:10],
            recording_id=escape(recording.recording_id),
        )
        return f"{self._prefix}{stem}{f'~{edition}' if edition > 1 else ''}.{ext}"

    @property
    def prefix(self) -> str:
        """The prefix of every key in the bucket: empty, or ending with a slash."""
        return self._prefix

    @property
    def schema_key(self) -> str:
        """The key of the sidecar schema."""
        return self._prefix + SCHEMA_KEY

    @property
    def root(self) -> str:
        """The fixed beginning of every recording's key."""
        return self._prefix + self.template.partition("{")[0]

    def path(self, key: str) -> str:
        """Return a key's path in a copy of the archive: without the prefix."""
        return key.removeprefix(self._prefix)

    def is_reserved(self, key: str) -> bool:
        """Whether a key is one of recvault's that belongs to no recording."""
        return key.startswith(tuple(self._prefix + each for each in RESERVED))

    def may_be_sidecar(self, key: str) -> bool:
        """Whether a key ends like a sidecar's, under any template, and is not reserved."""
        return key.endswith(SIDECAR_SUFFIX) and not self.is_reserved(key)

    def read(self, key: str) -> KeyParts | None:
        """Split a recording's key into its parts; None for any other key."""
        found = self._form.fullmatch(key)
        if found is None:
            return None
        parts: dict[str, Any] = {"date": None, **found.groupdict()}
        edition = int(parts.pop("edition") or 1)
        return KeyParts(**parts, edition=edition, stem=key.rpartition(".")[0])

    def is_of(self, recording: Recording, key: str) -> bool:
        """Whether a key belongs to this recording, in any edition."""
        parts = self.read(key)
        return parts is not None and self(recording, parts.ext, parts.edition) == key

    def beginning(self, **known: str) -> tuple[str, str | None]:
        """Return the beginning of all keys with these escaped fields, and the name of the first unknown field."""
        begun = self._prefix
        for literal, name, _, _ in Formatter().parse(self.template):
            begun += literal
            if name is None or name not in known:
                return begun, name
            begun += known[name]
        return begun, None

    def _written_as(self) -> re.Pattern[str]:
        """Return the pattern of its keys. Its fields are separated, as `_check` requires."""
        form = re.escape(self._prefix)
        for literal, name, _, _ in Formatter().parse(self.template):
            form += re.escape(literal.removesuffix(".") if name == "ext" else literal)
            if name == "ext":
                form += rf"{_EDITION}\."
            if name is not None:
                form += f"(?P<{name}>{_FORMS.get(name, _ESCAPED)})"
        return re.compile(form)

    def _check(self) -> None:
        try:
            parts = list(Formatter().parse(self.template))
        except ValueError as error:
            raise ValueError(f"is not a template: {error}") from error
        names = [name for _, name, _, _ in parts if name is not None]
        for _, name, spec, conversion in parts:
            if name is not None and (name not in _FIELDS or spec or conversion):
                raise ValueError(f"{{{name}}} is unknown; use {', '.join(sorted(f'{{{known}}}' for known in _FIELDS))}")
        for needed in ("provider", "account", "recording_id", "ext"):
            if names.count(needed) != 1:
                raise ValueError(f"must contain {{{needed}}} exactly once, or two recordings could share a key")
        if not self.template.endswith(".{ext}"):
            raise ValueError("must end in .{ext}")
        for literal, name, _, _ in parts[1:]:
            if name not in (None, "ext") and not _SEPARATOR.search(literal):
                raise ValueError(
                    f"needs a separator such as / or = before {{{name}}}, or two recordings could share a key"
                )
        if self.template.startswith(("/", *RESERVED)) or ".." in self.template or "//" in self.template:
            raise ValueError(f"must not start with / or {', '.join(RESERVED)}, or contain .. or //")


def object_metadata(recording: Recording, sha256: str) -> dict[str, str]:
    """Return the metadata of a recording's object: ASCII only, without personal data."""
    return {
        "sha256": sha256,
        "recording-id": escape(recording.recording_id),
        "provider": escape(recording.provider),
        "schema": SCHEMA,
    }
