"""`private_keys` and `media_proof` in the configuration: places of keys, never their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from operations.decrypt.keypairs import key_file, private_pem
from recvault.app import wiring
from recvault.config import Config, read
from recvault.daemon.changes import changes, secret_prints
from recvault.errors import ConfigError

ARCHIVE = '[archive]\nbucket = "acme-recordings"\n'
SOURCE = '[[sources]]\nname = "main"\nprovider = "twilio"\naccount_sid = "AC1"\nauth_token = { env = "TOKEN" }\n'


def config(keys: str, before: str = "") -> Config:
    return read(f"{ARCHIVE}{before}{SOURCE}private_keys = {keys}\n", "config.toml")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{ file = "/k" }', "private_keys: must be a list of"),
        ('"-----BEGIN PRIVATE KEY-----"', "private_keys: must be a list of"),
        ('["-----BEGIN PRIVATE KEY-----MIIE"]', "private_keys.0: a secret must not be in the configuration file"),
        ('[{ file = "/k", env = "K" }]', "private_keys.0: must be exactly one of"),
        ('[{ file = "/k", sid = "CR1" }]', "private_keys.0: must be exactly one of"),
        ('[{ file = "/k" }, { env = "K", public_key_sid = 7 }]', "private_keys.1: public_key_sid must be text"),
        ('[{ env = "K", public_key_sid = "" }]', "private_keys.0: public_key_sid must be text"),
    ],
)
def test_what_is_no_list_of_keys(written: str, said: str) -> None:
    """An invalid list is reported with its line and place, without its content."""
    with pytest.raises(ConfigError) as refused:
        config(written)
    [line] = str(refused.value).replace("[", ".").replace("]", "").splitlines()
    assert line.startswith("config.toml:8: sources.0.")
    assert said in line
    assert "MIIE" not in line


def test_keys_come_by_each_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PEM can come from a file, an environment variable or systemd's credentials."""
    key_file(tmp_path, 0)
    (tmp_path / "kept").write_text(private_pem(1))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("KEY", private_pem(2).replace("\n", "\r\n"))
    ways = (
        f'[{{ file = "{tmp_path}/key-0.pem", public_key_sid = "CR7" }}, {{ credential = "kept" }}, {{ env = "KEY" }}]'
    )
    [source] = config(ways).sources
    keys = wiring.private_keys(source.private_keys)
    assert keys is not None
    assert [key.name for key in keys.keys] == [f"main: private_keys[{place}]" for place in range(3)]
    assert [key.public_key_id for key in keys.keys] == ["CR7", None, None]


def test_every_key_that_cannot_be_had_is_told_at_once(tmp_path: Path) -> None:
    """A world-readable, a missing and an invalid key are each reported with a hint."""
    loose = key_file(tmp_path, 0)
    loose.chmod(0o604)
    (tmp_path / "none.pem").write_text("no key\nat all\n")
    (tmp_path / "none.pem").chmod(0o600)
    names = ", ".join(f'{{ file = "{tmp_path}/{name}" }}' for name in (loose.name, "gone.pem", "none.pem"))
    [source] = config(f"[{names}]").sources
    with pytest.raises(ConfigError) as refused:
        wiring.private_keys(source.private_keys)
    lines = str(refused.value).splitlines()
    assert [line.split(":")[1] for line in lines] == [f" private_keys[{place}]" for place in range(3)]
    assert "can be read by everyone" in lines[0]
    assert "No such file" in lines[1]
    assert "is not a private key in PEM" in lines[2]


def test_a_key_that_changed_is_told_on_reload(tmp_path: Path) -> None:
    """A reload reports which key changed, without its content."""
    path = key_file(tmp_path, 0)
    settings = config(f'[{{ file = "{path}" }}]')
    before = secret_prints(settings)
    path.write_text(private_pem(1))
    assert changes(settings, settings, before, secret_prints(settings)) == ["sources.main.private_keys[0]: changed"]


def test_the_proof_is_basic_unless_asked_for() -> None:
    """The default proof is basic, as FFmpeg costs as much as the transfer; other values are refused."""
    assert config("[]").transfer.media_proof == "basic"
    assert config("[]", '[transfer]\nmedia_proof = "full"\n').transfer.media_proof == "full"
    with pytest.raises(ConfigError, match="media_proof"):
        config("[]", '[transfer]\nmedia_proof = "auto"\n')
