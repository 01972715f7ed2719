"""The place of a secret: an environment variable, a file, or systemd's credentials directory."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr

from recvault.errors import ConfigError

WAYS = '{ env = "NAME" }, { file = "/path" } or { credential = "NAME" }'
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MOST = 1 << 16  # characters
_TELLING = {  # non-ASCII characters that editors and web pages insert
    "a byte order mark": "\ufeff",
    "a typographic quote": "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2039\u203a\xab\xbb",
    "a no-break space": "\xa0\u202f",
    "an invisible character": "\xad\u200b\u200c\u200d\u2060",
    "a typographic dash": "\u2010\u2011\u2012\u2013\u2014\u2212",
}


class SecretRef(BaseModel):
    """Exactly one of the three ways is set. Contains no secret: `resolve` reads it each time."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    env: str | None = None
    file: str | None = None
    credential: str | None = None
    owner: str = "secret"  # whose it is, for messages: "main: auth_token"

    @classmethod
    def from_toml(cls, written: Any, owner: str) -> SecretRef:
        """Read a secret's table. Raises ValueError, which never repeats what was written."""
        if isinstance(written, str):
            raise ValueError(f"a secret must not be in the configuration file: write {WAYS}")
        known = {name: value for name, value in written.items() if name in WAY_NAMES} if type(written) is dict else {}
        if len(known) != 1 or len(known) != len(written):
            raise ValueError(f"must be exactly one of {WAYS}")
        ((way, name),) = known.items()
        if not isinstance(name, str) or not name or _CONTROL.search(name):
            raise ValueError(f"{way} must be text that says where the secret is: write {WAYS}")
        if way == "credential" and "/" in name:
            raise ValueError("credential must be a name in $CREDENTIALS_DIRECTORY, without a slash")
        return cls(owner=owner, **{way: name})

    def resolve(self, *, lines: bool = False) -> str:
        """Read the secret, without trailing line ends; `lines`: it may have several lines, like a PEM key.

        ConfigError says whose it is and what to do, never the value.
        """
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise self._problem(
                    f"the environment variable {self.env} is not set", "set it, or use another variable"
                )
            return self._checked(value, f"the environment variable {self.env}", lines)
        if self.file is not None:
            return self._read(Path(self.file), private=True, lines=lines)
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            hint = f"run under systemd with LoadCredential={self.credential}:PATH, or use env or file"
            raise self._problem("CREDENTIALS_DIRECTORY is not set", hint)
        return self._read(Path(directory, self.credential or ""), private=False, lines=lines)

    def _read(self, path: Path, *, private: bool, lines: bool) -> str:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                if private:
                    self._refuse_open(path, os.fstat(file.fileno()).st_mode)
                value = file.read(_MOST + 1)
        except OSError as error:
            raise self._problem(
                f"{path} cannot be read: {error.strerror}", "correct the path or its permissions"
            ) from error
        except UnicodeDecodeError:
            raise self._problem(f"{path} is not UTF-8 text", "the file must contain only the secret") from None
        if len(value) > _MOST:
            raise self._problem(f"{path} is longer than {_MOST >> 10} KiB", "the file must contain only the secret")
        return self._checked(value, str(path), lines)

    def _refuse_open(self, path: Path, mode: int) -> None:
        """Refuse a file that everyone can read. A group may: services use 0640 root:recvault."""
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            can = "read" if mode & stat.S_IROTH else "changed"
            mounted = "; for a mounted secret set its defaultMode, or use credential" if path.is_symlink() else ""
            raise self._problem(f"{path} can be {can} by everyone on this machine", f"chmod o-rwx {path}{mounted}")

    def _checked(self, value: str, place: str, lines: bool) -> str:
        value = value.rstrip("\r\n")
        if not value.strip():
            raise self._problem(f"{place} is empty", "put the secret there")
        only = "the key in PEM format" if lines else "the secret, on one line, in plain ASCII"
        hint = f"it must contain only {only}"
        if _CONTROL.search(re.sub(r"\r?\n", "", value) if lines else value):
            raise self._problem(f"{place} contains control characters", hint)
        if lines:
            return value
        if not value.isascii():
            raise self._problem(f"{place} contains {_told(value)}", hint)
        if value != value.strip():
            raise self._problem(f"{place} begins or ends with a space", hint)
        return value

    def _problem(self, message: str, hint: str) -> ConfigError:
        return ConfigError(f"{self.owner}: {message}", hint)


class HeldSecret(SecretRef):
    """A secret that is not in its place yet: just typed, and tested before it is written there."""

    _value: str = PrivateAttr("")

    @classmethod
    def of(cls, place: SecretRef, value: str) -> Self:
        """Make the same reference with the value that will be there."""
        held = cls(**place.model_dump())
        held._value = value
        return held

    def resolve(self, *, lines: bool = False) -> str:
        return self._checked(self._value, "what was typed", lines)


def _told(value: str) -> str:
    """Name the kind of what is not ASCII, never the character, which is part of the secret."""
    kinds = (kind for kind, letters in _TELLING.items() if any(letter in value for letter in letters))
    return next(kinds, "a character that is not ASCII")


WAY_NAMES = frozenset({"env", "file", "credential"})
