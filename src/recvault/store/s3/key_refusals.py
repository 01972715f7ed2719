"""Decide whether a refusal concerns one key or the bucket, by testing an object that recvault keeps in the bucket.

A single key may be refused because of its policy, lock or owner, or because it is in an archive class. The bucket is
not affected: it still accepts and returns other keys.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from recvault.errors import Cold, KeyRefused, RecvaultError
from recvault.store.protocol import Put
from recvault.store.s3.botocore_errors import (
    ABSENT,
    COLD,
    EXISTS,
    OF_THE_BUCKET,
    RACED,
    THROTTLED,
    TRANSIENT,
    WRONG_SUM,
    BotocoreErrors,
    code_of,
    refusal,
    status_of,
)
from recvault.store.s3.bounds import Unread
from recvault.store.s3.endings import Ending
from recvault.store.s3.objects import Objects

_REMEMBERED_SECONDS = 30.0
_NEVER_A_KEYS = OF_THE_BUCKET | THROTTLED | TRANSIENT | WRONG_SUM | RACED
_OTHERS_ARE_TAKEN = "the bucket accepts other keys: check policy, owner, lock and length of this one"
_RESTORE = "restore it from its archive class, then try again"


class Evidence:
    """Tests at most twice a minute, reads and writes separately. Thread-safe. Always False without a known object."""

    def __init__(
        self, objects: Objects, lists: Callable[[str], None], write: Callable[[Put], None], ending: Ending
    ) -> None:
        self._objects, self._lists, self._write, self._ending = objects, lists, write, ending
        self._locks = {True: threading.Lock(), False: threading.Lock()}
        self._last: dict[bool, tuple[float, bool]] = {}
        self.known: Callable[[], Put] | None = None

    def is_well(self, *, writing: bool) -> bool:
        """Whether the bucket accepts, or returns, the known object."""
        if self.known is None:
            return False
        with self._locks[writing]:
            at, well = self._last.get(writing, (-_REMEMBERED_SECONDS, False))
            if time.monotonic() - at > _REMEMBERED_SECONDS:
                try:
                    well = self._may_write(self.known()) if writing else self._may_read(self.known().key)
                except (BotoCoreError, ClientError, RecvaultError, ResponseParserError):
                    well = False
                self._last[writing] = (time.monotonic(), well)
            return well

    def _may_write(self, known: Put) -> bool:
        try:
            self._write(known)
        except ClientError as error:
            return code_of(error) in EXISTS
        return True

    def _may_read(self, key: str) -> bool:
        self._lists(key)
        try:
            self._objects.get(key, Unread(), self._ending)
        except ClientError as error:
            return code_of(error) in ABSENT
        return True


class KeyErrors(BotocoreErrors):
    """As botocore_errors, for a request about one key: KeyRefused or Cold if only that key is affected."""

    __slots__ = ("_evidence", "_writing")

    def __init__(self, where: str, evidence: Evidence, *, writing: bool) -> None:
        self._where, self._evidence, self._writing = where, evidence, writing

    def translated(self, error: BaseException) -> RecvaultError | None:
        if isinstance(error, ClientError):
            if code_of(error) in COLD:
                return Cold(refusal(error, self._where), _RESTORE).answered(status_of(error), code_of(error))
            if _may_be_a_keys(error) and self._evidence.is_well(writing=self._writing):
                ours = KeyRefused(refusal(error, self._where), _OTHERS_ARE_TAKEN)
                return ours.answered(status_of(error), code_of(error))
        return super().translated(error)


def _may_be_a_keys(error: ClientError) -> bool:
    return 400 <= status_of(error) < 500 and status_of(error) != 401 and code_of(error) not in _NEVER_A_KEYS
