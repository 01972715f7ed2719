"""Files are created all or none, and never over another one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from recvault.errors import ConfigError
from recvault.setup.new_files import NewFile, place


def new(path: Path, text: str = "text", before: str | None = None) -> NewFile:
    return NewFile(path=path, text=text, mode=0o600, before=before)


def test_files_and_folders_are_closed_to_others(tmp_path: Path) -> None:
    """Each file has its mode from the start, each new folder 0700, and no other file is left."""
    place([new(tmp_path / "a/b/secret")], [tmp_path / "state"])
    found = {str(each.relative_to(tmp_path)): stat.S_IMODE(each.stat().st_mode) for each in tmp_path.rglob("*")}
    assert found == {"a": 0o700, "a/b": 0o700, "a/b/secret": 0o600, "state": 0o700}


def test_an_existing_file_is_refused_and_what_was_made_is_removed(tmp_path: Path) -> None:
    """If the second of two files exists, the first and its folder are removed again."""
    (tmp_path / "there").write_text("theirs")
    with pytest.raises(ConfigError, match="there already exists and is never overwritten"):
        place([new(tmp_path / "made/secret"), new(tmp_path / "there")], [tmp_path / "state"])
    assert [each.name for each in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "theirs"


def test_a_file_is_replaced_only_as_it_was_read(tmp_path: Path) -> None:
    """A replaced file keeps its mode; one changed meanwhile is not replaced."""
    path = tmp_path / "config.toml"
    path.write_text("before")
    path.chmod(0o640)
    place([new(path, "after", before="before")])
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("after", 0o640)
    with pytest.raises(ConfigError, match="was changed meanwhile"):
        place([new(tmp_path / "secret"), new(path, "again", before="before")])
    assert (path.read_text(), [each.name for each in tmp_path.iterdir()]) == ("after", ["config.toml"])


def test_a_replaced_file_comes_back_after_an_error(tmp_path: Path) -> None:
    """If a later file cannot be written, a replaced one is restored."""
    path, taken = tmp_path / "environment", tmp_path / "taken"
    path.write_text("A=1\n")
    taken.touch()
    with pytest.raises(ConfigError):
        place([new(path, "A=1\nB=2\n", before="A=1\n"), new(taken)])
    assert path.read_text() == "A=1\n"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """An unwritable place is reported by its path, with a hint."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/folder cannot be written: Not a directory \(run as a user who may"):
        place([new(tmp_path / "file/folder/secret")])


def test_a_secret_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """A secret added to a file that everybody could read closes it."""
    path = tmp_path / "environment"
    path.write_text("LANG=C\n")
    path.chmod(0o644)
    place([NewFile(path=path, text="LANG=C\nTOKEN=t\n", mode=0o600, before="LANG=C\n", is_secret=True)])
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("LANG=C\nTOKEN=t\n", 0o600)


def test_a_link_is_written_through(tmp_path: Path) -> None:
    """A path that is a link stays one: the file that it leads to is replaced."""
    (tmp_path / "kept").mkdir()
    real, path = tmp_path / "kept/real.toml", tmp_path / "config.toml"
    real.write_text("before")
    path.symlink_to("kept/real.toml")
    place([new(path, "after", before="before")])
    assert (path.is_symlink(), real.read_text()) == (True, "after")
    assert [each.name for each in real.parent.iterdir()] == ["real.toml"]


def test_a_link_put_in_place_meanwhile_leads_nobody_to_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write to the folder swaps the new file for a link: the file behind it keeps its mode and owner."""
    victim, path, calls = tmp_path / "victim", tmp_path / "folder/config.toml", list[str]()
    victim.write_text("theirs")
    victim.chmod(0o600)
    path.parent.mkdir()
    path.write_text("before")
    path.chmod(0o644)
    before, sync, own = victim.stat(), os.fsync, os.chown

    def swap(handle: int) -> None:
        sync(handle)
        (scratch,) = path.parent.glob(".config.toml.*")
        scratch.unlink()
        scratch.symlink_to(victim)

    monkeypatch.setattr(os, "fsync", swap)
    monkeypatch.setattr(os, "chown", lambda *args, **keys: (calls.append("chown"), own(*args, **keys)))
    place([new(path, "after", before="before")])
    after = victim.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert (victim.read_text(), calls) == ("theirs", [])


def test_restoring_follows_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replaced file that was swapped for a link is not restored through it."""
    victim, path = tmp_path / "victim", tmp_path / "config.toml"
    victim.write_text("theirs")
    path.write_text("before")

    def fail(*args: object, **keys: object) -> None:
        path.unlink()
        path.symlink_to(victim)
        raise FileExistsError

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(ConfigError):
        place([new(path, "after", before="before"), new(tmp_path / "second")])
    assert victim.read_text() == "theirs"


def test_a_restored_file_is_as_it_was(tmp_path: Path) -> None:
    """A file with a mark of its encoding and Windows line ends comes back with them."""
    path, taken = tmp_path / "config.toml", tmp_path / "taken"
    data = b"\xef\xbb\xbfa = 1\r\n"
    path.write_bytes(data)
    taken.touch()
    with pytest.raises(ConfigError):
        place([new(path, "a = 2\n", before="a = 1\n"), new(taken)])
    assert path.read_bytes() == data
