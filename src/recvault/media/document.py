"""Reject documents that are served in place of a recording: error pages, XML faults, JSON answers."""

from __future__ import annotations

import re

from recvault.errors import MediaRejected
from recvault.media.kinds import kind_of

ENOUGH = 2048  # bytes that suffice to recognise a document, or audio that begins like text
_DOCUMENT_TYPES = frozenset({"json", "xml", "html", "xhtml"})
_OPENINGS = re.compile(
    r"""<\?xml|<!doctype|<html|<head|<body|<\w*response\b|<error\b|\{\s*"|\{\s*\}|\[\s*[\[{"]""", re.I
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f\xff]")  # padding may be letters, but a frame's header has these
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_SURELY = 20  # characters of pure text: ciphertext consists of so many less than once in 100 million
_ENOUGH_TEXT = 64
_LOOK_AT = 256


def refuse_document(content_type: str | None, first: bytes, media_format: str) -> None:
    """Raise `MediaRejected` (`media.document`) for a document, judged by `ENOUGH` bytes or the whole of a shorter body.

    The bytes decide: audio is accepted under any content type. A document is rejected under any. Safe for ciphertext,
    which may begin with any byte: a document has no control byte near its beginning.
    """
    if kind_of(first) is not None and not _has_bom(first):
        return
    text = _text(first)
    if text is None:
        return
    if _OPENINGS.match(text) or (text[:1] in ("<", "{", "[") and len(text) >= _ENOUGH_TEXT):
        raise MediaRejected(
            f"wanted {media_format}, but the body is an XML, HTML or JSON document", reason="media.document"
        )
    if _BINARY.search(first) and not _has_bom(first):
        return
    kind = (content_type or "").partition(";")[0].strip().lower()
    main, _, sub = kind.partition("/")
    if main == "text" or _DOCUMENT_TYPES & set(re.split(r"[+.-]", sub)):
        shown = re.sub(r"[^a-z0-9/+.-]", "?", kind)[:60]
        raise MediaRejected(f"wanted {media_format}, but {shown} came", reason="media.document")
    if len(text) >= _SURELY and text.isascii():
        raise MediaRejected(f"wanted {media_format}, but the body is text", reason="media.document")


def _has_bom(first: bytes) -> bool:
    return any(first.startswith(bom) for bom, _ in _BOMS)


def _text(first: bytes) -> str | None:
    """Decode the beginning if it is text, else return None."""
    for bom, encoding in _BOMS:
        if first.startswith(bom):
            text = first[len(bom) : 4 * _LOOK_AT].decode(encoding, "ignore")
            if encoding != "utf-8" and not text[:_LOOK_AT].isascii():
                continue  # may be an MPEG frame's header
            break
    else:
        text = first[: 2 * _LOOK_AT].decode("latin-1")
    text = text.lstrip()[:_LOOK_AT]
    return None if _CONTROL.search(text) else text
