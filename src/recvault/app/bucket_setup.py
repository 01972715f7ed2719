"""What a bucket needs before the first archiving: the sidecar schema, and no unfinished uploads.

What the store enforces is tested once with that one object and remembered in the ledger.
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
from recvault.log.lines import get_logger
from recvault.store import Bucket, Put, StoreFacts

if TYPE_CHECKING:
    from recvault.ledger import Ledger

log = get_logger("recvault.app.bucket_setup")

_ASKED = 2  # increment to test more: facts remembered about a store are then tested again
_UNFINISHED = timedelta(days=1)


def facts(
    store: Bucket, keys: KeyTemplate, ledger: Ledger, where: ArchiveSettings, *, ask_again: bool, make: bool
) -> StoreFacts:
    """Return what the store enforces; put the schema if that is unknown or must be tested again.

    `make`: a place that never was an archive may become one now.
    """
    store.begin(known=ledger.fact(_place(where)) is not None, make=make)
    note_begun(ledger, where)
    known = schema(keys)
    name = f"store:{where.endpoint_url}|{where.bucket}|{where.prefix}|{known.sha256[:16]}|{where.checksums}|{_ASKED}"
    remembered = None if ask_again else ledger.fact(name)
    if remembered:
        return StoreFacts.from_json(remembered)
    found = store.ask_facts(known)
    ledger.remember(name, found.to_json())
    log.info("store.facts", proof=found.proof, conditional_put=found.conditional)
    return found


def note_begun(ledger: Ledger, where: ArchiveSettings) -> None:
    """Remember that an archive was started there: if it disappears, wait for it instead of starting a new one."""
    if ledger.fact(_place(where)) is None:
        ledger.remember(_place(where), "begun")


def _place(where: ArchiveSettings) -> str:
    return f"archive:{where.endpoint_url}|{where.bucket}|{where.prefix}"


def schema(keys: KeyTemplate) -> Put:
    """Return the sidecar's schema: the one object that every bucket of recvault has."""
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
    """Abort unfinished uploads of killed processes that are over a day old: they cost money.

    Without the permission to list them, a lifecycle rule must do it.
    """
    try:
        cleared = store.clear_unfinished(keys.root, now - _UNFINISHED)
    except StoreRefused as refusal:
        if refusal.status is None:
            raise  # nothing was sent: there are no usable credentials
        log.debug("store.uploads_not_listed", hint="a lifecycle rule can abort unfinished uploads")
        return
    if cleared:
        log.info("store.uploads_aborted", count=cleared)
