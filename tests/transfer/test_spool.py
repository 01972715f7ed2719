"""The spool: memory if small, an unnamed file beyond that, and never a full disk."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recvault.errors import Unavailable
from recvault.transfer import spool as spools
from recvault.transfer.spool import Spool, SpoolFull, SpoolPlace, SpoolTooSmall

MEMORY = 1000
Usage = namedtuple("Usage", "total used free")


def place_at(directory: Path, **changes: Any) -> SpoolPlace:
    return SpoolPlace(**{"directory": directory, "memory": MEMORY, "min_free_disk": 0, **changes})


@pytest.fixture(autouse=True, scope="module")
def _small_steps() -> Iterator[None]:
    """Allocate memory by the byte, so that few bytes suffice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spools, "_STEP", 1)
        patch.setattr(spools, "_KEPT", 2 * MEMORY)
        yield


def takes(place: SpoolPlace, *sizes: int) -> list[int | None]:
    """Return how much memory it gives for each of these at the same time."""
    taken = [place.take(size, is_told=True) for size in sizes]
    lengths = [None if each is None else len(each) for each in taken]
    for each in taken:
        if each is not None:
            place.give(each)
    return lengths


@pytest.fixture
def place(tmp_path: Path) -> SpoolPlace:
    return place_at(tmp_path / "spool")


def files_open_in(directory: Path) -> list[str]:
    """Return this process's open files under a directory, named or not."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = str(each.readlink())
        except OSError:
            continue
        if target.startswith(str(directory)):
            found.append(target)
    return found


def free_is(monkeypatch: pytest.MonkeyPatch, *free: int) -> None:
    """Let the disk report these free bytes in turn, the last one repeatedly."""
    left = list(free)
    monkeypatch.setattr(
        "recvault.transfer.spool.shutil.disk_usage", lambda _: Usage(0, 0, left.pop(0) if len(left) > 1 else left[0])
    )


BODIES = {
    "empty": [],
    "in memory": [b"x" * 400, b"y" * 600],
    "past memory": [b"x" * 400, b"y" * 601],
    "past memory at once": [b"z" * 5000],
}


@pytest.mark.parametrize("told", [True, False], ids=["length told", "length not told"])
@pytest.mark.parametrize("chunks", BODIES.values(), ids=BODIES)
def test_what_is_written_is_read(place: SpoolPlace, chunks: list[bytes], told: bool) -> None:
    """What was written can be read repeatedly from the start, with its size and SHA-256."""
    whole = b"".join(chunks)
    with Spool(place, len(whole) if told else None) as spool:
        for chunk in chunks:
            spool.write(chunk)
        assert (spool.bytes, spool.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
        for _ in range(2):
            if whole:
                spool.file.seek(0)
                assert spool.file.read() == whole
                assert spool.file.tell() == len(whole)


@settings(deadline=None, max_examples=60)
@given(sizes=st.lists(st.integers(1, 700), max_size=8), expected=st.none() | st.integers(0, 3000), seed=st.integers(0))
def test_any_chunks(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], expected: int | None, seed: int
) -> None:
    """Any chunks and any announced length read back exactly, and memory is freed."""
    place = place_at(tmp_path_factory.getbasetemp() / "any", together=2 * MEMORY)
    body = random.Random(seed).randbytes(sum(sizes))
    with Spool(place, expected) as spool:
        at = 0
        for size in sizes:
            spool.write(body[at : at + size])
            at += size
        assert spool.sha256 == hashlib.sha256(body).hexdigest()
        spool.file.seek(0)
        assert not body or spool.file.read() == body
    assert takes(place, MEMORY, MEMORY, 1) == [MEMORY, MEMORY, None]


def test_small_touches_no_disk(place: SpoolPlace) -> None:
    """Up to `memory` bytes the disk is not used; not even the directory is created."""
    with Spool(place, None) as spool:
        spool.write(b"x" * MEMORY)
        assert not place.directory.exists()


@pytest.mark.parametrize("expected", [None, 10 * MEMORY])
def test_no_name_on_disk(place: SpoolPlace, expected: int | None) -> None:
    """The file on disk has no name, so that a kill leaves nothing, and closing frees it."""
    with Spool(place, expected) as spool:
        spool.write(b"x" * 10 * MEMORY)
        assert list(place.directory.iterdir()) == []
        assert len(files_open_in(place.directory)) == 1
    assert files_open_in(place.directory) == []


def test_all_spools_share_one_bound(tmp_path: Path) -> None:
    """All spools together hold at most `together` bytes in memory; others go to disk until one is closed."""
    place = place_at(tmp_path / "spool", together=2 * MEMORY)
    first, second = Spool(place, MEMORY), Spool(place, None)
    with Spool(place, 1) as third:
        assert len(files_open_in(place.directory)) == 1
        third.write(b"x")
        third.file.seek(0)
        assert third.file.read() == b"x"
    second.write(b"y" * (MEMORY + 1))  # moves to disk, and frees its memory
    with Spool(place, MEMORY) as fourth:
        fourth.write(b"z")
        assert len(files_open_in(place.directory)) == 1
    first.close()
    first.close()  # closing twice counts once
    second.close()
    assert takes(place, MEMORY, MEMORY, 1) == [MEMORY, MEMORY, None]


def test_memory_is_used_again(tmp_path: Path) -> None:
    """Freed memory is reused for at least half its size, and freed for larger requests."""
    place = place_at(tmp_path / "spool", together=2 * MEMORY)
    assert takes(place, 600, 900) == [600, 900]
    assert takes(place, 500, 901) == [600, 901]  # limited by the 900
    assert takes(place, 200, MEMORY) == [200, MEMORY]
    assert takes(place, 0, MEMORY + 1) == [None, None]


def test_memory_that_is_looked_at_still_harms_nobody(place: SpoolPlace) -> None:
    """A view that outlives its spool, as in a traceback, does not affect the next spool."""
    with Spool(place, MEMORY) as spool:
        spool.write(b"x" * MEMORY)
        view = spool.file.getbuffer()  # type: ignore[attr-defined]
    assert takes(place, 100, 200, 300) == [100, 200, 300]
    assert takes(place, *[400] * 5) == [400] * 5
    assert len(view) == MEMORY


def test_a_nearly_full_disk_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If less than min_free_disk would be left, SpoolFull is raised before a byte is written; nobody is blamed."""
    place = place_at(tmp_path / "spool", min_free_disk=5000)
    free_is(monkeypatch, 5000 + 9999)
    with pytest.raises(SpoolFull, match="min_free_disk") as raised:
        Spool(place, 10_000)
    assert isinstance(raised.value, Unavailable)
    assert raised.value.exit_code == 75
    assert files_open_in(place.directory) == []
    with Spool(place, 9999):
        pass


