"""A copy of the bucket is checked offline: whatever was changed, removed or added is detected."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.rows import recording
from operations.manifests.conftest import Open
from operations.manifests.shelf import Shelf, commit, copied, files, manifest_key, sha256sum
from recvault.errors import Interrupted, UnknownName
from recvault.operations.manifests import check
from recvault.shutdown import Stop
from recvault.testing.memory import MemoryStore


@dataclass(frozen=True)
class Copy:
    """A copy of three days of an account, two recordings a day; and its shelf."""

    shelf: Shelf
    root: Path

    def manifest(self, number: int) -> Path:
        return self.root / manifest_key(number)

    def medium(self, number: int) -> Path:
        return next(self.root.rglob(f"RE{number}.wav"))

    def sidecar(self, number: int) -> Path:
        return next(self.root.rglob(f"RE{number}.json"))

    def told(self, **values: object) -> list[tuple[str, str]]:
        """Return kind and path of each difference; a copy with any exits 3."""
        checked = check(self.root, **values)  # type: ignore[arg-type]
        assert checked.exit_code == (3 if checked.differences else 0)
        return [(each.kind, each.path) for each in checked.differences]

    def key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


@pytest.fixture
def copy(shelf: Shelf) -> Copy:
    """See Copy."""
    for day in range(3):
        shelf.archive(2 * day + 1, 2 * day + 2)
        shelf.next_day()
        shelf.write()
    return Copy(shelf, shelf.copy())


def test_an_untouched_copy_is_in_order(copy: Copy) -> None:
    """In an unchanged copy every file and link is checked, and each chain's head is reported."""
    document = check(copy.root).document()
    assert (document["outcome"], document["differences"]) == ("ok", [])
    assert {name: count for name, count in document["counts"].items() if count} == {
        "manifests": 3,
        "checked": 12,
        "ok": 12,
    }
    head = hashlib.sha256(copy.manifest(3).read_bytes()).hexdigest()
    assert document["chains"] == [
        {
            "provider": "twilio",
            "account_id": "AC1",
            "manifests": 3,
            "number": 3,
            "sha256": head,
            "through": "2026-10-03",
        }
    ]


def flip(path: Path) -> None:
    """Change one byte."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def swap(one: Path, other: Path) -> None:
    """Exchange two files."""
    before = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(before)


def forge(copy: Copy, number: int) -> None:
    """Replace a medium with its sidecar and the manifest's lines, as a forger who knows the format."""
    medium, sidecar, manifest = copy.medium(2 * number), copy.sidecar(2 * number), copy.manifest(number)
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (medium, sidecar)]
    medium.write_bytes(b"what was never said")
    after = hashlib.sha256(medium.read_bytes()).hexdigest()
    sidecar.write_text(sidecar.read_text().replace(before[0], after))
    text = manifest.read_text().replace(before[0], after)
    manifest.write_text(text.replace(before[1], hashlib.sha256(sidecar.read_bytes()).hexdigest()))


