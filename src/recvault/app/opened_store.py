"""Open the configured store: only this module knows which kinds exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from recvault.config.settings import ArchiveSettings, TransferSettings
from recvault.shutdown import Stop
from recvault.store import Bucket, Foreign, Put

if TYPE_CHECKING:
    from recvault.store.s3.clients import Client


def opened(where: ArchiveSettings, transfer: TransferSettings, stop: Stop, known: Callable[[], Put]) -> Bucket:
    """Make the store, without any request. `known` makes the one object that every archive of recvault has."""
    if where.directory is not None:
        from recvault.store.local.local_store import LocalStore

        return LocalStore(where.directory, stop=stop)
    return _s3(where, transfer, stop, known)


def _s3(where: ArchiveSettings, transfer: TransferSettings, stop: Stop, known: Callable[[], Put]) -> Bucket:
    """Make a bucket whose client has a connection for each worker and some more."""
    from recvault.store.s3.options import WriteOptions
    from recvault.store.s3.s3_store import S3Store

    client = _client(where, transfer)
    options = WriteOptions(
        storage_class=where.storage_class,
        sse=where.sse,
        kms_key_id=where.kms_key_id,
        lock_mode=where.object_lock.mode,
        lock_days=where.object_lock.days or 0,
        legal_hold=where.object_lock.legal_hold,
        tags=where.tags,
        acl=where.acl,
        request_payer=where.request_payer,
    )
    return S3Store(
        client,
        where.bucket,
        options=options,
        stop=stop,
        straight=where.sender == "fast",
        known=known,
        endpoint_url=where.endpoint_url,
        checksums=where.checksums,
    )


def foreign(bucket: str, where: ArchiveSettings, transfer: TransferSettings, stop: Stop) -> Foreign:
    """Open a bucket that others write, to read it: at the archive's endpoint, by the same credentials."""
    from recvault.store.s3.foreign import S3Foreign
    from recvault.store.s3.options import WriteOptions
    from recvault.store.s3.s3_store import S3Store

    options = WriteOptions(request_payer=where.request_payer)
    store = S3Store(_client(where, transfer), bucket, options=options, stop=stop, endpoint_url=where.endpoint_url)
    return S3Foreign(store, stop)


def _client(where: ArchiveSettings, transfer: TransferSettings) -> Client:
    from recvault.store.s3.clients import make_client

    return make_client(
        region=where.region,
        endpoint_url=where.endpoint_url,
        addressing_style=where.addressing_style,
        pool=transfer.workers + 4,
        transport=transfer.transport,
    )
