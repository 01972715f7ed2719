"""A service's webhook as a hint that a recording may be ready: its content, how it is verified, what it names.

Invariant: nothing of a webhook is used but which recording it names, and only if its signature is valid. The recording
itself is read from the service's API.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlsplit, urlunsplit

FORM = "application/x-www-form-urlencoded"
TOLERANCE = timedelta(minutes=5)  # between a signed time and ours
_PORTS = {"http": 80, "https": 443}
_MOST_FIELDS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HintRequest:
    """A webhook as received. `url` is the public URL that the service sent it to."""

    url: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A recording of the account, by its id; or all recordings of a call, if the service names no recording."""

    recording_id: str = ""
    call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verified webhook names, None if no recording; and what proves it.

    Invariant: without the key, nobody can make a second webhook that is accepted with another proof. So the proof is
    what was compared or signed, never a header that was not looked at.
    """

    hint: Hint | None
    proof: bytes = field(repr=False)


class HintRefused(Exception):
    """The webhook cannot be verified, or is about another account. The message contains none of its content."""


@runtime_checkable
class HintingProvider(Protocol):
    """A provider whose service sends webhooks about recordings. Optional: polling does not need them."""

    hint_settings: ClassVar[tuple[str, ...]]  # settings needed to verify them
    hint_headers: ClassVar[tuple[str, ...]]  # lower-case names of headers that may hold the signature

    def hint(self, received: HintRequest, values: Mapping[str, str]) -> Verified:
        """Verify a webhook, and return what it names. Raises HintRefused."""


def fields_of(received: HintRequest) -> list[tuple[str, str]]:
    """Return the fields of a form, including empty ones. HintRefused if it is no form, or has too many."""
    try:
        return parse_qsl(received.body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise HintRefused("its body is not a form") from None


def refuse_unsigned_form(received: HintRequest, signature: str, key: str, fields: Sequence[tuple[str, str]]) -> bytes:
    """Raise HintRefused without Twilio's signature of a form: base64 of HMAC-SHA1 over the URL and the sorted fields.

    Return the proof. The signed URL may or may not have the port (Twilio's webhook security guide, its SDK).
    """
    signed = "".join(name + value for name, value in sorted(set(fields)))
    made = (_sha1(key, (url + signed).encode()) for url in _urls(received.url))
    if not _is_one_of(signature, [base64.b64encode(each).decode() for each in made]):
        raise HintRefused("its signature does not hold")
    return signature.encode()


def refuse_unsigned_body(received: HintRequest, signature: str, key: str) -> bytes:
    """Raise HintRefused without SignalWire's signature of JSON: hex of HMAC-SHA1 over the URL and the body.

    Return the proof: in lower case, as hex digits are accepted in either.
    """
    made = [_sha1(key, url.encode() + received.body).hex() for url in _urls(received.url)]
    if not _is_one_of(signature.lower(), made):
        raise HintRefused("its signature does not hold")
    return signature.lower().encode()


def refuse_unsigned_ed25519(received: HintRequest, signature: str, timestamp: str, public_key: str) -> bytes:
    """Raise HintRefused unless Ed25519 signs `timestamp|body`, at a time within `TOLERANCE` of ours.

    Return the proof: what is signed, as one signature can be written in several ways.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 12):
        raise HintRefused("it has no timestamp")
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        signed = timestamp.encode() + b"|" + received.body
        key.verify(base64.b64decode(signature, validate=True), signed)
    except (InvalidSignature, binascii.Error, ValueError):
        raise HintRefused("its signature does not hold") from None
    if abs(received.now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise HintRefused("its timestamp is too far from this machine's clock")
    return signed


def check_public_key(text: str) -> None:
    """Raise ValueError if it is not an Ed25519 public key in base64; ImportError without cryptography."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))


def _sha1(key: str, signed: bytes) -> bytes:
    return hmac.new(key.encode(), signed, hashlib.sha1).digest()


def _is_one_of(signature: str, made: Sequence[str]) -> bool:
    """Compare in constant time; a signature that is not ASCII matches none."""
    given = signature.encode("utf-8", "replace")
    return any(hmac.compare_digest(given, each.encode()) for each in made)


def _urls(url: str) -> Iterator[str]:
    """Yield the URL as it is, then without its port, or with the default one."""
    yield url
    parts = urlsplit(url)
    if parts.port is None:
        yield urlunsplit(parts._replace(netloc=f"{parts.netloc}:{_PORTS.get(parts.scheme, 443)}"))
    else:
        yield urlunsplit(parts._replace(netloc=parts.netloc.rpartition(":")[0]))
