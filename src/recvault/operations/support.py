"""Gather what a fault report needs: versions, configuration, state, last errors; and no secret.

Invariant: each text is masked when it is gathered. It contains no secret of the configuration or the environment, no
signature, credential or phone number, and no row of a provider.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recvault import __version__
from recvault.app.source_status import Inquiry
from recvault.config import Config, effective
from recvault.errors import ConfigError, RecvaultError
from recvault.ledger.soundness import look
from recvault.log.lines import redact_text
from recvault.log.masking import hide

_MOST = 200  # failures, and lines of the journal
_SYSTEMD = Path("/run/systemd/system")
_SECONDS = 10
_UNIT = (
    *("LoadState", "ActiveState", "SubState", "Result", "ExecMainCode", "ExecMainStatus", "NRestarts"),
    *("ActiveEnterTimestamp", "InactiveEnterTimestamp", "FragmentPath", "DropInPaths", "User", "MemoryCurrent"),
)
_ENVIRONMENT = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file of a bundle."""

    name: str
    about: str
    text: str


def gather(
    settings: Config | None, problem: str | None, ledger: Path, inquiry: Inquiry | None, status: Callable[[], Any]
) -> list[Document]:
    """Return all documents. `problem`: why there is no configuration; `status` makes the document of `status
    --json`."""
    for secret in [*_secrets(settings), *(os.environ.get(name, "") for name in _ENVIRONMENT)]:
        hide(secret)
    made = {
        "versions.txt": ("versions of recvault, Python and its libraries; platform", _versions),
        "machine.txt": ("processors, memory, space on the disks in use", lambda: _machine(settings, ledger)),
        "config.toml": ("the configuration in effect, without secrets", lambda: _config(settings, problem)),
        "ledger.json": ("the ledger's size, integrity, counts and facts", lambda: _ledger(ledger, inquiry)),
        "status.json": ("`recvault status --json`", lambda: _json(status())),
        "failures.json": (f"what fails, by reason, and the {_MOST} oldest", lambda: _failures(inquiry)),
        "unit.txt": ("the systemd unit's state, and its last warnings", _unit),
    }
    return [Document(name=name, about=about, text=_told(make)) for name, (about, make) in made.items()]


def _told(make: Callable[[], str]) -> str:
    """Return the masked text, or the error why it could not be gathered."""
    try:
        return redact_text(make())
    except (RecvaultError, OSError, subprocess.SubprocessError) as error:
        return redact_text(f"not available: {error}\n")


def _secrets(settings: Config | None) -> Iterator[str]:
    """Yield every secret that can be read now, and the paths of URLs, which are secrets of sorts."""
    if settings is None:
        return
    yield from (urlsplit(url).path for url in (settings.daemon.ping_url, settings.notify.webhook))
    for reference in effective.references(settings):
        with suppress(ConfigError):
            yield reference.resolve(lines=True)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str) + "\n"


def _versions() -> str:
    names = sorted({name.partition(" ")[0] for name in map(_name, metadata.requires("recvault") or [])})
    lines = [
        f"recvault {__version__}",
        f"Python {sys.version.split()[0]} ({platform.python_implementation()}, {sys.executable})",
        ssl.OPENSSL_VERSION,
        f"{platform.platform()}, {' '.join(platform.libc_ver())}",
    ]
    for name in names:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed
    return "\n".join(lines) + "\n"


def _name(requirement: str) -> str:
    """Return the package name of a requirement such as `click>=8.4 ; extra == "cli"`, then a space."""
    return "".join(letter if letter.isalnum() or letter in "-_." else " " for letter in requirement.strip())


def _machine(settings: Config | None, ledger: Path) -> str:
    lines = [f"processors: {os.cpu_count()}", *_memory(), f"user: {os.geteuid()}"]
    places = {"ledger": ledger.parent, "spool": settings.transfer.spool_dir if settings else None}
    for name, place in places.items():
        if place is not None and place.exists():
            usage = shutil.disk_usage(place)
            lines.append(f"{name}: {place}: {usage.free:,} of {usage.total:,} bytes free")
        elif place is not None:
            lines.append(f"{name}: {place} does not exist")
    return "\n".join(lines) + "\n"


def _memory() -> list[str]:
    wanted = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
    return [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith(wanted)]


def _config(settings: Config | None, problem: str | None) -> str:
    return f"# not valid:\n{problem}\n" if settings is None else effective.toml(settings)


def _ledger(path: Path, inquiry: Inquiry | None) -> str:
    if not path.exists():
        return _json({"path": str(path), "exists": False})
    files = {each.name: each.stat().st_size for each in sorted(path.parent.glob(f"{path.name}*")) if each.is_file()}
    known: dict[str, Any] = {
        "path": str(path),
        "mode": oct(path.stat().st_mode),
        "files": files,
        "checked": asdict(look(path)),
    }
    if inquiry is not None:
        known |= {"born_at": inquiry.ledger.born_at, **inquiry.ledger.ask.inventory()}
    return _json(known)


def _failures(inquiry: Inquiry | None) -> str:
    """List failures, without the bodies of unreadable rows, which contain numbers and names."""
    if inquiry is None or not inquiry.has_ledger:
        return _json(None)
    ask = inquiry.ledger.ask
    quarantined = [{name: row[name] for name in row if name != "body"} for row in ask.quarantined()[:_MOST]]
    return _json({"reasons": ask.failure_reasons(), "failures": ask.failures(_MOST), "quarantined": quarantined})


def _unit() -> str:
    if not _SYSTEMD.exists():
        return "systemd does not run here\n"
    show = ["systemctl", "show", "recvault.service", "--no-pager", f"--property={','.join(_UNIT)}"]
    journal = ["journalctl", "--unit=recvault.service", "--priority=warning", f"--lines={_MOST}", "--output=cat"]
    return "\n".join(_output(command) for command in (show, [*journal, "--no-pager"]))


def _output(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603 - fixed words
        command, capture_output=True, text=True, timeout=_SECONDS, check=False, errors="replace"
    )
    return done.stdout + done.stderr
