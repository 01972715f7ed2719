"""Secrets are masked in texts, whatever their bytes and however libraries write them."""

from __future__ import annotations

import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lines import a_recording
from recvault.errors import ConfigError, StoreRefused, Unavailable
from recvault.log.masking import HIDDEN, Hidden, hide, mask
from recvault.models import Job, Verdict
from recvault.transfer.verdicts import failure

SECRET = "s3cret/token+of=a-test\nand-its-second-line\u201d"
AS_WRITTEN = {
    "as it is": SECRET,
    "repr": repr(SECRET),
    "repr of bytes": repr(SECRET.encode()),
    "json": json.dumps(SECRET),
    "in a URL": quote(SECRET, safe=""),
    "in a path": quote(SECRET),
    "its first line": SECRET.partition("\n")[0],
    "its second line": SECRET.partition("\n")[2],
    "its second line as bytes": repr(SECRET.partition("\n")[2].encode()),
}


@pytest.mark.parametrize("written", AS_WRITTEN.values(), ids=AS_WRITTEN)
def test_a_secret_is_masked_however_it_is_written(written: str) -> None:
    """A secret is masked as escaped by Python, JSON and URLs, and also its single lines."""
    hide(SECRET)
    masked = mask(f"Invalid header value {written}!")
    for part in ("s3cret/token+of=a", "s3cret", "second"):
        assert part not in masked
    assert masked.startswith("Invalid header value ") and masked.endswith("!")


@given(st.text(min_size=6, max_size=40), st.text(max_size=20))
def test_any_text_can_be_a_secret(secret: str, around: str) -> None:
    """Lone surrogates, control characters or patterns do not prevent masking."""
    hidden = Hidden()
    hidden.add(secret)
    assert secret not in hidden.mask(around + secret + around).replace(HIDDEN, "\n\n\n\n\n\n") or secret in HIDDEN


def test_what_is_too_short_is_no_secret() -> None:
    """Secrets of five characters are not masked, as any text contains them."""
    hide("token")
    hide("a b c d")
    assert mask("a token of b c d") == "a token of b c d"


def test_no_error_holds_a_secret() -> None:
    """An error's message is masked when it is created, and stays so in another process."""
    hide("s3cret-token")
    for error in (
        ConfigError("it is s3cret-token", "not s3cret-token"),
        Unavailable("it is s3cret-token", "not s3cret-token", retry_after=3.0, status=503),
        StoreRefused("it is s3cret-token", "not s3cret-token").answered(403, "AccessDenied"),
    ):
        for each in (error, pickle.loads(pickle.dumps(error))):
            assert (each.message, each.hint) == (f"it is {HIDDEN}", f"not {HIDDEN}")
            assert "s3cret" not in f"{each!s} {each!r} {each.args}"


def test_no_failure_holds_a_secret() -> None:
    """A bug's message is masked in the ledger."""
    hide("s3cret-token")
    job = Job(source="main", recording=a_recording(), attempt=1, maybe_archived=False)
    assert failure(job, Verdict.RETRY, "unexpected", "KeyError: s3cret-token").message == f"KeyError: {HIDDEN}"
