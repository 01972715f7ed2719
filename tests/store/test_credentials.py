"""Unusable credentials are refused with a message, with each sender, and never written anywhere."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pairs import pairs
from recvault.errors import ConfigError, RecvaultError, StoreRefused, StoreUnavailable
from recvault.log.lines import configure
from recvault.log.masking import mask
from recvault.shutdown import Stop
from recvault.store.s3.botocore_errors import botocore_errors
from recvault.store.s3.clients import make_client
from recvault.store.s3.reader import S3Reader
from store.places import SENDERS, make_put, store_with, transport_of
from strict_s3 import Bucket, StrictS3

TOKEN = "FwoGZXIvYXdzEJr-token-of-a-test"
KEY = "recordings/RE1.wav"
FAULTS = {
    **dict.fromkeys(("\n", "\r", "\r\n", "\nmore"), "a line end"),
    **dict.fromkeys(("\x01", "\x7f"), "a control character"),
    **dict.fromkeys(("\u201d", "\xe9", "\ufeff", "\udcff"), "a character that is not ASCII"),
    " ": "a space",
}
NAMES = {
    "access key": "AWS_ACCESS_KEY_ID",
    "secret key": "AWS_SECRET_ACCESS_KEY",
    "session token": "AWS_SESSION_TOKEN",
}


@pytest.fixture
def make_store(strict_s3: StrictS3, strict_bucket: Bucket) -> Iterator[Any]:
    """Make stores with clients of their own, which look for credentials anew."""
    clients = []

    def make(sender: str) -> Any:
        how = {"addressing_style": "path", "pool": 2, "transport": transport_of(sender)}
        made = make_client(region="us-east-1", endpoint_url=strict_s3.url, **how)
        clients.append(made)
        return store_with(sender, made, strict_bucket.name)

    yield make
    for each in clients:
        each.close()


@pytest.fixture
def written() -> io.StringIO:
    """The debug log, including libraries."""
    stream = io.StringIO()
    configure(format="json", verbosity=2, stream=stream)
    return stream


@pytest.mark.parametrize(*pairs(ending=FAULTS, name=NAMES, sender=SENDERS))
def test_what_no_header_can_carry(
    make_store: Any,
    strict_bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    written: io.StringIO,
    sender: str,
    name: str,
    ending: str,
) -> None:
    """A line end in a key or token is reported; nothing is sent, and no text contains it."""
    monkeypatch.setenv(NAMES[name], TOKEN + ending)
    with pytest.raises(StoreRefused) as caught:
        make_store(sender).put(make_put(KEY, b"RIFF"))
    error = caught.value
    assert error.message == f"the credentials contain {FAULTS[ending]} in the {name} and are not used"
    assert (error.exit_code, error.status, sum(strict_bucket.counts.values())) == (77, None, 0)
    logging.getLogger("a library").error("it failed: %r", TOKEN + ending, exc_info=error)
    assert "it failed" in written.getvalue()
    assert TOKEN not in written.getvalue() + mask("".join(traceback.format_exception(error)))


@pytest.mark.parametrize("ask", ["head", "get", "list", "reader"])
def test_every_question_is_guarded(make_store: Any, monkeypatch: pytest.MonkeyPatch, ask: str) -> None:
    """Not only puts: every request to a bucket is signed and guarded."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"{TOKEN}\n")
    store = make_store("fast")
    with pytest.raises(StoreRefused, match="the credentials contain a line end"):
        if ask == "reader":
            S3Reader(store, Stop()).get("a")
        else:
            list({"head": store.head, "get": store.get, "list": store.list}[ask]("a") or ())


def test_credentials_that_rotate_are_looked_at_again(make_store: Any) -> None:
    """The fast sender signs with the current credentials, which are checked again when they rotate."""
    store = make_store("fast")
    assert store.put(make_put(KEY, b"RIFF")) is True
    store.client.credentials().token = f"{TOKEN}\nmore"
    with pytest.raises(StoreRefused, match="the credentials contain a line end in the session token"):
        store.put(make_put(f"{KEY}.2", b"RIFF"))
    assert mask(TOKEN) != TOKEN


def test_a_roles_source_is_guarded(make_store: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The credentials for a role's STS request are guarded, even multi-line values in AWS's files."""
    for name in NAMES.values():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "aws").write_text(
        f"[profile role]\nrole_arn = arn:aws:iam::123456789012:role/a\nsource_profile = base\n"
        f"[profile base]\naws_access_key_id = AKIA1234\naws_secret_access_key = abcdefgh\n"
        f"aws_session_token = {TOKEN}\n  more\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_PROFILE", "role")
    with pytest.raises(StoreRefused, match="the credentials contain a line end in the session token"):
        make_store("fast").head("a")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("credential_process = /bin/echo not-json-but-secret", "JSONDecodeError"),
        ("credential_process = /no/such/program", "FileNotFoundError: /no/such/program"),
        ("credential_process = /bin/echo '{\"Version\": 1}'", "custom-process"),
        ("web_identity_token_file = /no/such/token\nrole_arn = arn:aws:iam::123456789012:role/a", "/no/such/token"),
    ],
)
def test_a_source_that_answers_nonsense(
    make_store: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str, words: str
) -> None:
    """A missing or broken credential program or file is reported as such, without its output."""
    for name in NAMES.values():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "aws").write_text(f"[default]\n{config}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    with pytest.raises(StoreRefused) as caught:
        make_store("fast").head("a")
    assert words in caught.value.message and "not-json-but-secret" not in str(caught.value)


def test_sound_credentials_are_hidden_too(make_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Used secrets are masked from then on; the access key's id is not a secret."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret with a space")
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "recvault")
    make_store("boto3").put(make_put(KEY, b"RIFF"))
    assert mask(f"{TOKEN}, a secret with a space, recvault") == "[hidden], [hidden], recvault"


def test_what_a_library_quotes_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the class of a library's error is shown, as its text may contain a header or a program's output."""
    from botocore import exceptions

    header = f"Invalid header value b'AWS4-HMAC-SHA256 Credential=AKIA/{TOKEN}'"
    quoting: list[tuple[Exception, type[RecvaultError], str]] = [
        (exceptions.HTTPClientError(error=ValueError(header)), StoreUnavailable, "HTTPClientError: ValueError"),
        (exceptions.ConnectionError(error=ValueError(header)), StoreUnavailable, "ConnectionError: ValueError"),
        (
            exceptions.CredentialRetrievalError(provider="custom-process", error_msg=header),
            StoreRefused,
            "CredentialRetrievalError: custom-process",
        ),
        (exceptions.MetadataRetrievalError(error_msg=header), StoreRefused, "MetadataRetrievalError"),
    ]
    for error, kind, words in quoting:
        with pytest.raises(kind) as caught, botocore_errors("s3://b"):
            raise error
        assert words in caught.value.message and TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    ["ConfigParseError(path='~/.aws/config')", "InvalidS3AddressingStyleError(s3_addressing_style='weird')"],
)
def test_awss_own_configuration_is_configuration(error: str) -> None:
    """An error in AWS's files or environment exits 78 and names them."""
    from botocore import exceptions

    with pytest.raises(ConfigError) as caught, botocore_errors("s3://b"):
        raise eval(f"exceptions.{error}", {"exceptions": exceptions})
    assert "the AWS settings" in caught.value.hint
