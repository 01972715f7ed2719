"""Sign one request to a bucket, as boto3 does, for a fifth of what that costs.

What boto3 works out anew for each request is asked of it once: the bucket's address, and the region that signs for it.
Credentials and the signature's form stay its own, so whatever the environment says of them counts as ever.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from botocore.auth import SIGNED_HEADERS_BLACKLIST, S3SigV4Auth

_SIGV4 = "AWS4-HMAC-SHA256"


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
        return self.root + quote(key, safe="/~")


class Signer:
    """A client's signatures. Thread-safe. AttributeError where its botocore keeps elsewhere what is used here."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._credentials = client._request_signer.get_auth_instance  # not promised by botocore: looked up once, here
        self._sample = uuid4().hex  # a key that nothing has
        client.meta.events.register("before-send.s3.PutObject", self._hold)

    def address(self, bucket: str) -> Address | None:
        """Have boto3 make and sign a put that is never sent. None where its signature is not the one known here."""
        try:
            self._client.put_object(Bucket=bucket, Key=self._sample)
        except _Held as held:
            signed_by, _, rest = str(held.headers.get("authorization")).partition(" Credential=")
            if signed_by != _SIGV4 or "x-amz-s3session-token" in held.headers:
                return None
            region, service = rest.partition(",")[0].rsplit("/", 4)[2:4]
            parts = urlsplit(held.url.removesuffix(self._sample))
            return Address(f"{parts.scheme}://{parts.netloc}", parts.path, _host(parts), region, service)
        return None

    def signed(
        self, address: Address, method: str, path: str, headers: Mapping[str, str], sha256: str
    ) -> dict[str, str]:
        """The headers, signed for a body of this sum by the credentials of this moment: they may rotate."""
        named = {"Host": address.host, **headers, "User-Agent": self._client.meta.config.user_agent}
        request: Any = _Signing(address.base + path, path, named, {"sha256": sha256}, method)
        credentials = self._credentials(address.service, address.region).credentials
        _Signature(credentials, address.service, address.region).add_auth(request)
        found: dict[str, str] = request.headers
        return found

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


@dataclass(frozen=True, slots=True)
class _Signing:
    """What botocore's signature looks at, and where it writes."""

    url: str
    path: str
    headers: dict[str, str]
    context: dict[str, str]
    method: str
    params: None = None


class _Signature(S3SigV4Auth):
    """botocore's own, of a request without a query whose payload's sum is known: signed over https too.

    A path that is quoted, headers that stand once each in a plain dictionary, a key that holds for a day: what botocore
    works out for any request was two thirds of a signature.
    """

    _region_name: str  # as botocore keeps them
    _service_name: str

    def payload(self, request: Any) -> str:
        return str(request.context["sha256"])

    def canonical_request(self, request: Any) -> str:
        lower = {name.lower(): value for name, value in request.headers.items()}
        names = sorted(lower.keys() - SIGNED_HEADERS_BLACKLIST)
        request.context["signed"] = signed = ";".join(names)
        lines = [f"{name}:{' '.join(lower[name].split())}" for name in names]
        return "\n".join([request.method, request.path, "", *lines, "", signed, self.payload(request)])

    def headers_to_sign(self, request: Any) -> Any:
        return request.context["signed"]

    def signed_headers(self, headers_to_sign: Any) -> str:
        return str(headers_to_sign)

    def signature(self, string_to_sign: str, request: Any) -> str:
        day = request.context["timestamp"][:8]
        key = _signing_key(self.credentials.secret_key, day, self._region_name, self._service_name)
        return hmac.digest(key, string_to_sign.encode(), "sha256").hex()


@functools.lru_cache(maxsize=4)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _host(parts: Any) -> str:
    plain = {"http": ":80", "https": ":443"}[parts.scheme]
    return str(parts.netloc.rpartition("@")[2].removesuffix(plain))
