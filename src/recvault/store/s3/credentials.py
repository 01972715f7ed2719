"""The bucket's credentials, as boto3 finds them: checked before anything is signed with them.

Invariants: credentials that no request can carry are refused here, without quoting them; secrets used for signing are
masked in all output from then on. A library that finds a line end in a header quotes the whole header.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recvault.errors import StoreRefused
from recvault.log.masking import hide

_LINE_END = re.compile(r"[\r\n]")
_NOT_READ = (OSError, ValueError, LookupError, TypeError)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SOURCE = "check boto3's credential source: AWS_… in the environment, ~/.aws, credential_process or a role"
_HINT = "set them again without spaces and line ends: AWS_… in the environment, or another credential source of boto3"


def guard(session: Any) -> None:
    """Make every client of a botocore session check its credentials before each signature, also STS for a role."""

    def look(request_signer: Any = None, signing_name: str = "", region_name: str | None = None, **_: Any) -> None:
        with readable():
            found = request_signer.get_auth_instance(signing_name, region_name, "v4").credentials
        if found is not None:
            checked_keys(*found[:3])

    session.register("before-sign", look)


@contextmanager
def readable() -> Iterator[None]:
    """StoreRefused for errors that botocore does not wrap if a credential source is missing or returns bad data.

    For example a missing program or file, text instead of JSON, JSON without the fields.
    """
    try:
        yield
    except _NOT_READ as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> StoreRefused:
    named = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
    return StoreRefused(f"the credentials cannot be read ({type(error).__name__}{named})", _SOURCE)


def checked(found: Any) -> tuple[str, str, str | None]:
    """Return the current access key, secret key and token. StoreRefused if they cannot be read or sent."""
    try:
        access_key, secret_key, token = found.get_frozen_credentials()[:3]
    except _NOT_READ as error:
        raise _unreadable(error) from error
    checked_keys(access_key, secret_key, token)
    return access_key, secret_key, token


@functools.lru_cache(maxsize=1)  # called for each request; masked secrets stay masked
def checked_keys(access_key: str, secret_key: str, token: str | None) -> None:
    """Mask the secrets in all output. StoreRefused if the keys cannot be sent."""
    hide(secret_key)
    hide(token or "")
    parts = {"access key": access_key, "secret key": secret_key, "session token": token or ""}
    for name, value in parts.items():
        if fault := _fault(value, inner_spaces=name == "secret key"):
            hide(value)  # a valid access key is not secret, and may be a common word
            raise StoreRefused(f"the credentials contain {fault} in the {name} and are not used", _HINT)


def _fault(value: str, *, inner_spaces: bool) -> str:
    """Name what no header can carry or no store issues; empty if the value is valid."""
    if _LINE_END.search(value):
        return "a line end"
    if _CONTROL.search(value):
        return "a control character"
    if not value.isascii():
        return "a character that is not ASCII"
    if value != value.strip() or (" " in value and not inner_spaces):
        return "a space"
    return ""
