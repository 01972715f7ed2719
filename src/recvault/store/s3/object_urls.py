"""Where a bucket's objects are, and what signs for them: asked of boto3, by a put that it signs and nobody sends."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from recvault.store.s3.clients import Client

_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]+/[0-9]{8}/(?P<region>[A-Za-z0-9._-]+)/s3/aws4_request, ")
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")  # that no quoting changes
_SEGMENTS = frozenset({".", ".."})  # which URLs do not keep


@dataclass(frozen=True, slots=True)
class Address:
    """What comes before every key's path, and the scope of a signature."""

    root: str  # with its slash
    region: str
    service: str

    def url(self, key: str) -> str:
        """An object's URL, quoted as it is signed."""
        folder, slash, name = key.rpartition("/")
        plain = name if _PLAIN.fullmatch(name) else quote(name, safe="/~")
        return self.root + _quoted(folder + slash) + plain


def is_plain(key: str) -> bool:
    """Whether a key's URL is one that every client sends as it is."""
    return bool(key) and (not ("./" in key or "/." in key or key in _SEGMENTS) or _SEGMENTS.isdisjoint(key.split("/")))


def address(client: Client, bucket: str) -> Address | None:
    """None where it takes botocore to say or to sign: a name that is none, no credentials, another signature."""
    sample = uuid4().hex  # a key that nothing has
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


@functools.lru_cache(maxsize=256)  # a day's recordings share it
def _quoted(folder: str) -> str:
    return quote(folder, safe="/~")
