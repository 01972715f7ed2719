"""Find a bucket's URL and signing scope, from a put that boto3 signs and that is never sent."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from recvault.store.s3.clients import Client

_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]+/[0-9]{8}/(?P<region>[A-Za-z0-9._-]+)/s3/aws4_request, ")
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")  # unchanged by quoting
_SEGMENTS = frozenset({".", ".."})  # not preserved in URLs


@dataclass(frozen=True, slots=True)
class Address:
    """The part of the URL before the key, and the scope of a signature."""

    root: str  # ends in a slash
    region: str
    service: str

    def url(self, key: str) -> str:
        """Return an object's URL, quoted as it is signed."""
        folder, slash, name = key.rpartition("/")
        plain = name if _PLAIN.fullmatch(name) else quote(name, safe="/~")
        return self.root + _quoted(folder + slash) + plain


def is_plain(key: str) -> bool:
    """Whether every client sends the key's URL unchanged."""
    return bool(key) and (not ("./" in key or "/." in key or key in _SEGMENTS) or _SEGMENTS.isdisjoint(key.split("/")))


def address(client: Client, bucket: str) -> Address | None:
    """Return the address; None if only botocore can find it or sign: invalid name, no credentials, other signature."""
    sample = uuid4().hex  # an unused key
    try:
        held = client.sending.held(lambda: client.put_object(Bucket=bucket, Key=sample))
    except (BotoCoreError, ClientError):
        return None
    parts = urlsplit(held.url)
    found = _SCOPE.match({name.lower(): value for name, value in held.headers}.get("authorization", ""))
    if found is None or parts.query or not parts.path.endswith(f"/{sample}"):
        return None
    root = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix(sample)}"
    return Address(root, found["region"], "s3")


@functools.lru_cache(maxsize=256)  # shared by a day's recordings
def _quoted(folder: str) -> str:
    return quote(folder, safe="/~")
