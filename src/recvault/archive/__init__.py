"""The bucket's contract: object keys, the sidecar, its schema, and the metadata that each object carries."""

from recvault.archive.layout import (
    CALLS,
    CATALOG,
    DEFAULT_TEMPLATE,
    EDITIONS,
    MANIFESTS,
    RESERVED,
    SCHEMA,
    SCHEMA_KEY,
    SIDECAR_SUFFIX,
    KeyParts,
    KeyTemplate,
    escape,
    object_metadata,
    unescape,
)
from recvault.archive.sidecar import SIDECAR_TYPE, Sidecar, schema_bytes, sidecar_bytes

__all__ = [
    "CALLS",
    "CATALOG",
    "DEFAULT_TEMPLATE",
    "EDITIONS",
    "MANIFESTS",
    "RESERVED",
    "SCHEMA",
    "SCHEMA_KEY",
    "SIDECAR_SUFFIX",
    "SIDECAR_TYPE",
    "KeyParts",
    "KeyTemplate",
    "Sidecar",
    "escape",
    "object_metadata",
    "schema_bytes",
    "sidecar_bytes",
    "unescape",
]
