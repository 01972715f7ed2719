"""Files shipped with the program: the same in a checkout and in a wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from recvault.errors import RecvaultError
from recvault.setup import shipped
from recvault.setup.shipped import EXAMPLE, UNITS

ROOT = Path(__file__).parents[2]


def test_a_checkout_ships_the_files_at_its_top() -> None:
    """An editable install uses the repository's own files."""
    assert (shipped.shipped(EXAMPLE), shipped.shipped(UNITS)) == (ROOT / "config.example.toml", ROOT / "systemd")
    assert shipped.example() == (ROOT / "config.example.toml").read_text()
    assert shipped.unit("recvault.service") == (ROOT / "systemd/recvault.service").read_text()


def test_a_wheel_carries_a_copy_inside_the_package() -> None:
    """The build copies both to where the program looks for them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {name: f"recvault/shipped/{name}" for name in (EXAMPLE, UNITS)}


def test_an_installed_package_uses_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beside site-packages is not used; without a copy the error has a hint."""
    package = tmp_path / "lib" / "recvault"
    (package / "shipped").mkdir(parents=True)
    monkeypatch.setattr(shipped, "_PACKAGE", package)
    with pytest.raises(RecvaultError, match=r"this installation has no config\.example\.toml \(install recvault again"):
        shipped.example()
    (tmp_path / EXAMPLE).write_text("a stranger's")
    (package / "shipped" / EXAMPLE).write_text("its own")
    assert shipped.example() == "its own"
