"""Where a secret is to be found: an environment variable, a file, or systemd's credentials directory."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from recvault.errors import ConfigError

WAYS = '{ env = "NAME" }, { file = "/path" } or { credential = "NAME" }'
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class SecretRef(BaseModel):
    """Exactly one of the three ways is set. Holds no secret: `resolve` reads it anew each time."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    env: str | None = None
    file: str | None = None
    credential: str | None = None
    owner: str = "secret"  # whose it is, for messages: "main: auth_token"

    @classmethod
    def from_toml(cls, written: Any, owner: str) -> SecretRef:
        """Read a secret's table. ValueError, which never holds what was written, where it is no such table."""
        if isinstance(written, str):
            raise ValueError(f"a secret must not stand in the configuration: write {WAYS}")
        known = {name: value for name, value in written.items() if name in WAY_NAMES} if type(written) is dict else {}
        if len(known) != 1 or len(known) != len(written):
            raise ValueError(f"must be exactly one of {WAYS}")
        ((way, name),) = known.items()
        if not isinstance(name, str) or not name or _CONTROL.search(name):
            raise ValueError(f"{way} must name where the secret is, as text: write {WAYS}")
        if way == "credential" and "/" in name:
            raise ValueError("credential must be a name in $CREDENTIALS_DIRECTORY, without a slash")
        return cls(owner=owner, **{way: name})

    def resolve(self, *, lines: bool = False) -> str:
        """Read the secret, less one trailing newline; `lines`: it may have several, as a key in PEM has.

        ConfigError says whose it is and what to do, never the value.
        """
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise self._problem(f"the environment variable {self.env} is not set", "set it, or name another")
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
            with path.open(encoding="utf-8", newline="") as file:
                if private:
                    self._refuse_open(path, os.fstat(file.fileno()).st_mode)
                return self._checked(file.read(1 << 16), str(path), lines)
        except OSError as error:
            raise self._problem(f"{path} cannot be read: {error.strerror}", "mend the path or its rights") from error
        except UnicodeDecodeError:
            raise self._problem(f"{path} is not UTF-8 text", "write the secret alone into it") from None

    def _refuse_open(self, path: Path, mode: int) -> None:
        """What everyone may read is no secret. A group may: 0640 root:recvault is how a service is given one."""
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            can = "read" if mode & stat.S_IROTH else "changed"
            mounted = "; of a mounted secret: its defaultMode, or credential" if path.is_symlink() else ""
            raise self._problem(f"{path} can be {can} by everyone on this machine", f"chmod o-rwx {path}{mounted}")

    def _checked(self, value: str, place: str, lines: bool) -> str:
        value = value.removesuffix("\n").removesuffix("\r")
        if not value:
            raise self._problem(f"{place} is empty", "put the secret there")
        if _CONTROL.search(re.sub(r"\r?\n", "", value) if lines else value):
            hint = "put the key in PEM alone there" if lines else "put the secret alone there, on one line"
            raise self._problem(f"{place} holds control characters", hint)
        return value

    def _problem(self, message: str, hint: str) -> ConfigError:
        return ConfigError(f"{self.owner}: {message}", hint)


WAY_NAMES = frozenset({"env", "file", "credential"})