TAMPERED: dict[str, tuple[Callable[[Copy], object], set[tuple[str, str]]]] = {
    "a medium is changed": (lambda copy: flip(copy.medium(3)), {("different", "RE3.wav")}),
    "a medium is removed": (lambda copy: copy.medium(3).unlink(), {("missing", "RE3.wav")}),
    "a sidecar is changed": (lambda copy: flip(copy.sidecar(3)), {("different", "RE3.json")}),
    "a sidecar is removed": (lambda copy: copy.sidecar(3).unlink(), {("missing", "RE3.json")}),
    "a recording is removed": (
        lambda copy: (copy.sidecar(3).unlink(), copy.medium(3).unlink()),
        {("missing", "RE3.json"), ("missing", "RE3.wav")},
    ),
    "two media are exchanged": (
        lambda copy: swap(copy.medium(1), copy.medium(5)),
        {("different", "RE1.wav"), ("different", "RE5.wav")},
    ),
    "the first manifest is removed": (
        lambda copy: copy.manifest(1).unlink(),
        {("missing", "1"), ("unknown", "RE1.json"), ("unknown", "RE2.json")},
    ),
    "a manifest in the middle is removed": (
        lambda copy: copy.manifest(2).unlink(),
        {("missing", "2"), ("unknown", "RE3.json"), ("unknown", "RE4.json")},
    ),
    "the first two manifests are removed": (
        lambda copy: (copy.manifest(1).unlink(), copy.manifest(2).unlink()),
        {("missing", "1"), *(("unknown", f"RE{number}.json") for number in (1, 2, 3, 4))},
    ),
    "a day is removed, with all that it lists": (
        lambda copy: [
            path.unlink() for path in (copy.manifest(2), *map(copy.medium, (3, 4)), *map(copy.sidecar, (3, 4)))
        ],
        {("missing", "2")},
    ),
    "two manifests are exchanged": (
        lambda copy: swap(copy.manifest(1), copy.manifest(2)),
        {("broken", "1"), ("broken", "2"), ("broken", "3")},
    ),
    "the numbers are closed up over a removed one": (
        lambda copy: copy.manifest(3).rename(copy.manifest(2)),
        {("broken", "2"), ("unknown", "RE3.json"), ("unknown", "RE4.json")},
    ),
    "the first day is forged": (lambda copy: forge(copy, 1), {("broken", "2")}),
    "a day in the middle is forged": (lambda copy: forge(copy, 2), {("broken", "3")}),
    "a recording is slipped in": (
        lambda copy: slip_in(copy, 9),
        {("unknown", "RE9.json")},
    ),
    "a manifest is slipped in beside the chain": (
        lambda copy: shutil.copytree(copy.manifest(2).parent, copy.manifest(2).parent.with_name("number=2")),
        {("unknown", "number=2")},
    ),
    "a manifest is cut short": (
        lambda copy: copy.manifest(2).write_bytes(copy.manifest(2).read_bytes()[:-30]),
        {("broken", "2"), ("broken", "3"), ("unknown", "RE3.json"), ("unknown", "RE4.json")},
    ),
    "a manifest names a file outside": (
        lambda copy: copy.manifest(3).write_text(f"# through=2026-10-03\n{'0' * 64}  ../../etc/passwd\n"),
        {("broken", "3")},
    ),
    "a medium is a link to elsewhere": (
        lambda copy: (shutil.move(copy.medium(3), copy.root.parent / "m"), link(copy, "RE3", copy.root.parent / "m")),
        {("missing", "RE3.wav")},
    ),
}


def link(copy: Copy, stem: str, target: Path) -> None:
    next(copy.root.rglob(f"{stem}.json")).with_name(f"{stem}.wav").symlink_to(target)


def slip_in(copy: Copy, number: int) -> None:
    """Add a recording that claims to be of a past day."""
    store = MemoryStore()
    commit(store, copy.shelf.keys, recording(number), copy.shelf.now - timedelta(days=2))
    copied(store.objects, copy.root)


def short(path: str) -> str:
    """Shorten a path: a manifest to its number, others to their name."""
    name = path.rpartition("/")[2]
    folder = path.split("/")[-2]
    if name != "manifest-sha256.txt":
        return name
    return str(int(folder[7:])) if len(folder) == 15 else folder


@pytest.mark.parametrize("tampering", TAMPERED)
def test_whatever_was_done_shows(copy: Copy, tampering: str) -> None:
    """Every change is detected, and nothing else is reported."""
    act, expected = TAMPERED[tampering]
    act(copy)
    assert {(kind, short(path)) for kind, path in copy.told()} == expected


@pytest.mark.parametrize("tampering", [name for name in TAMPERED if "slipped in" not in name and "link" not in name])
def test_sha256sum_alone_sees_it_too(copy: Copy, tampering: str) -> None:
    """sha256sum alone detects all except added or moved files."""
    TAMPERED[tampering][0](copy)
    assert sha256sum(copy.root).returncode == 1


def test_the_newest_manifest_is_held_by_what_it_lists_or_by_a_head_that_was_kept(copy: Copy) -> None:
    """A removed newest manifest leaves uncovered recordings; removed with them, only a kept head detects it."""
    head = hashlib.sha256(copy.manifest(3).read_bytes()).hexdigest()
    assert copy.told(heads=[head]) == []
    copy.manifest(3).unlink()
    counts = check(copy.root).counts
    assert (copy.told(), counts["not_covered"]) == ([], 2)  # dated after the last listed day
    for path in (copy.medium(5), copy.medium(6), copy.sidecar(5), copy.sidecar(6)):
        path.unlink()
    assert copy.told() == []
    assert copy.told(heads=[head]) == [("missing", head)]


