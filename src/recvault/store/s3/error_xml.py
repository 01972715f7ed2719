"""Convert a store's error response to boto3's error: from its XML, or from the status if there is none."""

from __future__ import annotations

from typing import Any, cast
from xml.etree.ElementTree import ParseError

from botocore.exceptions import ClientError
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from recvault.transport import Head


def refused(head: Head, content: bytes | bytearray, operation: str) -> ClientError:
    """Return the error for a response with status 300 or higher."""
    said, headers = _said(bytes(content)), head.named
    request_id = said.pop("RequestId", "") or headers.get("x-amz-request-id", "")
    error = {"Code": str(head.status), "Message": "", **said}
    told = {"HTTPStatusCode": head.status, "RequestId": request_id, "HTTPHeaders": headers}
    return ClientError(cast("Any", {"Error": error, "ResponseMetadata": told}), operation)


def _said(content: bytes) -> dict[str, str]:
    """Return the fields of an <Error>; empty for any other document."""
    try:
        root = fromstring(content) if content else None
    except (ParseError, DefusedXmlException, ValueError):
        return {}
    if root is None or _name(root.tag) != "Error":
        return {}
    return {_name(each.tag): (each.text or "").strip() for each in root if each.text}


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]
