"""Retry requests with botocore's number of tries and waits, but a stop cuts them short."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from recvault import shutdown
from recvault.store.s3.botocore_errors import THROTTLED, TRANSIENT, code_of, status_of
from recvault.store.s3.endings import Ending

T = TypeVar("T")

_TRIES = 4
_FIRST_WAIT, _FIRST_WAIT_WHERE_THROTTLED, _LONGEST_WAIT = 0.05, 1.0, 20.0  # seconds, as in botocore's standard mode
_SLICE = 0.1


def persist(once: Callable[[], T], ending: Ending) -> T:
    """Return the result of `once`, retrying it. Raises its lasting error, or Interrupted if no retry is allowed."""

    def begin() -> T:
        ending.beat()
        return once()

    return shutdown.persist(begin, lambda error, tries: waited(error, tries, ending))


def waited(failure: Exception, attempt: int, ending: Ending) -> bool:
    """Whether to retry after a failure; if so, waits first. Raises Interrupted if the wait is cut short."""
    if attempt >= _TRIES or not _is_transient(failure):
        return False
    first = _FIRST_WAIT_WHERE_THROTTLED if _is_throttled(failure) else _FIRST_WAIT
    pause(random.random() * min(first * 2 ** (attempt - 1), _LONGEST_WAIT), ending.check)  # noqa: S311 - only a wait
    ending.check()
    return True


def pause(seconds: float, check: Callable[[], None]) -> None:
    """Wait. `check` may raise to cut it short."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        check()
        time.sleep(min(_SLICE, left))


def _is_throttled(failure: Exception) -> bool:
    return isinstance(failure, ClientError) and (code_of(failure) in THROTTLED or status_of(failure) == 429)


def _is_transient(failure: Exception) -> bool:
    if isinstance(failure, ClientError):
        lasting = code_of(failure) not in TRANSIENT and status_of(failure) not in (500, 502, 503, 504)
        return _is_throttled(failure) or not lasting
    return isinstance(failure, ConnectionError | HTTPClientError)
