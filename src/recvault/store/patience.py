"""botocore's connections, mended: what comes in place of a whole `100 Continue` is an error.

After its first line botocore reads on to an empty line, and where the connection ends before that it reads the end
again and again, at full speed: a worker would be lost, and a pass would never end. Any other 1xx, such as 102
Processing, it takes for the last word, and for success: a body that was never sent would count as stored.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.exceptions import ConnectionClosedError

_FINAL = 200


class _Connection(AWSHTTPConnection):
    def _consume_headers(self, fp: BinaryIO) -> None:
        _read_headers(fp)


class _SecureConnection(AWSHTTPSConnection):
    def _consume_headers(self, fp: BinaryIO) -> None:
        _read_headers(fp)


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(AWSHTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def mend(client: Any) -> None:
    """Have a client use these; a later botocore that keeps its connections elsewhere is left as it is."""
    pools = getattr(client._endpoint.http_session, "_pool_classes_by_scheme", {})
    pools.update({"http": _Pool, "https": _SecurePool})
    client.meta.events.register("after-call.s3", _refuse_unfinished)


def _refuse_unfinished(http_response: Any, **_: Any) -> None:
    if http_response.status_code < _FINAL:
        raise ConnectionClosedError(endpoint_url=http_response.url)


def _read_headers(fp: BinaryIO) -> None:
    while (line := fp.readline()) != b"\r\n":
        if not line:
            raise ConnectionResetError("the connection ended in 100 Continue")
