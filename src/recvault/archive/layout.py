"""Object keys, and the metadata that each object carries.

Invariant: keys depend on the recording alone; two recordings never share a key, whatever their ids contain.

    recordings/provider=twilio/account=AC…/date=2026-10-01/RE….wav     media, write-once
    recordings/provider=twilio/account=AC…/date=2026-10-01/RE….json    sidecar, written last
    recordings/provider=twilio/account=AC…/date=2026-10-01/RE…~2.wav   a second edition, where its first key is taken
    recordings/provider=twilio/account=AC…/date=2026-10-01/RE…~2.json  its sidecar, which names the earlier edition
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
CATALOG, MANIFESTS, SCHEMAS = "catalog/", "manifests/", "schemas/"
RESERVED = (CATALOG, MANIFESTS, SCHEMAS)
"""What keys begin with that no recording has, behind the prefix of an archive."""
SCHEMA_KEY = f"{SCHEMAS}sidecar-v1.json"
SIDECAR_SUFFIX = ".json"
DEFAULT_TEMPLATE = "recordings/provider={provider}/account={account}/date={date}/{recording_id}.{ext}"

_FIELDS = frozenset({"provider", "account", "date", "recording_id", "ext"})
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]|^\.")
_SEPARATOR = re.compile(r"[^A-Za-z0-9_.%~-]")  # a character that no escaped value holds
# What `escape` writes: ~ appears only after %, so an edition's own ~ is never part of it.
_ESCAPED = r"(?:[A-Za-z0-9_.-]|%(?:~[0-9a-f]{64})?)+"
_EDITION = r"(?:~(?P<edition>[2-9]|[1-9][0-9]))?"
_FORMS = {"date": r"\d{4}-\d{2}-\d{2}", "ext": r"[a-z0-9]+"}
EDITIONS = range(1, 100)
_LONGEST = 200  # of an escaped value; three of them stay well within S3's 1,024 bytes a key


@functools.lru_cache(maxsize=1024)  # each name is written four times for a recording, an account for all of its own
def escape(text: str) -> str:
    """Write any text as one safe path segment, injectively: `%XX` per unsafe byte, as Hive partitions do.

    A value too long for a key ends in its SHA-256 behind `%~`, which no other escaped value holds.
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
    """Reverse `escape`; None for a value that was too long for a key."""
    if "%~" in segment:
        return None
    return "" if segment == "%" else unquote(segment, errors="surrogatepass")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParts:
    """The parts of a key, still escaped. `stem` is the key without its extension, the same for all files of an
    edition."""

    provider: str
    account: str
    date: str | None  # None: the template names none
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
    """A key template that is proven injective over (provider, account, recording id) when it is made.

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
        """The key of a recording's media (`wav`, `mp3`, `mka`, `mkv`) or sidecar (`json`).

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
        """What every key of a recording begins with."""
        return self._prefix + self.template.partition("{")[0]

    def path(self, key: str) -> str:
        """A key as it reads from the root of a copy: behind the prefix."""
        return key.removeprefix(self._prefix)

    def is_reserved(self, key: str) -> bool:
        """Whether a key is one of recvault's that belongs to no recording."""
        return key.startswith(tuple(self._prefix + each for each in RESERVED))

    def may_be_sidecar(self, key: str) -> bool:
        """Whether a key ends like a sidecar's, under any template, and is not reserved."""
        return key.endswith(SIDECAR_SUFFIX) and not self.is_reserved(key)

    def read(self, key: str) -> KeyParts | None:
        """The parts of a recording's key; None for any other key."""
        found = self._form.fullmatch(key)
        if found is None:
            return None
        parts: dict[str, Any] = {"date": None, **found.groupdict()}
        edition = int(parts.pop("edition") or 1)
        return KeyParts(**parts, edition=edition, stem=key.rpartition(".")[0])

    def is_of(self, recording: Recording, key: str) -> bool:
        """Whether a key is one of this recording's, in any edition."""
        parts = self.read(key)
        return parts is not None and self(recording, parts.ext, parts.edition) == key

    def beginning(self, **known: str) -> tuple[str, str | None]:
        """What every key begins with whose escaped `known` fields are these, and the field that follows it."""
        begun = self._prefix
        for literal, name, _, _ in Formatter().parse(self.template):
            begun += literal
            if name is None or name not in known:
                return begun, name
            begun += known[name]
        return begun, None

    def _written_as(self) -> re.Pattern[str]:
        """The pattern of its keys. Fields are separated, or the template would not be injective."""
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
    """The metadata of a recording's object: ASCII only, no personal facts."""
    return {
        "sha256": sha256,
        "recording-id": escape(recording.recording_id),
        "provider": escape(recording.provider),
        "schema": SCHEMA,
    }
