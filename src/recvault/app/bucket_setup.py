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
from recvault.config.settings import ArchiveSettings
from recvault.errors import StoreRefused
from recvault.log import get_logger
from recvault.store import Bucket, Put, StoreFacts

if TYPE_CHECKING:
    from recvault.ledger import Ledger

log = get_logger("recvault.app.bucket_setup")

_ASKED = 2  # grows when more is asked: what was remembered of a store before is asked anew
_UNFINISHED = timedelta(days=1)


def facts(
    store: Bucket, keys: KeyTemplate, ledger: Ledger, where: ArchiveSettings, *, ask_again: bool, make: bool
) -> StoreFacts:
    """What the store enforces, its schema put in place where that is not known yet, or is asked anew.

    `make`: a place that was never archived in may become an archive now.
    """
    place = f"archive:{where.endpoint_url}|{where.bucket}|{where.prefix}"
    known_place = ledger.fact(place) is not None
    store.begin(known=known_place, make=make)
    known = schema(keys)
    name = f"store:{where.endpoint_url}|{where.bucket}|{where.prefix}|{known.sha256[:16]}|{where.checksums}|{_ASKED}"
    remembered = None if ask_again else ledger.fact(name)
    if remembered:
        return StoreFacts.from_json(remembered)
    found = store.ask_facts(known)
    ledger.remember(name, found.to_json())
    if not known_place:
        ledger.remember(place, "begun")
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


def clear_unfinished(store: Bucket, keys: KeyTemplate, now: datetime) -> None:
    """What a kill left half written costs space or money unseen. Without the right to list it, a rule must do."""
    try:
        cleared = store.clear_unfinished(keys.root, now - _UNFINISHED)
    except StoreRefused as refusal:
        if refusal.status is None:
            raise  # nothing was asked: there are no credentials, or none that can be sent
        log.debug("store.uploads_not_listed", hint="a lifecycle rule can abort unfinished uploads")
        return
    if cleared:
        log.info("store.uploads_aborted", count=cleared)
