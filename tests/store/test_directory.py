"""A directory as a store: what is particular to it. It keeps the contract in test_contract.py."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import forked
from cli.commands import environment
from recvault.errors import (
    ConfigError,
    Interrupted,
    KeyConflict,
    KeyRefused,
    RecvaultError,
    StoreRefused,
    StoreUnavailable,
    TooLarge,
)
from recvault.shutdown import Stop
from recvault.store import Bucket
from recvault.store.local.local_store import LocalStore
from store.places import Directory, make_put

KEY = "recordings/provider=twilio/account=AC1/date=2026-10-01/RE1.wav"
BODY = b"RIFF" + bytes(range(256)) * 4
DAY = timedelta(days=1)


@pytest.fixture
def store(directory: Directory) -> LocalStore:
    """A store in an empty directory, with a begun archive."""
    return directory.store(asked=False)


# Where it is


def test_a_directory_is_never_made(tmp_path: Path) -> None:
    """A missing directory is never created: temporary if it held the archive before, else a configuration error."""
    store = LocalStore(tmp_path / "nas" / "recordings")
    for known, error in ((True, StoreUnavailable), (False, ConfigError)):
        with pytest.raises(error, match="there is no such folder"):
            store.begin(known=known, make=True)
    with pytest.raises(StoreUnavailable, match="there is no such folder"):
        store.put(make_put(KEY, BODY))
    assert list(tmp_path.iterdir()) == []


ASKS: dict[str, Callable[[Bucket], object]] = {
    "put": lambda store: store.put(make_put(KEY, BODY)),
    "head": lambda store: store.head(KEY),
    "get": lambda store: store.get(KEY),
    "stream": lambda store: list(store.stream(KEY)),
    "list": lambda store: list(store.list("")),
    "listed": lambda store: list(store.reader().listed("")),
    "describe": lambda store: store.reader().describe(KEY),
    "digest": lambda store: store.reader().digest(KEY),
    "facts": lambda store: store.ask_facts(make_put(KEY, BODY)),
    "clear": lambda store: store.clear_unfinished("", datetime.now(UTC)),
    "delete": lambda store: store.delete(KEY),
}


@pytest.mark.parametrize("ask", ASKS)
def test_a_directory_without_its_marker_is_not_mounted(directory: Directory, ask: str) -> None:
    """In an empty directory nothing is written or reported missing, as the archive is not mounted."""
    with pytest.raises(StoreUnavailable, match=r"\.recvault is missing") as raised:
        ASKS[ask](LocalStore(directory.root))
    assert "mount" in raised.value.hint
    assert list(directory.root.iterdir()) == []


def test_an_archive_is_begun_once(directory: Directory) -> None:
    """The marker is created on request, but never where an archive was known."""
    store = LocalStore(directory.root)
    with pytest.raises(ConfigError, match="no archive was begun there yet"):
        store.begin(known=False, make=False)
    with pytest.raises(StoreUnavailable, match="is gone"):
        store.begin(known=True, make=True)
    assert list(directory.root.iterdir()) == []
    store.begin(known=False, make=True)
    store.begin(known=True, make=False)
    assert store.put(make_put(KEY, BODY)) is True


# What stands there


def test_a_plain_file_for_its_owner_and_group(directory: Directory, store: LocalStore) -> None:
    """A key is a path to a file with exactly the bytes, read-only, closed to others whatever the umask."""
    before = os.umask(0)
    try:
        store.put(make_put(KEY, BODY))
    finally:
        os.umask(before)
    path = directory.root / KEY
    assert path.read_bytes() == BODY
    assert path.stat().st_mode & 0o777 == 0o440
    assert {each.stat().st_mode & 0o777 for each in path.parents[:4]} == {0o750}
    assert directory.incoming == []


def test_a_umask_takes_the_group_away(directory: Directory, store: LocalStore) -> None:
    """The umask of the service's unit removes the group's access."""
    before = os.umask(0o077)
    try:
        store.put(make_put(KEY, BODY))
    finally:
        os.umask(before)
    path = directory.root / KEY
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o400, 0o700)


def test_what_stands_is_compared_by_its_bytes(directory: Directory, store: LocalStore) -> None:
    """A copied file without attributes counts as put if its bytes match; otherwise it is kept."""
    directory.lay(KEY, BODY)
    assert store.put(make_put(KEY, BODY)) is False
    directory.lay(f"{KEY}.2", BODY[::-1])
    with pytest.raises(KeyConflict):
        store.put(make_put(f"{KEY}.2", BODY))
    assert directory.body(f"{KEY}.2") == BODY[::-1]


def test_a_file_system_without_attributes(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without attributes objects read back, and their hash is computed from their bytes."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    assert [store.put(make_put(KEY, BODY)), store.put(make_put(KEY, BODY))] == [True, False]
    found, body, described = store.head(KEY), store.reader().get(KEY), store.reader().describe(KEY)
    assert found and body and described
    assert (found.bytes, found.sha256, dict(found.metadata)) == (len(BODY), None, {})
    assert (body.content, body.noted, described.noted) == (BODY, None, None)


@pytest.mark.parametrize("noted", [b"", b"\xff", b"[]", b"[" * 100_000, b'{"sha256": 7}'], ids=range(5))
def test_attributes_are_anybodys(directory: Directory, store: LocalStore, noted: bytes) -> None:
    """An object is described whatever its attributes contain."""
    store.put(make_put(KEY, BODY))
    path = directory.root / KEY
    path.chmod(0o600)
    with contextlib.suppress(OSError):  # too large for this file system, which then keeps the right ones
        os.setxattr(path, "user.recvault", noted)
    found = store.head(KEY)
    assert found is not None
    assert found.bytes == len(BODY)


def test_a_large_object_is_not_read(directory: Directory, store: LocalStore) -> None:
    """A large file is not read where a small one is expected."""
    directory.lay(KEY, BODY)
    with pytest.raises(TooLarge):
        store.get(KEY, most=len(BODY) - 1)
    assert store.get(KEY, most=len(BODY)) == BODY


# Keys that lead elsewhere

OUT = [
    *("../outside", "a/../../outside", "/etc/passwd", "a//b", "a/./b", "a/", "", "a\0b", "a/\udcff"),
    *(".recvault/incoming/x", ".Recvault/x"),
]


@pytest.mark.parametrize("key", OUT)
def test_no_key_leads_out(directory: Directory, store: LocalStore, key: str) -> None:
    """A key that cannot be a file's path is refused, and nothing is found under it."""
    before = sorted(directory.root.parent.rglob("*"))
    with pytest.raises(KeyRefused):
        store.put(make_put(key, BODY))
    assert [store.head(key), store.get(key), store.reader().digest(key)] == [None, None, None]
    store.delete(key)
    assert sorted(directory.root.parent.rglob("*")) == before


