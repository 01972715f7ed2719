"""A body that is sent on only until a drain is over.

botocore takes any Exception of a body for trouble of the network, and sends again; so what ends a body here is none. It
passes through botocore and urllib3, which closes the connection as it goes by, and the store makes Interrupted of it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from recvault.errors import Interrupted
from recvault.stopping import Stop

BODY_SHA256 = "BodySHA256"  # among a put's arguments: what its body is signed by, whatever sums are sent


class DrainOver(BaseException):
    """Ends a put in mid-stream. Never leaves the store."""


class DrainedBody:
    """A seekable file that raises DrainOver, once the drain is over, instead of reading or seeking."""

    def __init__(self, body: BinaryIO, stop: Stop) -> None:
        self.body = self._body = body
        self._stop = stop

    def read(self, size: int | None = -1) -> bytes:
        """As a file does."""
        self._check()
        return self._body.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As a file does. Each new try begins with it."""
        self._check()
        self._body.seek(offset, whence)
        return self._body.tell()

    def tell(self) -> int:
        """As a file does."""
        return self._body.tell()

    def _check(self) -> None:
        try:
            self._stop.check_enforced()
        except Interrupted as error:
            raise DrainOver(error.message) from None


@contextmanager
def in_memory(body: Any) -> Iterator[memoryview | None]:
    """A body's bytes where they are, if they are in memory.

    Invariant: the view is released with the block, whoever still refers to it then: a traceback keeps the locals of its
    frames, and a BytesIO that is collected while a view of it is open cannot close.
    """
    within = body.body if isinstance(body, DrainedBody) else body
    if not hasattr(within, "getbuffer"):
        yield None
        return
    with within.getbuffer() as view:
        yield view


def by_boto3(client: Any) -> Callable[..., Any]:
    """put_object, which knows no bytes that are another's, and works out for itself what it signs."""

    def put_object(**arguments: Any) -> Any:
        body = arguments["Body"]
        known = {name: value for name, value in arguments.items() if name != BODY_SHA256}
        return client.put_object(**{**known, "Body": bytes(body) if isinstance(body, memoryview) else body})

    return put_object
