"""What a reload reports as changed: every value by its path, and never a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from recvault import config
from recvault.config import Config
from recvault.daemon.changes import changes, secret_prints

BEFORE = """
[archive]
bucket = "acme"

[daemon]
drain_timeout = "60s"

[[sources]]
name = "main"
provider = "telnyx"
api_key = { file = "SECRET" }
poll_every = "5m"

[[sources]]
name = "second.one"
provider = "telnyx"
api_key = { file = "SECRET" }
"""
SECRETS = ("KEY0123456789-first", "KEY0123456789-second")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(SECRETS[0])
    path.chmod(0o600)
    return path


def loaded(secret: Path, text: str = BEFORE) -> Config:
    path = secret.parent / "config.toml"
    path.write_text(text.replace("SECRET", str(secret)))
    return config.load(path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", []),
        ('"5m"', '"90s"', ["sources.main.poll_every: 5 min -> 1 min 30 s"]),
        ('"60s"', '"60s"\nping_url = ""', []),
        ('"acme"', '"other"', ["archive.bucket: acme -> other"]),
        ('"acme"', '"acme"\ntags = { team = "x" }', ["archive.tags.team: not there -> x"]),
        ('"5m"', '"5m"\nstart_from = "2026-01-02"', ["sources.main.start_from: None -> 2026-01-02T00:00:00+00:00"]),
        ('"5m"', '"5m"\nproxy = ""', []),
        ('"5m"', '"5m"\nproxy = "http://gate:3128"', ["sources.main.proxy: None -> http://gate:3128"]),
        ('"5m"', '"5m"\nformats = ["wav", "mp3"]', ["sources.main.formats: ('wav',) -> ('wav', 'mp3')"]),
    ],
    ids=[
        "nothing",
        "an interval",
        "a default written out",
        "a bucket",
        "a tag",
        "a time",
        "no proxy",
        "a proxy",
        "formats",
    ],
)
def test_a_change_in_words(secret: Path, old: str, new: str, told: list[str]) -> None:
    """Each changed value is reported with before and after; stating a default is no change."""
    before, after = loaded(secret), loaded(secret, BEFORE.replace(old, new, 1) if old else BEFORE)
    assert changes(before, after, secret_prints(before), secret_prints(after)) == told


def test_the_order_of_sources_is_no_change(secret: Path) -> None:
    """Sources are compared by name, whatever their order."""
    before = loaded(secret)
    head, first, second = BEFORE.split("[[sources]]")
    after = loaded(secret, f"{head}[[sources]]{second}\n[[sources]]{first}")
    assert changes(before, after, secret_prints(before), secret_prints(after)) == []


def test_a_secret_changes_without_its_value(secret: Path) -> None:
    """A changed secret behind the same reference is reported for each source, without its value."""
    before = loaded(secret)
    prints = secret_prints(before)
    secret.write_text(SECRETS[1])
    told = changes(before, loaded(secret), prints, secret_prints(before))
    assert told == ["sources.main.api_key: changed", "sources.second.one.api_key: changed"]
    assert [each for each in SECRETS if each in str(told) + str(prints)] == []


def test_a_proxy_s_password_changes_without_its_value(secret: Path) -> None:
    """A changed proxy in a secret is reported without its value."""
    place = secret.with_name("proxy")
    place.write_text("http://user:first-password@gate:3128")
    place.chmod(0o600)
    text = BEFORE.replace('"5m"', f'"5m"\nproxy = {{ file = "{place}" }}', 1)
    before = loaded(secret, text)
    prints = secret_prints(before)
    place.write_text("http://user:second-password@gate:3128")
    told = changes(before, loaded(secret, text), prints, secret_prints(before))
    assert told == ["sources.main.proxy: changed"]


def test_a_secret_that_cannot_be_had_has_no_print(secret: Path) -> None:
    """A secret that disappears or comes back is a change."""
    before = loaded(secret)
    prints = secret_prints(before)
    secret.rename(secret.with_name("gone"))
    assert secret_prints(before) == {}
    assert changes(before, before, prints, {}) == changes(before, before, {}, prints)
    assert len(changes(before, before, prints, {})) == 2


def test_a_source_s_secret_comes_and_goes_with_it(secret: Path) -> None:
    """A new or removed source is one change, without another for its secret."""
    before = loaded(secret)
    after = loaded(secret, BEFORE.partition('[[sources]]\nname = "second.one"')[0])
    told = changes(before, after, secret_prints(before), secret_prints(after))
    assert told == ["sources.second.one: removed"]
    assert [each for each in told if "changed" in each] == []
