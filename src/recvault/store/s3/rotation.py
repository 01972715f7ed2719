"""Static keys that were replaced while the program runs: read anew from where boto3 found them, once they are refused.

botocore reads a credentials file once. Credentials that are lent for a time refresh themselves, and are left alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import botocore.session
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError

from recvault.errors import RecvaultError
from recvault.store.s3 import credentials
from recvault.store.s3.botocore_errors import REPLACED

_MOST_TRIES = 3  # of one request
_EVERY_SECONDS = 5.0  # between two readings
_OF_A_HEAD = "403"  # which has no body to say more


def follow(client: Any, session: Any) -> Callable[[], bool]:
    """Have a client try again with what the chain says now, where the store refuses its keys.

    What is returned reads them anew for whoever else signs with them, and says whether they are others than before.
    """
    known = session.get_credentials()
    if type(known) is not Credentials:
        return lambda: False
    follower = _Follower(known)
    client.meta.events.register_first("needs-retry.s3", follower)
    return follower.is_new


class _Follower:
    """Thread-safe."""

    def __init__(self, known: Credentials) -> None:
        self._known = known
        self._lock = threading.Lock()
        self._read_at = self._changed_at = -_EVERY_SECONDS

    def __call__(self, response: tuple[Any, Mapping[str, Any]] | None, attempts: int, **_: Any) -> int | None:
        """0: try again at once. None: what others make of it."""
        code = str(response[1].get("Error", {}).get("Code", "")) if response else ""
        if code not in REPLACED | {_OF_A_HEAD} or attempts >= _MOST_TRIES:
            return None
        return 0 if self.is_new() else None

    def is_new(self) -> bool:
        """Whether there are other keys now than a moment ago."""
        with self._lock:
            moment = time.monotonic()
            if moment - self._read_at >= _EVERY_SECONDS:
                self._read_at = moment
                found = _read()
                if type(found) is Credentials and _keys(found) != _keys(self._known):
                    self._changed_at = moment
                    self._known.access_key, self._known.secret_key, self._known.token = _keys(found)
            return moment - self._changed_at < _EVERY_SECONDS


def _read() -> Any:
    """What the chain says now; None where it cannot be read."""
    try:
        with credentials.readable():
            return botocore.session.get_session().get_credentials()
    except (BotoCoreError, RecvaultError):
        return None


def _keys(found: Credentials) -> tuple[Any, Any, Any]:
    return found.access_key, found.secret_key, found.token
