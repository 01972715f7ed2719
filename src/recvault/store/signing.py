"""Sign one request to a bucket, as boto3 does, for a seventh of what that costs.

What boto3 works out anew for each request is asked of it once: the bucket's address, and the region that signs for it.
Credentials stay its own, so whatever the environment says of them counts as ever.

Invariant: only for a bucket where this very code has come to the same signature as boto3; any other is left to boto3.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from botocore.exceptions import NoCredentialsError

from recvault.store.credentials import checked

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} Credential=[^,]+/\d{{8}}/(?P<region>[^/,]+)/(?P<service>[^/,]+)/aws4_request, "
    r"SignedHeaders=(?P<names>[^,]*), Signature="
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a bucket's objects are, and what signs for it."""

    base: str  # all that comes before a path: scheme, host and port
    root: str  # the path that all keys lie below, with its slash
    host: str  # without a port that goes without saying: a signature holds it
    region: str
    service: str

    def path(self, key: str) -> str:
        """An object's path, quoted as it is signed."""
        folder, slash, name = key.rpartition("/")
        return self.root + _quoted(folder + slash) + quote(name, safe="/~")


class Signer:
    """A client's signatures. Thread-safe. AttributeError where its botocore keeps elsewhere what is used here."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._credentials = client._request_signer._credentials  # not promised by botocore: looked up once, here
        self._user_agent = str(client.meta.config.user_agent)
        self._sample = uuid4().hex  # a key that nothing has
        client.meta.events.register("before-send.s3.PutObject", self._hold)

    def address(self, bucket: str) -> Address | None:
        """Where a bucket is, and what signs for it. None where boto3's signature is not the one known here."""
        return self._met(bucket) or self._met(bucket)  # its credentials may have rotated just in between

    def _met(self, bucket: str) -> Address | None:
        """Have boto3 make and sign a put that is never sent, and compare."""
        try:
            self._client.put_object(Bucket=bucket, Key=self._sample)
        except _Held as held:
            theirs, parts = held.headers.get("authorization", ""), urlsplit(held.url)
            found = _AUTHORIZATION.match(theirs)
            if found is None:
                return None
            root = parts.path.removesuffix(self._sample)
            address = Address(f"{parts.scheme}://{parts.netloc}", root, _host(parts), found["region"], found["service"])
            given = {"host": address.host, **held.headers}
            signed = {name: given.get(name, "") for name in found["names"].split(";")}
            return address if self._authorization(address, "PUT", parts.path, signed) == theirs else None
        return None

    def signed(
        self, address: Address, method: str, path: str, headers: Mapping[str, str], sha256: str
    ) -> dict[str, str]:
        """The headers, named in lower case, signed for a body of this sum by the credentials of this moment."""
        named = {
            **headers,
            "host": address.host,
            "x-amz-content-sha256": sha256,
            "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        }
        authorization = self._authorization(address, method, path, named)
        return {**named, "authorization": authorization, "user-agent": self._user_agent, "accept-encoding": "identity"}

    def _authorization(self, address: Address, method: str, path: str, named: dict[str, str]) -> str:
        """AWS's Signature Version 4 of a request without a query. Adds the token of credentials that rotate."""
        if self._credentials is None:
            raise NoCredentialsError
        access_key, secret_key, token = checked(self._credentials)
        if token:
            named["x-amz-security-token"] = token
        names = sorted(named)
        lines = [f"{name}:{' '.join(named[name].split())}" for name in names]
        signed, moment = ";".join(names), named["x-amz-date"]
        request = "\n".join([method, path, "", *lines, "", signed, named["x-amz-content-sha256"]])
        scope = f"{moment[:8]}/{address.region}/{address.service}/aws4_request"
        told = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = _signing_key(secret_key, moment[:8], address.region, address.service)
        signature = hmac.digest(key, told.encode(), "sha256").hex()
        return f"{_ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"

    def _hold(self, request: Any, **_: Any) -> None:
        """Keep the sample from being sent."""
        if request.url.endswith(self._sample):
            raise _Held(request)


class _Held(Exception):
    """A request that boto3 was about to send."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.url = str(request.url)
        self.headers = {n.lower(): v.decode() if isinstance(v, bytes) else v for n, v in request.headers.items()}


@functools.lru_cache(maxsize=4)  # it holds for a day
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@functools.lru_cache(maxsize=256)  # a day's recordings share it
def _quoted(folder: str) -> str:
    return quote(folder, safe="/~")


def _host(parts: Any) -> str:
    plain = {"http": ":80", "https": ":443"}[parts.scheme]
    return str(parts.netloc.rpartition("@")[2].removesuffix(plain))
