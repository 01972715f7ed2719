"""Whether an account's credentials are refused, which only its own list decides.

Invariant: the circuit opens only if the account's own list refuses the credentials. If one recording is refused, the
list is tested: if it answers, the refusal belongs to the recording.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from recvault.errors import CredentialsRefused, Interrupted, RecvaultError, Unavailable
from recvault.shutdown import Stop

_VOUCHED_SECONDS = 5.0  # a list that answered proves the credentials for this long
_LOOK_SECONDS = 0.2  # how often a waiting thread checks for a stop


class Circuit:
    """The circuit of one account; open for `seconds` after a refusal. Thread-safe."""

    def __init__(self, seconds: float, stop: Stop, ask_list: Callable[[], object] | None) -> None:
        self._seconds = seconds
        self._stop = stop
        self._ask_list = ask_list  # None: there is no list to test
        self._refusal: tuple[float, CredentialsRefused] | None = None
        self._vouched_at = -math.inf  # when the list last answered
        self._asking = threading.Lock()  # one thread tests the list for all

    def check(self) -> None:
        """Raise CredentialsRefused while the circuit is open."""
        if self._refusal is None:
            return
        since, refusal = self._refusal
        if time.monotonic() - since < self._seconds:
            raise CredentialsRefused(refusal.message, refusal.hint).answered(refusal.status)
        self._refusal = None

    def list_refused(self, refusal: CredentialsRefused) -> None:
        """Note that the account's own list refuses the credentials: nothing is sent for a while."""
        self._refusal = (time.monotonic(), refusal)

    def list_answered(self) -> None:
        """Note that the account's own list accepts the credentials."""
        self._vouched_at = time.monotonic()

    def is_listed(self) -> bool:
        """Whether the account's own list is accepted: tested by one thread for all, and cached for a moment.

        Raises Unavailable if it cannot be tested now: then the refusal's cause is unknown.
        """
        if self._ask_list is None:
            return False
        while not self._asking.acquire(timeout=_LOOK_SECONDS):
            self._stop.check()
        try:
            if time.monotonic() - self._vouched_at > _VOUCHED_SECONDS:
                self._ask_list()
        except (Interrupted, Unavailable):
            raise
        except CredentialsRefused:
            return False
        except RecvaultError as error:
            raise Unavailable(f"a recording is refused, and the account's list cannot be read: {error}") from error
        finally:
            self._asking.release()
        return True
