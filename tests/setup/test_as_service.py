"""The transient copy of a unit: identical except for what it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from recvault.cli import main
from recvault.errors import ConfigError
from recvault.setup.as_service import transient
from systemd.lab import UNITS

UNIT = (UNITS / "recvault.service").read_text()
ONE_SHOT = (UNITS / "recvault.service.d/one-shot.conf.example").read_text()
OUT, ERR = Path("/run/x/out"), Path("/run/x/err")


def settings(text: str, key: str) -> list[str]:
    """Return a list setting as systemd reads it: everything since it was last emptied."""
    found: list[str] = []
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() == key:
            found = [*found, value] if value else []
    return found


def test_it_is_the_unit_with_another_command() -> None:
    """User, sandbox, environment and credentials are unchanged; it runs `check` once."""
    text = transient(UNIT, ["--offline"], OUT, ERR)
    assert text.startswith(UNIT)
    config = "/opt/recvault/bin/recvault --config /etc/recvault/config.toml"
    assert settings(text, "ExecStart") == [f"{config} check --offline"]
    assert (settings(text, "Type")[-1], settings(text, "Restart")[-1], settings(text, "ExecReload")) == (
        "oneshot",
        "no",
        [],
    )
    kept = ("User", "LoadCredential", "Environment", "SystemCallFilter", "ProtectSystem", "IPAddressDeny")
    assert all(settings(text, key) == settings(UNIT, key) != [] for key in kept)


@pytest.mark.parametrize(
    ("more", "command"),
    [
        (ONE_SHOT, "/opt/recvault/bin/recvault --config /etc/recvault/config.toml check"),
        ("[Service]\nExecStart=\nExecStart=-/a/python -m recvault run --json\n", "/a/python -m recvault check"),
        (
            '[Service]\nExecStart=\nExecStart="/a b/recvault" --config "/c d/run.toml" run\n',
            '"/a b/recvault" --config "/c d/run.toml" check',
        ),
    ],
)
def test_the_last_command_of_the_unit_counts(more: str, command: str) -> None:
    """A drop-in's command takes precedence; prefixes and the verb's own options are removed."""
    assert settings(transient(UNIT + more, [], OUT, ERR), "ExecStart") == [command]


def test_a_unit_that_starts_something_else_is_refused() -> None:
    """A unit that starts something else is refused, as its configuration is unknown."""
    with pytest.raises(ConfigError, match=r"does not start `recvault run` or `recvault sync`"):
        transient("[Service]\nExecStart=/bin/sh -c 'something else'\n", [], OUT, ERR)


def test_it_reads_the_unit_s_configuration_alone() -> None:
    """Another configuration cannot be given, because the service would not use it."""
    ran = CliRunner().invoke(main, ["--config", "other.toml", "check", "--as-service"])
    assert ran.exit_code == 2 and "--as-service reads the configuration that the unit names" in ran.output


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_machine_without_the_service_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """Without the service the error says how to install it."""
    (tmp_path / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: uid)
    ran = CliRunner().invoke(main, ["check", "--as-service"])
    assert ran.exit_code == 78
    assert "has no recvault.service" in ran.output and "install it: recvault install" in ran.output
