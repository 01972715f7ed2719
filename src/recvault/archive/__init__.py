"""The bucket's contract: object keys, the sidecar, its schema, and the metadata that each object carries."""

from recvault.archive.layout import (
    DEFAULT_TEMPLATE,
    EDITIONS,
    RESERVED,
    SCHEMA,
    SCHEMA_KEY,
    KeyParts,
    KeyTemplate,
    escape,
    object_metadata,
    unescape,
)
from recvault.archive.sidecar import SIDECAR_TYPE, read_sidecar, schema_bytes, sidecar_bytes, sidecar_fault

__all__ = [
    "DEFAULT_TEMPLATE",
    "EDITIONS",
    "RESERVED",
    "SCHEMA",
    "SCHEMA_KEY",
    "SIDECAR_TYPE",
    "KeyParts",
    "KeyTemplate",
    "escape",
    "object_metadata",
    "read_sidecar",
    "schema_bytes",
    "sidecar_bytes",
    "sidecar_fault",
    "unescape",
]
