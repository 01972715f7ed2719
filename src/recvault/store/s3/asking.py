"""Test how a store handles a put, by writing one known object, first with deliberately wrong checksums.

Whatever the store accepts, the object keeps its correct bytes: only the checksums are wrong, never the body.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from recvault.store.facts import CHECKSUMS, ETAG, NONE, SHA256, StoreFacts
from recvault.store.protocol import Put
from recvault.store.s3 import answers
from recvault.store.s3.botocore_errors import (
    EXISTS,
    NOT_DONE,
    OF_THE_BUCKET,
    STALE,
    TRANSIENT,
    WRONG_SUM,
    code_of,
    status_of,
)
from recvault.store.s3.object_writer import Writer, b64, b64_md5, hex_of

_WRONG = hashlib.sha256(b"not the body").digest()
_NOT_TAKEN = frozenset({400, 405, 501})


class Asking:
    """Tests once. Raises botocore's errors, and StoreUnavailable if a response is not the store's."""

    def __init__(self, writer: Writer, send: Callable[..., Any], known: Put, where: str) -> None:
        self._writer, self._send, self._known, self._where = writer, send, known, where

    def facts(self, checksums: str) -> StoreFacts:
        """Test with the first kind of checksum that the store accepts: SHA-256, then MD5, then none."""
        first: ClientError | None = None
        for sums in CHECKSUMS if checksums == "auto" else (checksums,):
            try:
                return self._facts(sums)
            except ClientError as error:
                if not _is_not_taken(error):
                    raise
                first = first or error
        assert first is not None  # noqa: S101 - at least one kind was tried
        raise first

    def _facts(self, sums: str) -> StoreFacts:
        sha256 = sums == SHA256 and self._refuses(ChecksumAlgorithm="SHA256", ChecksumSHA256=b64(_WRONG))
        md5 = sums != NONE and not sha256 and self._refuses(ContentMD5=b64(_WRONG[:16]))
        found = StoreFacts(sha256=sha256, md5=md5, sums=sums)
        right = self._writer.sums(self._known.body, self._known.sha256, found)
        answer = self._writer.send(self._known, self._send, **right)  # the control: only the sum was wrong
        etag = answers.stored(answer, self._where)
        tells = NONE
        if right.get("ChecksumSHA256") is not None and answer.get("ChecksumSHA256") == right["ChecksumSHA256"]:
            tells = SHA256
        elif etag == hex_of(b64_md5(self._known.body)):
            tells = ETAG
        return replace(found, tells=tells, conditional=self._is_conditional(right))

    def _is_conditional(self, right: Mapping[str, str]) -> bool:
        """Whether a conditional put on an existing object is refused as such."""
        try:
            self._writer.send(self._known, self._send, IfNoneMatch="*", **right)
        except ClientError as error:
            if code_of(error) not in EXISTS | NOT_DONE:
                raise
            return code_of(error) in EXISTS
        return False

    def _refuses(self, **wrong: str) -> bool:
        """Whether a wrong checksum is refused as such. Other refusals prove nothing: the control put decides."""
        try:
            self._writer.send(self._known, self._send, **wrong)
        except ClientError as error:
            if status_of(error) not in _NOT_TAKEN:
                raise
            return code_of(error) in WRONG_SUM
        return False


def _is_not_taken(error: ClientError) -> bool:
    """Whether the store may not accept this kind of checksum, MD5 or SHA-256: trying the next kind decides."""
    return status_of(error) in _NOT_TAKEN and code_of(error) not in STALE | TRANSIENT | OF_THE_BUCKET
