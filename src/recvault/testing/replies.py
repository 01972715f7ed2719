"""Replies for golden tests of one page or one recording."""

from __future__ import annotations

import json
from typing import Any

import httpx

from recvault.models import ACCOUNT, Window
from recvault.providers.base import Provider, Reply


def reply_to(provider: Provider, body: bytes | str | Any, *, url: str = "") -> Reply:
    """Return a 200 reply with this body (text, bytes, or a value to encode as JSON) to the first page or to `url`."""
    request = httpx.Request("GET", url) if url else provider.list_request(Window(), ACCOUNT)
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    return Reply(request, 200, httpx.Headers(), text if isinstance(text, bytes) else text.encode())
