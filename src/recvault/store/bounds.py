"""Nothing that comes from a bucket is read without a bound: an object may be anybody's, and an answer anything.

botocore reads answers whole before it looks at them. Here its session hands them on only up to a size that no list, no
error and no other short answer of a store comes near; an object's own body is read by whoever asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import BotoCoreError, ConnectionClosedError, ReadTimeoutError
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ReadTimeoutError as LateError

from recvault.errors import TooLarge

MOST_ANSWER = 16 << 20  # bytes of a page of a listing, the largest of a store's answers
MOST_ERROR = 1 << 20


class AnswerTooLarge(BotoCoreError):
    """An answer that is larger than any of a store's."""

    fmt = "the answer is larger than any of a store's: {most} bytes and more"


def limited(chunks: Iterable[bytes], most: int) -> bytes:
    """A short answer, whole. AnswerTooLarge once it is longer than `most`."""
    whole = bytearray()
    for chunk in chunks:
        whole += chunk
        if len(whole) > most:
            raise AnswerTooLarge(most=most)
    return bytes(whole)


def small(chunks: Iterable[bytes], told: int | None, most: int, where: str) -> bytes:
    """A small object, whole. TooLarge where its length says so, or as soon as more came."""
    if told is not None and told > most:
        raise too_large(where, told)
    whole = bytearray()
    for chunk in chunks:
        whole += chunk
        if len(whole) > most:
            raise too_large(where, len(whole))
    return bytes(whole)


def too_large(where: str, size: int) -> TooLarge:
    """The error for an object that is none of the small ones that are kept under such keys."""
    kind = "a sidecar" if where.endswith(".json") else "what recvault writes under its key"
    return TooLarge(f"{where} is too large to be {kind}: {size:,} bytes or more", "it is another's: move it away")


def bound(client: Any) -> None:
    """Have a client read no answer without a bound."""
    client._endpoint.http_session = BoundedSession(client._endpoint.http_session)


class BoundedSession:
    """botocore's HTTP session, whose answers have a bound. Everything else is the session's own."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def send(self, request: Any) -> Any:
        """Send; see the session's own."""
        streams = request.stream_output
        request.stream_output = True  # or it would read all there is
        answer = self._session.send(request)
        if streams and answer.status_code < 300:
            return answer
        most = MOST_ANSWER if answer.status_code < 300 else MOST_ERROR
        try:
            content = limited(_chunks(answer.raw, request.url), most)
        except BaseException:
            answer.raw.close()  # with its connection, on which the rest of it lies
            raise
        return AWSResponse(answer.url, answer.status_code, answer.headers, SimpleNamespace(stream=lambda: [content]))


def _chunks(raw: Any, url: str) -> Iterator[bytes]:
    """A body as it comes; what goes wrong is an error of botocore's."""
    try:
        yield from raw.stream(65536)
    except LateError as error:
        raise ReadTimeoutError(endpoint_url=url, error=error) from error
    except (HTTPError, OSError) as error:
        raise ConnectionClosedError(endpoint_url=url, error=error) from error