@pytest.mark.parametrize("key", [f"{'x' * 256}.wav", f"{'y' * 256}/RE1.wav"])
def test_a_name_that_is_too_long(directory: Directory, store: LocalStore, key: str) -> None:
    """A too long name is that key's own problem, and nothing is found under it."""
    with pytest.raises(KeyRefused, match="name"):
        store.put(make_put(key, BODY))
    assert store.get(key) is None
    assert directory.incoming == []


def test_a_file_in_the_way_of_a_folder(store: LocalStore) -> None:
    """A key that needs a file's name as a folder is refused with the reason, unlike in S3."""
    store.put(make_put("a/b", BODY))
    with pytest.raises(KeyRefused, match="b is a file or a link"):
        store.put(make_put("a/b/c", BODY))
    with pytest.raises(KeyConflict):
        store.put(make_put("a", BODY))
    assert store.get("a/b/c") is store.get("a") is None


def test_no_link_is_followed(directory: Directory, store: LocalStore) -> None:
    """Links to folders or files are not followed for reading, listing or writing."""
    outside = directory.root.parent / "outside"
    outside.mkdir()
    (outside / "secret.json").write_bytes(b"secret")
    (directory.root / "linked").symlink_to(outside)
    (directory.root / "file.json").symlink_to(outside / "secret.json")
    (directory.root / "new.json").symlink_to(outside / "new.json")
    with pytest.raises(KeyRefused):
        store.put(make_put("linked/RE1.wav", BODY))
    for key in ("file.json", "new.json"):
        with pytest.raises(KeyConflict):
            store.put(make_put(key, BODY))
    assert [store.get("linked/secret.json"), store.get("file.json")] == [None, None]
    assert list(store.list("")) == []
    assert sorted(outside.iterdir()) == [outside / "secret.json"]


