"""Object metadata in a file's extended attributes, which move with the file.

Not every file system or copy keeps them, so nothing depends on them: if they are missing, bytes are compared.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping

from recvault.store.protocol import Put

_METADATA, _CONTENT_TYPE = "user.recvault", "user.mime_type"  # the second is freedesktop.org's


def write(file: int, put: Put) -> None:
    """Write the attributes, as far as the file system supports them."""
    values = {_METADATA: json.dumps(dict(put.metadata)), _CONTENT_TYPE: put.content_type}
    with contextlib.suppress(OSError, AttributeError):  # not every system has them
        for name, value in values.items():
            os.setxattr(file, name, value.encode())


def read(file: int) -> Mapping[str, str]:
    """Return the metadata of a file; empty if the attributes are missing or damaged."""
    try:
        found = json.loads(os.getxattr(file, _METADATA))
    except (OSError, AttributeError, ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
