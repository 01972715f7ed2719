"""Access single objects of one bucket by boto3; straight.py does so without it.

Both raise boto3's errors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from recvault.store.s3.body import BODY_SHA256
from recvault.store.s3.bounds import Sink
from recvault.store.s3.clients import Client
from recvault.store.s3.endings import Ending
from recvault.transport import Enough

_CHUNK = 1024**2

Told = Mapping[str, str]
"""A response's headers, by lowercase name."""


class Objects(Protocol):
    """Thread-safe."""

    def put(self, ending: Ending, **arguments: Any) -> Mapping[str, Any]:
        """As put_object, with a Writer's arguments. Returns the fields that say what was stored."""

    def head(self, key: str, ending: Ending, *, sums: bool = False) -> Told:
        """Describe an object; `sums`: include the store's own checksums."""

    def get(self, key: str, sink: Sink, ending: Ending) -> Told:
        """Write an object's body to a sink."""

    def renew(self) -> None:
        """Use new connections from now on: a response on the old ones did not match its request."""


class ByBoto3:
    """See Objects. A plain boto3 client sends by itself and ignores the ending."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def put(self, ending: Ending, **arguments: Any) -> Mapping[str, Any]:
        """See Objects.put. boto3 does not accept a memoryview, and computes the hash that it signs itself."""
        body = arguments["Body"]
        known = {name: value for name, value in arguments.items() if name != BODY_SHA256}
        known["Body"] = bytes(body) if isinstance(body, memoryview) else body
        with within(self._client, ending):
            answer: Mapping[str, Any] = self._client.put_object(Bucket=self._bucket, **known)
        return answer

    def head(self, key: str, ending: Ending, *, sums: bool = False) -> Told:
        """See Objects.head."""
        more = {"ChecksumMode": "ENABLED"} if sums else {}
        with within(self._client, ending):
            return _headers(self._client.head_object(Bucket=self._bucket, Key=key, **more))

    def get(self, key: str, sink: Sink, ending: Ending) -> Told:
        """See Objects.get."""
        with within(self._client, ending, sink):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
        if not isinstance(self._client, Client):
            with contextlib.closing(answer["Body"]) as body, contextlib.suppress(Enough):
                sink.begin(answer.get("ContentLength"))
                for chunk in body.iter_chunks(_CHUNK):
                    sink.write(chunk)
        return _headers(answer)

    def renew(self) -> None:
        """See Objects.renew."""
        if isinstance(self._client, Client):
            self._client.sending.transport.renew()


@contextlib.contextmanager
def within(client: Any, ending: Ending, sink: Sink | None = None) -> Iterator[None]:
    """Apply an ending to requests that our client sends in the block; see Sending.during."""
    if not isinstance(client, Client):
        yield
        return
    with client.sending.during(ending, sink):
        yield


def _headers(answer: Mapping[str, Any]) -> Told:
    return {str(name).lower(): str(value) for name, value in answer["ResponseMetadata"]["HTTPHeaders"].items()}