def test_what_is_no_regular_file_is_no_object(directory: Directory, store: LocalStore) -> None:
    """A FIFO is no object, and does not block."""
    os.mkfifo(directory.root / "fifo")
    assert store.get("fifo") is None
    assert list(store.list("")) == []
    with pytest.raises(KeyConflict):
        store.put(make_put("fifo", BODY))


# Writing


def test_what_a_put_returns_is_on_the_disk(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced before it gets its key, and all directory entries before put returns."""
    done: list[tuple[str, str]] = []
    fsync, link = os.fsync, os.link

    def synced(file: int) -> None:
        done.append(("sync", Path(f"/proc/self/fd/{file}").readlink().name))
        fsync(file)

    def linked(*names: Any, **folders: Any) -> None:
        done.append(("link", names[1]))
        link(*names, **folders)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    store.put(make_put("a/b/RE1.wav", BODY))
    at = done.index(("link", "RE1.wav"))
    assert any(kind == "sync" and len(name) == 32 for kind, name in done[:at])  # the file, under its first name
    assert {("sync", "recordings"), ("sync", "a")} <= set(done)  # the parents of the new folders a and b
    assert done[at + 1 :] == [("sync", "b")]
    done.clear()
    LocalStore(store.root).put(make_put("a/b/RE2.wav", BODY))  # another process may have created a and b
    assert {("sync", "recordings"), ("sync", "a")} <= set(done)
    done.clear()
    store.put(make_put("a/b/RE1.wav", BODY))  # another process may have linked it, without syncing yet
    assert done == [("sync", "RE1.wav"), ("sync", "b")]


KILLED = """
import os, signal, sys
from pathlib import Path
from recvault.store.local.local_store import LocalStore
from store.places import make_put
calls = 0
def counted(function):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call
def put(root):
    for name in ("open", "mkdir", "fsync", "link", "unlink", "fchmod", "setxattr"):
        setattr(os, name, counted(getattr(os, name)))
    assert LocalStore(root).put(make_put("a/b/RE1.wav", b"x" * 3_000_000)) is True
    os._exit(0)
for nth in range(1, 60):
    root = Path(sys.argv[1]) / f"{nth}"
    (root / ".recvault" / "incoming").mkdir(parents=True)
    if (pid := os.fork()) == 0:
        put(root)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(ended, flush=True)
    if ended == 0:
        break
"""


def test_a_kill_leaves_nothing_that_is_not_whole(tmp_path: Path) -> None:
    """After a kill at any system call the key has all bytes or none, and the next start removes leftovers."""
    arguments = [sys.executable, "-c", KILLED, str(tmp_path)]
    told = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(arguments, capture_output=True, text=True, env=told, check=True)
    *killed, last = map(int, done.stdout.split())
    assert (set(killed), last) == ({-signal.SIGKILL}, 0), done.stderr
    assert len(killed) >= 10
    place = Directory(tmp_path / f"{len(killed) + 1}")
    assert ([each.bytes for each in place.store(asked=False).list("")], place.incoming) == ([3_000_000], [])
    for nth in range(1, len(killed) + 1):
        place = Directory(tmp_path / f"{nth}")
        found = [each.bytes for each in place.store(asked=False).list("")]
        assert found in ([], [3_000_000])
        store = place.store(asked=False)
        assert store.clear_unfinished("", datetime.now(UTC) - DAY) == 0  # it may belong to a running process
        left = len(place.incoming)
        assert store.clear_unfinished("", datetime.now(UTC) + DAY) == left
        assert place.incoming == []
        assert store.put(make_put("a/b/RE1.wav", b"x" * 3_000_000)) is (found == [])


RACES = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from recvault.errors import KeyConflict
from recvault.store.local.local_store import LocalStore
from store.places import make_put
store, body = LocalStore(Path(sys.argv[1])), sys.argv[2].encode() * 1000
sys.stdin.readline()
won = 0
for number in range(200):
    try:
        won += store.put(make_put(f"date={number % 7}/RE{number}.wav", body))
    except KeyConflict:
        pass
print(won, flush=True)
"""


def test_processes_that_meet_at_one_key(directory: Directory) -> None:
    """Of two processes with other bytes one wins at each key, and is never overwritten."""
    directory.store()
    pipe = subprocess.PIPE
    racers = [
        forked.popen(
            [sys.executable, "-c", RACES, str(directory.root), letter, str(forked.TESTS)],
            environment(directory.root),
            stdin=pipe,
            stdout=pipe,
            text=True,
        )
        for letter in "ab"
    ]
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    won = {letter: int(racer.communicate()[0]) for letter, racer in zip("ab", racers, strict=True)}
    bodies = [directory.body(each.key) for each in directory.store().list("date=")]
    assert {letter: bodies.count(letter.encode() * 1000) for letter in "ab"} == won
    assert len(bodies) == 200
    assert directory.incoming == []


@contextlib.contextmanager
def failing(patch: pytest.MonkeyPatch, name: str, code: int) -> Iterator[None]:
    """A system whose call fails with this error."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with patch.context() as within:
        within.setattr(os, name, fail)
        yield


FAILURES: list[tuple[str, int, type[RecvaultError]]] = [
    ("fsync", errno.ENOSPC, StoreUnavailable),
    ("fsync", errno.EDQUOT, StoreUnavailable),
    ("fsync", errno.EIO, StoreUnavailable),
    ("link", errno.EROFS, StoreRefused),
    ("link", errno.EACCES, StoreRefused),
    ("link", errno.ESTALE, StoreUnavailable),
    ("link", errno.EPERM, ConfigError),  # as FAT answers
    ("link", errno.EXDEV, ConfigError),
]


@pytest.mark.parametrize(("call", "code", "error"), FAILURES)
def test_a_put_that_fails(
    directory: Directory, store: LocalStore, monkeypatch: pytest.MonkeyPatch, call: str, code: int, error: type
) -> None:
    """A full, broken, read-only or unsuitable disk is reported as such, blames no recording, and leaves nothing."""
    with failing(monkeypatch, call, code), pytest.raises(error) as raised:
        store.put(make_put(KEY, BODY))
    assert raised.type is error
    assert ("free some space" in raised.value.hint) is (code in (errno.ENOSPC, errno.EDQUOT))
    assert raised.value.hint
    assert (store.head(KEY), directory.incoming) == (None, [])
    assert store.put(make_put(KEY, BODY)) is True


def test_a_file_that_may_not_be_read(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable file is refused alone."""
    store.put(make_put(KEY, BODY))
    opened = os.open

    def refuse(path: Any, *arguments: Any, **named: Any) -> int:
        if path == "RE1.wav":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(KeyRefused):
        store.get(KEY)


def test_a_link_whose_answer_was_lost(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """If NFS repeats a link and reports that it exists, the put has succeeded."""
    link = os.link

    def twice(*names: Any, **folders: Any) -> None:
        link(*names, **folders)
        link(*names, **folders)

    monkeypatch.setattr(os, "link", twice)
    assert store.put(make_put(KEY, BODY)) is True
    assert store.get(KEY) == BODY


def test_a_file_system_whose_links_replace(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose links replace files is detected before anything is archived, and refused."""
    store.put(make_put("schemas/known.json", b"{}"))

    def over(name: str, key: str, *, src_dir_fd: int, dst_dir_fd: int, **_: Any) -> None:
        os.replace(name, key, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "link", over)
    with pytest.raises(ConfigError, match="lets a link replace a file"):
        store.ask_facts(make_put("schemas/known.json", b"{}"))


def test_a_newer_schema_takes_the_place_of_an_older(directory: Directory, store: LocalStore) -> None:
    """The known object, recvault's own, is replaced atomically."""
    store.ask_facts(make_put("schemas/known.json", b"{}"))
    store.ask_facts(make_put("schemas/known.json", b'{"newer": true}'))
    assert directory.body("schemas/known.json") == b'{"newer": true}'
    assert directory.incoming == []


class Breaks:
    """A spool that cannot be read."""

    def seek(self, *_: int) -> int:
        return 0

    def read(self, *_: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


def test_a_spool_that_breaks_is_not_the_stores(directory: Directory, store: LocalStore) -> None:
    """A spool's error propagates, and nothing is left."""
    with pytest.raises(OSError, match="Input/output"):
        store.put(replace(make_put(KEY, BODY), body=Breaks()))  # type: ignore[arg-type]
    assert directory.incoming == []


def test_a_drain_cuts_a_put(directory: Directory) -> None:
    """After the drain nothing more is written, and nothing is left."""
    directory.store()
    stop = Stop()
    stop.enforced.set()
    with pytest.raises(Interrupted):
        LocalStore(directory.root, stop=stop).put(make_put(KEY, BODY))
    assert directory.incoming == []
    assert directory.store().head(KEY) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_is_the_owners(directory: Directory) -> None:
    """`check` as root leaves only files that the service can use."""
    os.chown(directory.root, 65534, 65534)
    directory.store().put(make_put(KEY, BODY))
    assert {each.stat().st_uid for each in directory.root.rglob("*")} == {65534}


# Lists


def test_lists_are_in_the_order_of_keys(directory: Directory, store: LocalStore) -> None:
    """Lists are ordered by the bytes of whole keys, like S3's."""
    draw = random.Random(7)
    parts = ["a", "a-", "a.", "a0", "b", "é", "z", "~", "￿", "\U00010000", "a b"]
    keys = {"/".join(draw.choices(parts, k=draw.randint(1, 4))) + draw.choice([".json", ".wav"]) for _ in range(300)}
    for key in keys:
        directory.lay(key, b"")
    wanted = sorted(keys, key=str.encode)
    assert [each.key for each in store.list("")] == wanted
    reader = store.reader()
    for _ in range(100):
        after, until = sorted(draw.choices(wanted, k=2), key=str.encode)
        prefix = draw.choice(["", after[:1], after[: draw.randint(0, len(after))]])
        found = [each.key for each in reader.listed(prefix, after, until)]
        assert found == [key for key in wanted if key.startswith(prefix) and after < key < until]


def test_a_list_is_read_as_it_is_asked_for(directory: Directory, store: LocalStore) -> None:
    """Folders outside the range, or not reached yet, are not opened."""
    for number in range(5):
        directory.lay(f"date={number}/RE.wav", b"")
    listing = store.list("")
    assert next(listing).key == "date=0/RE.wav"
    directory.lay("date=4/RE2.wav", b"")
    assert [each.key for each in listing][-1] == "date=4/RE2.wav"
    (directory.root / "date=1").rename(directory.root.parent / "moved")
    (directory.root / "date=1").symlink_to(directory.root.parent / "moved")
    assert [each.key for each in store.reader().listed("date=", "date=0/RE.wav", "date=3")] == ["date=2/RE.wav"]


def test_names_that_are_no_keys(directory: Directory, store: LocalStore) -> None:
    """recvault's own folder and names that are not UTF-8 are in no list."""
    (Path(os.fsdecode(os.fsencode(directory.root) + b"/\xff.wav"))).write_bytes(b"")
    store.put(make_put("a.wav", BODY))
    assert [each.key for each in store.list("")] == ["a.wav"]
