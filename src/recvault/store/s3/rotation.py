"""Static keys replaced while the program runs: reread from where boto3 found them, once they are refused.

botocore reads a credentials file only once. Temporary credentials refresh themselves and are left alone.
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
_EVERY_SECONDS = 5.0  # between reads
_OF_A_HEAD = "403"  # a HEAD has no body with details


def follow(client: Any, session: Any) -> Callable[[], bool]:
    """Make a client retry with reread credentials if the store refuses its keys.

    Returns a function for other signers that rereads the keys and says whether they have changed.
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
        """Return 0 to retry at once, None to leave it to other handlers."""
        code = str(response[1].get("Error", {}).get("Code", "")) if response else ""
        if code not in REPLACED | {_OF_A_HEAD} or attempts >= _MOST_TRIES:
            return None
        return 0 if self.is_new() else None

    def is_new(self) -> bool:
        """Whether the keys changed in the last `_EVERY_SECONDS`."""
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
    """Return the chain's current credentials; None if they cannot be read."""
    try:
        with credentials.readable():
            return botocore.session.get_session().get_credentials()
    except (BotoCoreError, RecvaultError):
        return None


def _keys(found: Credentials) -> tuple[Any, Any, Any]:
    return found.access_key, found.secret_key, found.token
