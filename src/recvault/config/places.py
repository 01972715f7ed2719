"""Find the configuration's file, and read single values of it without the models, which are too slow for
completions."""

from __future__ import annotations

import errno
import os
import pwd
import re
import stat
import tomllib
from pathlib import Path

from recvault.config import checks
from recvault.errors import ConfigError

VARIABLE = "RECVAULT_CONFIG"
_HERE = Path("config.toml")
SYSTEM = Path("/etc/recvault/config.toml")
LEDGER = Path("/var/lib/recvault/ledger.db")
_LEDGER_PATH = re.compile(r"""^\[ledger\][^\[]*?^\s*path\s*=\s*["']([^"']+)["']""", re.MULTILINE)


def find(path: Path | None) -> Path:
    """Return the file to read: the given path, else RECVAULT_CONFIG's, else the first existing one of `lookup`."""
    named = path or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    tried = (named,) if named else lookup()
    for place in tried:
        if _stands(place, whatever=named is not None):
            if named is None:
                _refuse_strangers(place)
            return place
    raise missing(tried)


def lookup() -> tuple[Path, ...]:
    """Return where a configuration is looked for by default: this directory, this user's, the machine's."""
    return (_HERE, *([ours] if (ours := user_config()) else []), SYSTEM)


def user_config() -> Path | None:
    """Return this user's own file; None if the user has no home."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    home = os.environ.get("HOME", "")
    folder = base if base.startswith("/") else f"{home}/.config" if home.startswith("/") else ""
    return Path(folder, "recvault", "config.toml") if folder else None


def _stands(place: Path, *, whatever: bool) -> bool:
    """Whether the file exists; pipes and devices only if named explicitly."""
    try:
        mode = place.stat().st_mode  # not is_file(): since Python 3.14 it is False without permission
    except ValueError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        if place == user_config() and not whatever:
            return False  # HOME is another user's, as under some sudo
        raise unreadable(place, error) from error  # e.g. no permission for a directory of the path
    return stat.S_ISREG(mode) or (whatever and not stat.S_ISDIR(mode))


def ledger_path(path: Path | None) -> Path:
    """Return the ledger's path, even if the rest of the configuration is wrong; the default if it is not set."""
    named = _LEDGER_PATH.search(_text(path))
    return Path(named[1]) if named else LEDGER


def source_names(path: Path | None) -> list[str]:
    """Return the names of the sources, even if the rest of the configuration is wrong; none if it cannot be read."""
    try:
        tables = tomllib.loads(_text(path)).get("sources")
    except (ValueError, RecursionError):
        return []
    named = [each.get("name") for each in tables if isinstance(each, dict)] if isinstance(tables, list) else []
    return [name for name in named if isinstance(name, str) and _sound(name)]


def _text(path: Path | None) -> str:
    """Return the text of the file found by `find`; empty if it cannot be read, or is a pipe."""
    try:
        place = find(path)
        return place.read_text(encoding="utf-8-sig") if place.is_file() else ""
    except (ConfigError, OSError, UnicodeDecodeError):
        return ""


def _sound(name: str) -> bool:
    try:
        return bool(checks.source_name(name))
    except ValueError:
        return False


def unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path}: cannot be read by user {_user()}: {error.strerror}",
        f"run as its owner, or allow that user to read it and to enter {path.parent}",
    )


def _user() -> str:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user, or one that systemd created for the service
        return str(uid)


def _refuse_strangers(place: Path) -> None:
    """Refuse a file that another user controls: who can write to this directory or HOME must not get our secrets."""
    caller = os.environ.get("SUDO_UID", "")
    trusted = {0, os.geteuid(), int(caller) if caller.isdecimal() else 0}
    if place != SYSTEM and place.stat().st_uid not in trusted:
        where = "" if place.is_absolute() else " in this directory"
        raise ConfigError(f"{place}{where} belongs to another user", f"if you trust it, use --config {place}")


def missing(tried: tuple[Path, ...]) -> ConfigError:
    places = ", ".join(str(place) for place in tried)
    return ConfigError(
        f"no configuration file found; tried: {places}",
        f"make one: recvault init; or use --config PATH, or set {VARIABLE}",
    )
