"""One daemon per ledger: a lock on a file beside it, which the kernel releases with the process, even after kill -9.

The file names the holder and stays when the daemon ends: only the lock shows that a daemon runs, never the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from recvault.errors import LedgerLocked
from recvault.ledger.leases import open_lockable
from recvault.ledger.trouble import file_errors
from recvault.models import stamp, unstamp

PATIENCE_SECONDS = 1.0  # `running_daemon` holds the lock for an instant
_PAUSE_SECONDS = 0.02
_LONGEST_NAME = 16 * 1024
_MOST_TROUBLES, _LONGEST_TROUBLE = 10, 500


class DaemonTrouble(NamedTuple):
    """What a daemon says is wrong with it: the kind, a sentence, and a command to begin with."""

    kind: str
    message: str
    command: str


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """The process that holds a ledger's daemon lock."""

    pid: int
    started_at: datetime
    troubles: tuple[DaemonTrouble, ...] = ()  # as it last reported them


@dataclass(frozen=True, slots=True)
class DeadDaemon:
    """The last daemon of a ledger, which was not asked to stop: killed, or ended by an error."""

    pid: int
    started_at: datetime
    error: str | None = None


class DaemonLock:
    """The daemon lock, held until `close` or the end of the process. Raises LedgerLocked if another daemon holds it."""

    def __init__(self, path: Path, now: datetime) -> None:
        with file_errors(path):
            self._lock: int | None = open_lockable(_beside(path), write=True)
            try:
                if not _taken(self._lock):
                    raise _refusal(path, _name(self._lock))
                self._started_at = stamp(now)
                self._troubles: list[DaemonTrouble] = []
                self._write()
            except BaseException:
                os.close(self._lock)
                raise

    def tell(self, troubles: Sequence[DaemonTrouble]) -> None:
        """Publish the daemon's errors to whoever reads the lock file: the ledger itself may be locked."""
        told = [each._replace(message=_cut(each.message)) for each in troubles[:_MOST_TROUBLES]]
        if told != self._troubles and self._lock is not None:
            self._troubles = told
            self._write()

    def _write(self, **more: str) -> None:
        assert self._lock is not None  # noqa: S101 - held
        name = {"pid": os.getpid(), "started_at": self._started_at, "troubles": self._troubles, **more}
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, (json.dumps(name) + "\n").encode(), 0)

    def close(self, error: str | None = None) -> None:
        """Give the lock back; the file stays, without a name in it unless an error ended the daemon.

        To unlink it could take another's lock away.
        """
        if self._lock is not None:
            if error is None:
                os.ftruncate(self._lock, 0)
            else:
                self._write(error=_cut(error))
            os.close(self._lock)
            self._lock = None


def running_daemon(path: Path) -> RunningDaemon | None:
    """Return the daemon that uses this ledger now, or None. Does not disturb the daemon."""
    with _read(path) as descriptor:
        if descriptor is None:
            return None
        for _ in _pauses():
            if _try(descriptor, fcntl.LOCK_SH):
                return None
            if (found := _name(descriptor)) is not None:
                return found
    return None  # locked without a name all that time: not our daemon


def dead_daemon(path: Path) -> DeadDaemon | None:
    """The last daemon that used this ledger, if none does now and nobody asked it to stop."""
    with _read(path) as descriptor:
        if descriptor is None or not _try(descriptor, fcntl.LOCK_SH):
            return None
        written = _written(descriptor)
    if written is None:
        return None
    return DeadDaemon(int(written["pid"]), unstamp(written["started_at"]), written.get("error"))


@contextlib.contextmanager
def _read(ledger: Path) -> Iterator[int | None]:
    """Open the lock's file for reading; None if no daemon has ever used this ledger."""
    with file_errors(ledger):
        try:
            descriptor = os.open(_beside(ledger), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _beside(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".daemon")


def _taken(descriptor: int) -> bool:
    return any(_try(descriptor, fcntl.LOCK_EX) for _ in _pauses())


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pauses() -> Iterator[None]:
    """Yield now, and repeatedly until the patience ends."""
    end = time.monotonic() + PATIENCE_SECONDS
    yield
    while time.monotonic() < end:
        time.sleep(_PAUSE_SECONDS)
        yield


def _name(descriptor: int) -> RunningDaemon | None:
    """Who wrote its name there; None in the instant before it does."""
    if (written := _written(descriptor)) is None:
        return None
    troubles = tuple(map(_trouble, written.get("troubles", ())))
    return RunningDaemon(int(written["pid"]), unstamp(written["started_at"]), troubles)


def _written(descriptor: int) -> dict[str, Any] | None:
    """What a daemon wrote of itself; None where nobody did."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        written: dict[str, Any] = json.loads(os.pread(descriptor, _LONGEST_NAME, 0))
        int(written["pid"]), unstamp(written["started_at"]), iter(written.get("troubles", ()))
        return written
    return None


def _cut(text: str) -> str:
    return text[:_LONGEST_TROUBLE]


def _trouble(told: Any) -> DaemonTrouble:
    """As a daemon of this version writes it, or an earlier one, which wrote the sentence alone."""
    if isinstance(told, list) and len(told) == len(DaemonTrouble._fields):
        return DaemonTrouble(*map(str, told))
    return DaemonTrouble("daemon", str(told), "recvault check")


def _refusal(path: Path, holder: RunningDaemon | None) -> LedgerLocked:
    who = f"process {holder.pid}, since {holder.started_at:%Y-%m-%d %H:%M:%S} UTC" if holder else "another process"
    return LedgerLocked(
        f"another daemon already uses the ledger {path}: {who}",
        "stop it first, or keep it: `recvault sync` can run beside it",
    )
