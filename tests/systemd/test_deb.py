"""The Debian package: what its build command makes, without installing it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from real_s3.fixtures import LACKS
from recvault import __version__
from recvault.cli import VERBS
from systemd.lab import UNITS

DEB = UNITS / "deb"
PYTHON = Path("/usr/bin/python3")


def sh(*words: str | Path, **more: object) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def lacking() -> str:
    """Return why it cannot be built here."""
    if shutil.which("dpkg-deb") is None or not PYTHON.exists():
        return "dpkg-deb and /usr/bin/python3, as Debian has them"
    if subprocess.run([PYTHON, "-c", "import ensurepip"], capture_output=True, check=False).returncode:
        return "Debian's python3-venv: apt-get install python3-venv"
    return ""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the unpacked package, built from this tree; its control files are below DEBIAN."""
    if reason := lacking():
        pytest.skip(LACKS + reason)
    place = tmp_path_factory.mktemp("deb")
    sh(DEB / "build", place)
    (package,) = place.glob("*.deb")
    sh("dpkg-deb", "-R", package, place / "tree")
    yield place / "tree"
    shutil.rmtree(place)


@pytest.mark.long
def test_the_package_holds_what_the_guide_installs(tree: Path) -> None:
    """It has program, units, manual pages and completions, all owned by root, and no file written by a later start."""
    assert (tree / "usr/bin/recvault").readlink() == Path("/opt/recvault/bin/recvault")
    units = {path.name for path in (tree / "usr/lib/systemd/system").iterdir()}
    assert units == {path.name for path in [*UNITS.glob("*.service"), *UNITS.glob("*.timer")]}
    pages = {path.name for path in (tree / "usr/share/man/man1").iterdir()}
    assert {f"recvault-{verb}.1.gz" for verb in VERBS} < pages
    completions = [path for path in (tree / "usr/share").rglob("*recvault*") if "completions" in str(path.parent)]
    assert len(completions) == 3 and all(path.stat().st_size > 300 for path in completions)
    assert [(tree / "etc" / name).stat().st_mode & 0o777 for name in ("credstore", "credstore.encrypted")] == [
        0o700
    ] * 2
    assert not (tree / "etc/recvault/config.toml").exists(), "a new installation is configured by its operator"
    control = (tree / "DEBIAN/control").read_text()
    assert f"\nVersion: {__version__}\n" in control
    assert re.search(r"^Depends: python3\.\d+, ca-certificates$", control, re.M)


@pytest.mark.long
def test_the_packages_program_runs_where_it_will_be(tree: Path) -> None:
    """No file contains a path of the build; the environment has no pip, and works with its own Python."""
    opt = tree / "opt/recvault"
    whence = re.compile(b"/tmp/tmp[.]|" + re.escape(bytes(UNITS.parent.resolve()) + b"/"))
    assert [path for path in opt.rglob("*") if path.is_file() and whence.search(path.read_bytes())] == []
    assert (opt / "bin/recvault").read_text().startswith("#!/opt/recvault/bin/python3\n")
    assert (opt / "bin/python3").readlink().parent == Path("/usr/bin")
    assert not (opt / "bin/pip").exists()
    (packages,) = opt.glob("lib/python3.*/site-packages")
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from recvault.__main__ import main; main()"
    assert sh(PYTHON, "-I", "-B", "-c", code, packages, "--version") == f"recvault, version {__version__}\n"
    assert len(list((packages / "recvault").rglob("*.pyc"))) > 200


def test_its_scripts_are_sound() -> None:
    """Each script is valid POSIX shell, stops at an error, and is in the folder's guide."""
    for path in DEB.iterdir():
        if path.name != "README.md":
            assert path.stat().st_mode & 0o111
            assert re.search(r"^set -eu?$", path.read_text(), re.M)
            sh("sh", "-n", path)


@pytest.mark.parametrize(("by_hand", "code"), [(True, 1), (False, 0)])
def test_an_installation_by_hand_is_not_overwritten(tmp_path: Path, by_hand: bool, code: int) -> None:
    """The package refuses to unpack over a manual installation, and says what to do."""
    opt = tmp_path / "recvault"
    opt.mkdir()
    if by_hand:
        (opt / "pyvenv.cfg").touch()
    script = (DEB / "preinst").read_text().replace("/opt/recvault/pyvenv.cfg", str(opt / "pyvenv.cfg"))
    done = subprocess.run(["sh", "-c", script, "preinst", "install"], capture_output=True, text=True)
    assert done.returncode == code
    assert ("mv /opt/recvault /opt/recvault.old" in done.stderr) is by_hand