def test_a_forged_newest_manifest_shows_by_the_head_that_was_kept(copy: Copy) -> None:
    """A forged newest manifest is detected by a kept head."""
    head = hashlib.sha256(copy.manifest(3).read_bytes()).hexdigest()
    forge(copy, 3)
    assert (copy.told(), copy.told(heads=[head])) == ([], [("missing", head)])


def test_a_head_that_others_follow_is_still_a_head(copy: Copy) -> None:
    """An older head that was kept is accepted although others follow it."""
    noted = [hashlib.sha256(copy.manifest(number).read_bytes()).hexdigest() for number in (1, 2)]
    assert copy.told(heads=noted) == []


def test_what_no_manifest_can_list_yet_is_told_and_is_no_fault(copy: Copy) -> None:
    """Later recordings, media without sidecar and other objects are reported, and are no faults."""
    shelf = copy.shelf
    shelf.archive(7)
    shelf.copy()
    (copy.medium(1).parent / "RE8.wav").write_bytes(b"half a transfer")
    for name in ("catalog/index.jsonl", "schemas/sidecar-v1.json", "readme.txt"):
        (copy.root / name).parent.mkdir(exist_ok=True)
        (copy.root / name).write_text("{}")
    checked = check(copy.root)
    assert (checked.counts["not_covered"], checked.counts["orphan_media"], checked.differences) == (1, 1, [])


def test_an_account_whose_manifests_are_all_gone_is_not_taken_for_a_new_one(shelf: Shelf) -> None:
    """If an account's manifests are all gone, other accounts' chains show which days are over."""
    shelf.archive(1, account="AC1")
    shelf.archive(2, account="AC2")
    shelf.next_day()
    shelf.write()
    root = shelf.copy()
    shutil.rmtree(root / "manifests/provider=twilio/account=AC2")
    assert [(each.kind, short(each.path)) for each in check(root).differences] == [("unknown", "RE2.json")]


def test_without_any_manifest_nothing_is_accepted(copy: Copy) -> None:
    """A directory without manifests is refused; one whose manifests were all removed covers nothing."""
    with pytest.raises(UnknownName, match="contains no manifests/"):
        check(copy.root / "recordings")
    for number in (1, 2, 3):
        copy.manifest(number).unlink()
    assert {kind for kind, _ in copy.told()} == {"unknown"}
    assert len(copy.told()) == 6


def test_names_and_texts_that_are_no_sidecars_are_unknown(copy: Copy) -> None:
    """Anything else under a sidecar's name is reported as unknown."""
    folder = copy.sidecar(1).parent
    bodies = {"a.json": b"", "b.json": b"[1]", "c.json": b"\xff", "d.json": b'{"schema": "recvault/sidecar/v1"}'}
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    Path(str(folder) + "/\udcff.json").write_bytes(json.dumps({"schema": 1}).encode())
    assert sorted(kind for kind, _ in copy.told()) == ["unknown"] * 5


def test_two_chains_are_checked_apart(open_shelf: Open) -> None:
    """A break in one chain does not affect another."""
    shelf = open_shelf()
    for day in range(2):
        shelf.archive(2 * day, account="AC1")
        shelf.archive(2 * day + 1, account="AC2")
        shelf.next_day()
        shelf.write()
    root = shelf.copy()
    flip(root / manifest_key(1))
    checked = check(root)
    assert {path.split("/")[2] for path in [each.path for each in checked.differences]} >= {"account=AC1"}
    assert all("AC2" not in each.path for each in checked.differences)
    assert [each["number"] for each in checked.chains] == [2, 2]


def test_a_stop_ends_a_check(copy: Copy) -> None:
    """A stop ends a check, however large the copy."""
    stop = Stop()
    stop.asked.set()
    with pytest.raises(Interrupted):
        check(copy.root, stop=stop)
    assert files(copy.shelf) != []
