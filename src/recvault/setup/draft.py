"""A configuration being made: from answers to its text, its models, and the files to write. Writes nothing.

Invariant: the configuration's text contains no secret; a typed one is only in a `NewFile` of mode 0600.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from recvault import config
from recvault.config import Config, effective
from recvault.config.secret import HeldSecret
from recvault.setup.home import Home
from recvault.setup.new_files import NewFile

_HEAD = """\
# recvault's configuration, written by `recvault init` on {day}. It contains no secret, only where each one is.
# After a change run `recvault config validate`. `recvault config example` shows every option with its default.
"""
_AWS = "[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The place of a secret, and its value if it is not there yet."""

    way: str  # env, file or credential
    name: str  # the variable, the file's path, or the credential's name
    value: str = field(default="", repr=False)
    is_new: bool = False  # it must be written there

    def file(self, home: Home) -> Path | None:
        """Return its file; None for a variable that the user sets."""
        if self.way == "env":
            return home.environment if home.is_system else None
        return Path(self.name) if self.way == "file" else home.credential(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketKey:
    """An access key for the bucket's credentials file."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """All answers. `existing` is the text of a configuration to which a source is added."""

    home: Home
    source: Mapping[str, Any]
    secrets: Mapping[str, Kept]
    archive: Mapping[str, Any] = field(default_factory=dict)
    bucket_key: BucketKey | None = None
    existing: str | None = None

    def text(self, today: date) -> str:
        """Return the text of the whole file."""
        if self.existing is not None:
            return f"{self.existing.rstrip()}\n\n{self._source()}"
        blocks = [_HEAD.format(day=today), _table("[archive]", self.archive)]
        if not self.home.is_system:
            blocks += [
                "# The ledger is an index of the archive on a local disk; it can be rebuilt from the bucket.\n"
                + _table("[ledger]", {"path": str(self.home.ledger)}),
                _table("[transfer]", {"spool_dir": str(self.home.spool)}),
            ]
        return "\n".join([*blocks, self._source()])

    def config(self, today: date) -> Config:
        """Read that text as the program does. ConfigError names each problem's line."""
        return config.read(self.text(today), str(self.home.config))

    def trial(self, today: date, scratch: Path) -> Config:
        """Return a configuration of only the new source, with its secrets as typed, and a temporary ledger."""
        whole = self.config(today)
        source = whole.sources[-1]
        held = {key: _held(reference, self.secrets[key].value) for key, reference in source.secrets.items()}
        return whole.model_copy(
            update={
                "sources": (source.model_copy(update={"secrets": held}),),
                "ledger": whole.ledger.model_copy(update={"path": scratch / "ledger.db"}),
                "transfer": whole.transfer.model_copy(update={"spool_dir": scratch / "spool"}),
            }
        )

    def files(self, today: date) -> list[NewFile]:
        """Return all files to write, secrets first, so that the configuration never names a missing one."""
        # A service's own user must be able to read its configuration, which names secrets and holds none.
        mode = 0o644 if self.home.is_system else 0o600
        made = NewFile(path=self.home.config, text=self.text(today), mode=mode, before=self.existing)
        return [*self._secret_files(), made]

    def _secret_files(self) -> Iterator[NewFile]:
        for kept in self.secrets.values():
            path = kept.file(self.home)
            if kept.is_new and path is not None and kept.way == "env":
                before = path.read_text(encoding="utf-8") if path.exists() else None
                text = f"{(before or '').rstrip()}\n{kept.name}={_quoted(kept.value)}\n".lstrip()
                yield NewFile(path=path, text=text, mode=0o600, before=before, is_secret=True)
            elif kept.is_new and path is not None:
                yield NewFile(path=path, text=f"{kept.value}\n", mode=0o600, is_secret=True)
        if self.bucket_key is not None:
            keys = {"access_key": self.bucket_key.access_key, "secret_key": self.bucket_key.secret_key}
            yield NewFile(path=self.home.aws, text=_AWS.format(**keys), mode=0o600, is_secret=True)

    def _source(self) -> str:
        references = {key: {kept.way: kept.name} for key, kept in self.secrets.items()}
        return _table("[[sources]]", {**self.source, **references})


def _table(header: str, values: Mapping[str, Any]) -> str:
    lines = [f"{effective.key_text(name)} = {effective.value(each)}" for name, each in values.items()]
    return "\n".join([header, *lines, ""])


def _held(reference: config.SecretRef, value: str) -> config.SecretRef:
    return HeldSecret.of(reference, value) if value else reference


def _quoted(value: str) -> str:
    """Quote a value for an EnvironmentFile of systemd."""
    return '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'


def variable_name(name: str) -> str:
    """Check the name of an environment variable. ValueError for one that a shell cannot set."""
    if not _VARIABLE.fullmatch(name):
        raise ValueError("must be the name of an environment variable, such as TWILIO_AUTH_TOKEN")
    return name
