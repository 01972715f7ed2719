"""Ask a store again, as often as botocore does and with its waits."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from recvault.stopping import Stop
from recvault.store.errors import THROTTLED, TRANSIENT, code_of, status_of

T = TypeVar("T")

_TRIES = 4
_FIRST_WAIT, _FIRST_WAIT_WHERE_THROTTLED, _LONGEST_WAIT = 0.05, 1.0, 20.0  # seconds, as in botocore's standard mode


def persist(once: Callable[[], T], stop: Stop, check: Callable[[], None]) -> T:
    """What `once` answers, when it does. What it raises where that lasts; `check` raises where no try may follow."""
    for number in range(_TRIES):
        stop.pulse.beat()
        try:
            return once()
        except (ClientError, ConnectionError, HTTPClientError) as error:
            if number == _TRIES - 1 or not _is_transient(error):
                raise
            first = _FIRST_WAIT_WHERE_THROTTLED if _is_throttled(error) else _FIRST_WAIT
        pause(stop, random.random() * min(first * 2**number, _LONGEST_WAIT))  # noqa: S311 - only a wait
        check()
    raise AssertionError("the last try returns or raises")


def pause(stop: Stop, seconds: float) -> None:
    """Wait, at most until a drain is over."""
    stop.enforced.wait(seconds)


def _is_throttled(failure: Exception) -> bool:
    return isinstance(failure, ClientError) and (code_of(failure) in THROTTLED or status_of(failure) == 429)


def _is_transient(failure: Exception) -> bool:
    if not isinstance(failure, ClientError) or _is_throttled(failure):
        return True
    return code_of(failure) in TRANSIENT or status_of(failure) in (500, 502, 503, 504)
