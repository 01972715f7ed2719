"""A bucket that others write: listed and read, never written."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import ClientError

from recvault.shutdown import Stop
from recvault.store.protocol import Listed, Origin
from recvault.store.s3 import answers
from recvault.store.s3.botocore_errors import ABSENT, code_of
from recvault.store.s3.bounds import Sink
from recvault.store.s3.endings import asked
from recvault.store.s3.objects import ByBoto3
from recvault.store.s3.s3_store import S3Store


class S3Foreign:
    """See store.Foreign. By boto3, which finds a bucket in another region."""

    def __init__(self, store: S3Store, stop: Stop) -> None:
        self.bucket = store.bucket
        self._store, self._reader = store, store.reader()
        self._objects, self._ending = ByBoto3(store.client, store.bucket), asked(stop)

    def listed(self, prefix: str) -> Iterator[Listed]:
        """See Foreign.listed."""
        return self._reader.listed(prefix)

    def read(self, key: str, sink: Sink) -> Origin | None:
        """See Foreign.read."""
        where = f"s3://{self.bucket}/{key}"
        with self._store.key_errors(key):
            try:
                told = self._objects.get(key, sink, self._ending)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
            answers.found(told, where, has_body=True)
        return Origin(self.bucket, key, told["etag"].strip('"'))

    def close(self) -> None:
        """See Foreign.close."""
        self._store.close()