def test_a_length_that_no_disk_holds_is_its_hosts_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An announced length beyond the whole disk is SpoolTooSmall, the recording's own problem."""
    place = place_at(tmp_path / "spool", min_free_disk=5000)
    monkeypatch.setattr("recvault.transfer.spool.shutil.disk_usage", lambda _: Usage(10**12, 0, 10**9))
    for claimed, kind in ((10**9, SpoolFull), (10**12 - 5000, SpoolFull), (10**12 - 4999, SpoolTooSmall)):
        with pytest.raises(SpoolFull) as raised:
            Spool(place, claimed)
        assert type(raised.value) is kind


@pytest.mark.parametrize("named", [False, True], ids=["nameless", "where no file can be nameless"])
def test_nobody_else_reads_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    """Spooled files are accessible only to their owner, whatever the umask and file system."""
    if named:
        monkeypatch.setattr("tempfile._O_TMPFILE_WORKS", False)
    place, before = place_at(tmp_path / "spool"), os.umask(0)
    try:
        with Spool(place, 10 * MEMORY) as spool:
            spool.write(b"x" * 10 * MEMORY)
            mode = os.fstat(spool.file.fileno()).st_mode
            assert (stat.S_IMODE(mode), list(place.directory.iterdir())) == (0o600, [])
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.directory.stat().st_mode) == 0o700


def test_the_guard_holds_where_no_length_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of unknown length is stopped when it moves to disk, and when it grows there."""
    place = place_at(tmp_path / "spool", min_free_disk=5000)
    free_is(monkeypatch, 4999)
    with Spool(place, None) as spool:
        spool.write(b"x" * MEMORY)
        with pytest.raises(SpoolFull):
            spool.write(b"x")
    monkeypatch.setattr("recvault.transfer.spool._LOOK_EVERY", 3000)
    free_is(monkeypatch, 9000, 7000, 4000)
    with Spool(place, None) as spool, pytest.raises(SpoolFull):
        for _ in range(20):
            spool.write(b"x" * 500)
    assert spool.bytes < 9000


def test_a_disk_without_room(place: SpoolPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up during a write is SpoolFull, with its path."""
    with Spool(place, 10 * MEMORY) as spool:

        class Full:
            def write(self, _: bytes) -> int:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        real = spool._file
        monkeypatch.setattr(spool, "_file", Full())
        with pytest.raises(SpoolFull, match=f"{place.directory}.*No space"):
            spool.write(b"x")
            spool.settle()
        monkeypatch.setattr(spool, "_file", real)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A spool directory that cannot be created is SpoolFull."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolFull, match="cannot be used"):
        Spool(place_at(tmp_path / "file" / "spool"), 10 * MEMORY)


def test_a_directory_that_takes_no_file(place: SpoolPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool directory that accepts no file is SpoolFull."""

    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("recvault.transfer.spool.tempfile.TemporaryFile", refuse)
    with pytest.raises(SpoolFull, match="Permission denied"):
        Spool(place, 10 * MEMORY)
    with Spool(place, None) as spool, pytest.raises(SpoolFull, match="Permission denied"):
        spool.write(b"x" * (MEMORY + 1))
