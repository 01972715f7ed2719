"""What is known of a file besides its bytes, in its extended attributes: they are the file's own, and moved with it.

Not every file system keeps them, and not every copy: nothing rests on them. Where they are missing, bytes are compared.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping

from recvault.store.protocol import Put

_METADATA, _CONTENT_TYPE = "user.recvault", "user.mime_type"  # the second is freedesktop.org's


def write(file: int, put: Put) -> None:
    """Note them, as far as the file system takes them."""
    values = {_METADATA: json.dumps(dict(put.metadata)), _CONTENT_TYPE: put.content_type}
    with contextlib.suppress(OSError, AttributeError):  # not every system has them
        for name, value in values.items():
            os.setxattr(file, name, value.encode())


def read(file: int) -> Mapping[str, str]:
    """The metadata of a file; none where they are not kept, or not as they were written."""
    try:
        found = json.loads(os.getxattr(file, _METADATA))
    except (OSError, AttributeError, ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
