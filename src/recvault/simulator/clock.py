"""The simulator's clock: real UTC time plus an offset, or frozen."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class Clock:
    """The clock of the simulated services, which tests set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset = timedelta()
        self._frozen: datetime | None = None

    @property
    def now(self) -> datetime:
        frozen = self._frozen
        return frozen if frozen is not None else datetime.now(UTC) + self._offset

    def advance(self, by: timedelta) -> None:
        """Move the clock; a frozen one stays frozen."""
        with self._lock:
            if self._frozen is not None:
                self._frozen += by
            else:
                self._offset += by

    def set(self, moment: datetime, *, running: bool = False) -> None:
        """Set the clock; it is frozen unless `running`."""
        if moment.tzinfo is None:
            raise ValueError("a time needs a time zone")
        with self._lock:
            self._offset = moment - datetime.now(UTC)
            self._frozen = None if running else moment.astimezone(UTC)
