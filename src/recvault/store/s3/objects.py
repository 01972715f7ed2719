"""Single objects of one bucket, by boto3; straight.py has them without it.

Either raises what boto3 raises.
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
"""An answer's headers, by lower name."""


class Objects(Protocol):
    """Thread-safe."""

    def put(self, ending: Ending, **arguments: Any) -> Mapping[str, Any]:
        """As put_object, for the arguments of a Writer; of its answer what says what was stored."""

    def head(self, key: str, ending: Ending, *, sums: bool = False) -> Told:
        """Describe an object; `sums`: with those that the store itself keeps."""

    def get(self, key: str, sink: Sink, ending: Ending) -> Told:
        """Hand an object's body to a sink."""

    def renew(self) -> None:
        """An answer was not what was asked for: go on over connections of which that is not to be feared."""


class ByBoto3:
    """See Objects. A client that is none of ours sends and ends by itself."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def put(self, ending: Ending, **arguments: Any) -> Mapping[str, Any]:
        """See Objects.put. Knows no bytes that are another's, and works out for itself what it signs."""
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
    """End what a client of ours sends in the block so; see Sending.during."""
    if not isinstance(client, Client):
        yield
        return
    with client.sending.during(ending, sink):
        yield


def _headers(answer: Mapping[str, Any]) -> Told:
    return {str(name).lower(): str(value) for name, value in answer["ResponseMetadata"]["HTTPHeaders"].items()}
