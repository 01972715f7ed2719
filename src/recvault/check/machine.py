"""What this machine must provide: a place for ledger and spool; for the daemon a free port, and name resolution."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from urllib.parse import urlsplit

from recvault.app import wiring
from recvault.app.runtime import Runtime
from recvault.check.probe import Notice, Probe, probe
from recvault.config import DaemonSettings
from recvault.errors import ConfigError, Unavailable
from recvault.ledger import running_daemon
from recvault.ledger.soundness import look
from recvault.transfer.spool import SpoolFull

LEDGER_FREE_LEAST = 64 << 20  # bytes: about 50,000 more recordings, and SQLite's log


def places(runtime: Runtime) -> Iterator[Probe]:
    """Test that ledger and spool have a writable place that is not full."""
    yield probe("ledger", ledger, runtime)
    if runtime.has_ledger:
        yield probe("ledger: sound", sound, runtime)
    yield probe("spool", _spool, runtime)


def daemon(runtime: Runtime) -> Iterator[Probe]:
    """Test what `run` also needs: its port, and the host that it pings."""
    wanted = runtime.settings.daemon
    if wanted.metrics_listen:
        yield probe("daemon: metrics_listen", free, runtime, wanted.metrics_listen, "daemon.metrics_listen")
    if wanted.ping_url and wanted.ping_proxy is None:
        yield probe("daemon: ping_url", resolved, wanted.ping_url, "daemon.ping_url")
    elif wanted.ping_url:
        yield probe("daemon: ping_proxy", _reached, wanted)


def ledger(runtime: Runtime, least: int = LEDGER_FREE_LEAST) -> str | Notice:
    """Test that the ledger's file is writable, and that its disk has `least` bytes free."""
    path = runtime.settings.ledger.path
    if not path.parent.is_dir():
        raise ConfigError(f"its directory {path.parent} does not exist", "create it, or correct ledger.path")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(
            f"{path} cannot be written by this user", "run as the service's user, or correct its permissions"
        )
    free = shutil.disk_usage(path.parent).free
    if free < least:
        raise Unavailable(
            f"the disk of {path} has {free >> 20} MiB free: a full disk stops every pass",
            "free some space, or move ledger.path",
        )
    said = f"{path}{'' if path.exists() else ', created by the first sync'}, {_gib(free)} free"
    if path.parent.stat().st_mode & stat.S_IWOTH:
        return Notice(
            f"{said}; {path.parent} is writable by everyone", f"chmod o-w {path.parent}: others could replace files"
        )
    return said


def sound(runtime: Runtime) -> str:
    """Test whether the file is a sound ledger, as far as possible in some seconds."""
    path = runtime.settings.ledger.path
    seen = look(path)
    rows = f"{seen.rows:,} rows read, all found by index"
    if seen.whole:
        return f"structure intact; {rows}"
    return f"too large to check completely; {rows} (`sqlite3 {path} 'PRAGMA integrity_check'` checks all of it)"


def _spool(runtime: Runtime) -> str:
    settings = runtime.settings.transfer
    place = next(each for each in (settings.spool_dir, *settings.spool_dir.absolute().parents) if each.exists())
    if not os.access(place, os.W_OK):
        raise ConfigError(
            f"{settings.spool_dir} cannot be written by this user", "correct its permissions, or spool_dir"
        )
    free = shutil.disk_usage(place).free
    if free < settings.min_free_disk:
        raise SpoolFull(f"{settings.spool_dir} has {free} bytes free, less than min_free_disk", "free some space")
    return f"{settings.spool_dir}, {_gib(free)} free"


def free(runtime: Runtime, listen: str, key: str) -> str:
    """Test that the port is free, or used by our own running daemon."""
    host, _, port = listen.rpartition(":")
    hint = f"correct {key}"
    try:
        _bind(host.strip("[]"), int(port))
    except socket.gaierror as error:
        raise ConfigError(f"{listen} cannot be listened on: {error.strerror}", hint) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ConfigError(f"{listen} cannot be listened on: {error.strerror}", hint) from error
        holder = running_daemon(runtime.settings.ledger.path)
        if holder is None:
            raise ConfigError(
                f"another process listens on {listen}, and no daemon of this ledger is running",
                f"set another {key}, or stop that process",
            ) from error
        return f"{listen} is in use by the running daemon, pid {holder.pid}"
    return f"{listen} is free for the daemon"


def _bind(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like a restarted server
        trial.bind(address)


def resolved(url: str, key: str) -> str:
    """Look the URL's host up; `key` is the option that names it. Raises Unavailable."""
    host = urlsplit(url).hostname or ""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise Unavailable(
            f"{host} does not resolve: {error.strerror}", f"correct {key}, or this machine's DNS"
        ) from error
    return f"{host} resolves"


def _reached(wanted: DaemonSettings) -> str:
    """Test whether the monitor's host answers through the proxy. The ping key is not sent, and any answer counts."""
    wiring.proxy(wanted.ping_proxy)  # raises if its secret is missing, which a ping would only log
    host = urlsplit(wanted.ping_url).hostname or ""
    if trouble := wiring.ping(wanted).reach():
        raise Unavailable(f"{host}: {trouble}", "check daemon.ping_proxy; for 407 its user and password")
    return f"{host} answers through it"


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
