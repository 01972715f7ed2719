"""Refuse the documents that come in a recording's place: error pages, XML faults, JSON answers."""

from __future__ import annotations

import re

from recvault.errors import MediaRejected

_DOCUMENT_TYPES = frozenset({"json", "xml", "html", "xhtml"})
_OPENINGS = re.compile(
    rb"""<\?xml|<!doctype|<html|<head|<body|<twilioresponse|<error\b|\{\s*"|\{\s*\}|\[\s*[\[{"]""", re.I
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_BOM = b"\xef\xbb\xbf"
_ENOUGH_TEXT = 64
_LOOK_AT = 256


def refuse_document(content_type: str | None, first: bytes, media_format: str) -> None:
    """Raise `MediaRejected` (`media.document`) for a document, by its content type or by its first bytes.

    A missing, generic or odd content type passes: the magic bytes decide. Safe for ciphertext, which may begin with
    any byte: an opening counts only where no control byte is near it.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    main, _, sub = kind.partition("/")
    if main == "text" or _DOCUMENT_TYPES & set(re.split(r"[+.-]", sub)):
        shown = re.sub(r"[^a-z0-9/+.-]", "?", kind)[:60]
        raise MediaRejected(f"wanted {media_format}, but {shown} came", reason="media.document")
    if _opens_as_document(first):
        raise MediaRejected(
            f"wanted {media_format}, but the body is an XML, HTML or JSON document", reason="media.document"
        )


def _opens_as_document(first: bytes) -> bool:
    text = bytes(first[: 2 * _LOOK_AT]).removeprefix(_BOM).lstrip()[:_LOOK_AT]
    if _CONTROL.search(text):
        return False
    return bool(_OPENINGS.match(text)) or (text[:1] in (b"<", b"{", b"[") and len(text) >= _ENOUGH_TEXT)
