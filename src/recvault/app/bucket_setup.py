"""What a bucket needs before anything is archived in it: the sidecar's schema in its place, and no old remains.

What the store enforces is asked with that one known object, once, and remembered in the ledger.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING

from recvault import archive
from recvault.archive import KeyTemplate
from recvault.config.models import Archive
from recvault.errors import StoreRefused
from recvault.log import get_logger
from recvault.store import Put, S3Store, StoreFacts

if TYPE_CHECKING:
    from recvault.ledger import Ledger

log = get_logger("recvault.app.bucket_setup")

_ASKED = 2  # grows when more is asked: what was remembered of a store before is asked anew
_STALE_UPLOAD = timedelta(days=1)


def facts(store: S3Store, keys: KeyTemplate, ledger: Ledger, where: Archive, *, ask_again: bool) -> StoreFacts:
    """What the store enforces, its schema put in place where that is not known yet, or is asked anew."""
    known = schema(keys)
    name = f"store:{where.endpoint_url}|{where.bucket}|{where.prefix}|{known.sha256[:16]}|{where.checksums}|{_ASKED}"
    remembered = None if ask_again else ledger.fact(name)
    if remembered:
        return StoreFacts.from_json(remembered)
    found = store.ask_facts(known, where.checksums)
    ledger.remember(name, found.to_json())
    log.info("store.facts", proof=found.proof, conditional_put=found.conditional)
    return found


def schema(keys: KeyTemplate) -> Put:
    """The sidecar's schema: the one object that every bucket of recvault's holds."""
    body = archive.schema_bytes()
    sha256 = hashlib.sha256(body).hexdigest()
    return Put(
        key=keys.schema_key,
        body=BytesIO(body),
        bytes=len(body),
        sha256=sha256,
        content_type="application/schema+json",
        metadata={"sha256": sha256, "schema": archive.SCHEMA},
    )


def abort_stale_uploads(store: S3Store, keys: KeyTemplate, now: datetime) -> None:
    """What a kill left of multipart uploads costs money unseen. Without the right to list them, a rule must do."""
    try:
        aborted = store.abort_stale_uploads(keys.root, now - _STALE_UPLOAD)
    except StoreRefused as refusal:
        if refusal.status is None:
            raise  # nothing was asked: there are no credentials, or none that can be sent
        log.debug("store.uploads_not_listed", hint="a lifecycle rule can abort unfinished uploads")
        return
    if aborted:
        log.info("store.uploads_aborted", count=aborted)
