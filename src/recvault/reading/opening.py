"""Open an archive's store by its URL."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from recvault.errors import ConfigError
from recvault.shutdown import Stop
from recvault.store import Bucket

_HINT = "an archive is s3://BUCKET, s3://BUCKET/PREFIX or file:///DIRECTORY"


def opened(
    url: str,
    *,
    endpoint_url: str | None,
    profile: str | None,
    region: str | None,
    addressing_style: Literal["auto", "path", "virtual"],
    threads: int,
    stop: Stop,
) -> tuple[Bucket, str]:
    """Return the store and the prefix of its keys, without any request. Raises ConfigError."""
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        from recvault.store.local.local_store import LocalStore

        return LocalStore(Path(unquote(parts.path)), stop=stop), ""
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} does not say where the archive is", _HINT)
    from recvault.store.s3.clients import make_client
    from recvault.store.s3.s3_store import S3Store

    client = make_client(
        region=region,
        endpoint_url=endpoint_url,
        addressing_style=addressing_style,
        pool=threads + 4,
        profile=profile,
    )
    return S3Store(client, parts.netloc, stop=stop, straight=True, endpoint_url=endpoint_url), parts.path.strip("/")
