"""Single values read from a configuration that may be invalid elsewhere, without its models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recvault import config

SOURCES = '[[sources]]\nname = "main"\n[[sources]]\nname = "second"\n'


def test_names_are_read_where_the_rest_is_wrong(tmp_path: Path) -> None:
    """Unknown keys, missing tables and invalid names do not hide the other names."""
    path = tmp_path / "config.toml"
    path.write_text(f'nonsense = 1\n{SOURCES}[[sources]]\nname = "$(reboot)"\n[[sources]]\nname = 3\n[[sources]]\n')
    assert config.source_names(path) == ["main", "second"]


@pytest.mark.parametrize("text", ["", "sources = 3", "[[sources", "\x00", "sources = [" * 3000, "[sources]\nname = 1"])
def test_a_file_without_names_has_none(tmp_path: Path, text: str) -> None:
    """A file without names gives none and no error, whatever it contains."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert config.source_names(path) == []
    assert config.ledger_path(path) == Path("/var/lib/recvault/ledger.db")


def test_a_file_that_cannot_be_read_has_no_names(tmp_path: Path) -> None:
    """A missing file, a directory, invalid text or a pipe gives none, without waiting."""
    binary, pipe = tmp_path / "binary", tmp_path / "pipe"
    binary.write_bytes(b"\xff\xfe\xfa")
    os.mkfifo(pipe)
    assert [config.source_names(each) for each in (tmp_path / "none", tmp_path, binary, pipe)] == [[]] * 4


def test_the_ledgers_path_is_the_configured_one(tmp_path: Path) -> None:
    """The ledger's path is read from its own table only."""
    path = tmp_path / "config.toml"
    path.write_text(f'[archive]\npath = "/a"\n[ledger]\n  path = "/b/ledger.db"\n{SOURCES}')
    assert config.ledger_path(path) == Path("/b/ledger.db")


def test_looking_for_the_file_loads_no_models() -> None:
    """Finding the file loads neither pydantic nor the providers, which would delay completion."""
    code = "import sys; from recvault import config; config.source_names(None); print(sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert "'recvault.config.places'" in said
    assert "pydantic" not in said and "recvault.providers" not in said


def test_every_name_of_the_room_is_there() -> None:
    """Names that are loaded late are found, and an unknown name is an error."""
    assert [name for name in config.__all__ if not hasattr(config, name)] == []
    with pytest.raises(AttributeError, match="nonsense"):
        _ = config.nonsense  # type: ignore[attr-defined]
