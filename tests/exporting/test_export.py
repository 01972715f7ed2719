"""`recvault export`: folders whose every byte is proven, read back by the libraries that they are made for."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Ran, bare
from reading.population import NUMBER, Sidecar, body_of, encoded, key_of, sidecars
from recvault.archive import escape
from recvault.exporting.bag import write_bag
from recvault.exporting.shards import write_shards
from recvault.reading.archive import Archive
from strict_s3 import Bucket, StrictS3

READING = {"GET", "HEAD", "LIST"}
COUNT = 25


@pytest.fixture(scope="module")
def known() -> list[Sidecar]:
    made = sidecars(COUNT)
    made[4]["call"]["from"] = f"+{NUMBER}"
    return made


@pytest.fixture(scope="module")
def full(strict_s3: StrictS3, known: list[Sidecar]) -> Iterator[Bucket]:
    bucket = strict_s3.bucket()
    for each in known:
        place(bucket, each)
    yield bucket
    strict_s3.forget(bucket)


def place(bucket: Bucket, each: Sidecar) -> None:
    bucket.place(key_of(each), encoded(each))
    bucket.place(each["media"][0]["key"], body_of(each))


def export(bucket: Bucket, folder: Path, *words: str) -> Ran:
    where = ("--archive", f"s3://{bucket.name}", "--endpoint-url", bucket.url)
    return bare(folder, "export", "out", *words, *where, HOME=str(folder))


def of(known: list[Sidecar], source: str) -> list[Sidecar]:
    return [each for each in known if each["source"] == source]


def sums_of(each: Sidecar) -> dict[str, str]:
    """A recording's files in the archive, with their SHA-256."""
    return {
        key_of(each): hashlib.sha256(encoded(each)).hexdigest(),
        each["media"][0]["key"]: each["media"][0]["sha256"],
    }


def manifests(listed: list[list[Sidecar]]) -> dict[str, bytes]:
    """An account's chain: a manifest for each of these lists."""
    made, before = {}, None
    for number, recordings in enumerate(listed, start=1):
        [(provider, account)] = {(each["provider"], each["account_id"]) for each in recordings}
        root = f"manifests/provider={escape(provider)}/account={escape(account)}"
        lines = [f"{before[1]}  {before[0]}"] if before else []
        lines += [f"{sha256}  {path}" for each in recordings for path, sha256 in sums_of(each).items()]
        path = f"{root}/number={number:08}/manifest-sha256.txt"
        made[path] = "\n".join(["# recvault manifest v1", *lines, ""]).encode()
        before = (path, hashlib.sha256(made[path]).hexdigest())
    return made


def test_a_bag_is_the_archives_bytes_and_its_proof(strict_bucket: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """A bag holds what was selected, validates by sha256sum and by bagit, and has the manifests from the first that
    lists one of its recordings to the head; nothing is written to the bucket."""
    one, two, three = of(known, "voice")[:3]
    for each in (one, two, three, *of(known, "telnyx")):
        place(strict_bucket, each)
    chain = manifests([[one], [two], [three]])
    for path, body in chain.items():
        strict_bucket.place(path, body)
    ran = export(strict_bucket, tmp_path, "--bagit", "--recording", two["recording_id"], "--json")
    assert (ran.code, ran.document["recordings"], ran.document["unlisted"]) == (0, 1, 0)
    bag = tmp_path / "out"
    files = {str(path.relative_to(bag / "data")): path.read_bytes() for path in (bag / "data").rglob("*.*")}
    assert files == {key_of(two): encoded(two), two["media"][0]["key"]: body_of(two)}
    assert {path for path in chain if (bag / path).exists()} == set([*chain][1:])
    assert all((bag / path).read_bytes() == chain[path] for path in [*chain][1:])
    [row] = csv.DictReader((bag / "recordings.csv").read_text().splitlines())
    assert (row["recording_id"], row["media_sha256"]) == (two["recording_id"], two["media"][0]["sha256"])
    for sums in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        subprocess.run(["sha256sum", "--strict", "--quiet", "-c", sums], cwd=bag, check=True)
    pytest.importorskip("bagit").Bag(str(bag)).validate()
    assert set(strict_bucket.counts) <= READING


def test_a_bag_of_a_number_says_what_no_manifest_lists_yet(full: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """The number's recordings alone are in it, and what no manifest lists is counted and told."""
    ran = export(full, tmp_path, "--bagit", "--number", f"+{NUMBER}")
    assert ran.code == 0
    assert "1 of them are in no manifest yet" in ran.stderr
    info = (tmp_path / "out" / "bag-info.txt").read_text()
    assert "Recvault-Not-In-A-Manifest: 1\n" in info
    assert f"by number +{NUMBER}" in info
    assert sorted(path.name for path in (tmp_path / "out" / "data").rglob("*.*")) == sorted(
        key.rpartition("/")[2] for key in sums_of(known[4])
    )


def test_a_manifest_that_contradicts_is_no_proof(strict_bucket: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """If a manifest lists another sum of a file, there is no bag, and the manifest is named."""
    [one, *_] = of(known, "voice")
    place(strict_bucket, one)
    [(path, body)] = manifests([[one]]).items()
    strict_bucket.place(path, body.replace(one["media"][0]["sha256"].encode(), b"0" * 64))
    ran = export(strict_bucket, tmp_path, "--bagit")
    assert (ran.code, [*tmp_path.iterdir()]) == (3, [])
    assert f"{path} lists another SHA-256 of {one['media'][0]['key']}" in ran.stderr


FORMS = ("--bagit", "--webdataset", "--lhotse")


@pytest.mark.parametrize("form", FORMS)
def test_a_flipped_bit_leaves_no_folder(strict_bucket: Bucket, tmp_path: Path, form: str) -> None:
    """A medium that is not as archived ends with 3 and no folder; --allow-missing leaves it out, and names it."""
    one, two = of(sidecars(10), "voice")
    place(strict_bucket, one)
    place(strict_bucket, two)
    strict_bucket.place(two["media"][0]["key"], b"x" + body_of(two)[1:])
    ran = export(strict_bucket, tmp_path, form)
    assert (ran.code, [*tmp_path.iterdir()]) == (3, [])
    assert f"not exported: {two['recording_id']}: {two['media'][0]['key']} differs" in ran.stderr
    ran = export(strict_bucket, tmp_path, form, "--allow-missing", "--json")
    assert (ran.code, ran.document["recordings"]) == (3, 1)
    assert [each["recording_id"] for each in ran.document["failed"]] == [two["recording_id"]]
    content = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert body_of(two)[1:] not in content
    if form == "--bagit":
        assert two["recording_id"] in (tmp_path / "out" / "README.txt").read_text()


def test_a_sidecar_that_cannot_be_read_leaves_no_folder(strict_bucket: Bucket, tmp_path: Path) -> None:
    """What is selected cannot be known without it: exit code 3, no folder; with --allow-missing it is named."""
    one, two = of(sidecars(10), "voice")
    place(strict_bucket, one)
    strict_bucket.place(key_of(two), b"{")
    ran = export(strict_bucket, tmp_path, "--bagit")
    assert (ran.code, [*tmp_path.iterdir()]) == (3, [])
    ran = export(strict_bucket, tmp_path, "--bagit", "--allow-missing", "--json")
    assert (ran.code, [each["key"] for each in ran.document["unreadable"]]) == (3, [key_of(two)])


def test_a_path_that_leaves_the_folder_is_not_written(strict_bucket: Bucket, tmp_path: Path) -> None:
    """A sidecar that names its medium `../…` is not exported: nothing is written outside."""
    [one, *_] = of(sidecars(10), "voice")
    one["media"][0]["key"] = "../../outside.wav"
    place(strict_bucket, one)
    (here := tmp_path / "a" / "b").mkdir(parents=True)
    ran = export(strict_bucket, here, "--bagit")
    assert (ran.code, [path for path in tmp_path.rglob("*") if path.is_file()]) == (3, [])
    assert "cannot be the name of a file" in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give --bagit, --webdataset or --lhotse"),
        (("--bagit", "--number", "anonymous"), "has no digits"),
        (("--bagit", "--call", "CAnone"), "no recordings are selected"),
    ],
    ids=["no form", "no digits", "nothing"],
)
def test_a_mistake_writes_nothing(full: Bucket, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """It is exit code 2, and nothing is left."""
    ran = export(full, tmp_path, *words)
    assert (ran.code, said in ran.stderr, [*tmp_path.iterdir()]) == (2, True, [])


def test_a_folder_that_holds_something_stays(full: Bucket, tmp_path: Path) -> None:
    """An existing folder with files is exit code 2 and unchanged; an empty one is filled."""
    (there := tmp_path / "out").mkdir()
    (there / "notes.txt").write_text("mine")
    ran = export(full, tmp_path, "--bagit")
    assert (ran.code, [path.name for path in there.iterdir()]) == (2, ["notes.txt"])
    (there / "notes.txt").unlink()
    assert export(full, tmp_path, "--bagit").code == 0


def test_shards_are_read_to_their_end_by_webdataset(full: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """Every sample has the medium's bytes and a row with the same columns, whatever its provider."""
    assert export(full, tmp_path, "--webdataset").code == 0
    [shard] = (tmp_path / "out").iterdir()
    read = (
        "import json, sys, webdataset\n"
        "for each in webdataset.WebDataset(sys.argv[1], shardsshuffle=False):\n"
        "    media = [each[k].hex() for k in each if k in ('wav', 'mp3', 'mka')]\n"
        "    print(json.dumps([json.loads(each['json']), media]))\n"
    ).replace("shardsshuffle", "shardshuffle")
    pytest.importorskip("webdataset")
    done = subprocess.run(
        [sys.executable, "-c", read, str(shard)], capture_output=True, text=True, check=True, timeout=120
    )
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    told = {row["recording_id"]: media for row, media in samples}
    assert told == {each["recording_id"]: [body_of(each).hex()] for each in known}
    assert len({tuple(row) for row, _ in samples}) == 1
    assert all(row["raw"] is None or isinstance(row["raw"], str) for row, _ in samples)


def test_a_full_shard_begins_another(full: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """No sample is split between shards, and a name is its key: without a dot before the format."""
    with Archive(f"s3://{full.name}", endpoint_url=full.url, region="us-east-1", catalog=False) as archive:
        done = write_shards(archive.recordings(), tmp_path, most=10)
    names: list[Any] = []
    for path in sorted(tmp_path.iterdir()):
        with tarfile.open(path) as tar:
            names.append(tar.getnames())
    assert (done.recordings, [len(each) for each in names]) == (COUNT, [20, 20, 10])
    assert all(name.rpartition("/")[2].count(".") == 1 for each in names for name in each)


def test_lhotse_reads_recordings_and_channels(full: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """Its manifests name files that are there, by relative paths, with lengths in samples; channels have the facts."""
    assert export(full, tmp_path, "--lhotse", "--source", "telnyx").code == 0
    out = tmp_path / "out"
    recordings, channels = (
        [json.loads(line) for line in gzip.decompress((out / name).read_bytes()).splitlines()]
        for name in ("recordings.jsonl.gz", "supervisions.jsonl.gz")
    )
    wanted = {each["recording_id"]: each for each in of(known, "telnyx")}
    assert {each["id"].rpartition("/")[2] for each in recordings} == wanted.keys()
    for each in recordings:
        truth = wanted[each["id"].rpartition("/")[2]]
        [source] = each["sources"]
        assert (out / source["source"]).read_bytes() == body_of(truth)
        assert (source["type"], source["channels"], each["sampling_rate"]) == ("file", [0, 1], 8000)
        assert each["num_samples"] == each["duration"] * 8000
    assert len(channels) == 2 * len(recordings)
    assert {each["recording_id"] for each in channels} == {each["id"] for each in recordings}
    lhotse = pytest.importorskip("lhotse")
    assert len(lhotse.RecordingSet.from_file(out / "recordings.jsonl.gz")) == len(recordings)


@pytest.fixture
def small(strict_s3: StrictS3) -> Iterator[Bucket]:
    bucket = strict_s3.bucket()
    yield bucket
    strict_s3.forget(bucket)


def test_a_manifests_key_leads_nowhere_else(small: Bucket, tmp_path: Path) -> None:
    """An object among the manifests whose key has `..` is not copied, neither into the folder nor beside it."""
    known = of(sidecars(COUNT), "voice")
    for each in known:
        place(small, each)
    [(path, body)] = manifests([known]).items()
    small.place(path, body)
    small.place(path.replace("number=", "x/../../../../../evil/number="), b"evil")
    assert export(small, tmp_path, "--bagit").code == 0
    assert [each for each in tmp_path.rglob("*") if "evil" in each.name] == []


def test_a_format_leads_nowhere_else(small: Bucket, tmp_path: Path) -> None:
    """A format with slashes in a sidecar makes no name in a tar that leads out of its folder."""
    [each, *_] = of(sidecars(COUNT), "voice")
    each["media"][0]["media_format"] = "x/../../../../../evil"
    place(small, each)
    assert export(small, tmp_path, "--webdataset").code == 0
    with tarfile.open(next((tmp_path / "out").glob("*.tar"))) as shard:
        assert [name for name in shard.getnames() if ".." in name] == []


@pytest.mark.parametrize("odd", [{"channels": 1 << 40}, {"channels": -1}, {"sample_rate": -8000}], ids=str)
def test_impossible_audio_is_left_out(small: Bucket, tmp_path: Path, odd: dict[str, int]) -> None:
    """A sidecar with an impossible number of channels or rate costs its recording alone."""
    one, two, *_ = of(sidecars(COUNT), "voice")
    one["media"][0].update(odd)
    place(small, one)
    place(small, two)
    ran = export(small, tmp_path, "--lhotse", "--allow-missing", "--json")
    assert (ran.code, ran.document["recordings"]) == (3, 1)


def test_a_recording_without_media_is_left_out(small: Bucket, tmp_path: Path) -> None:
    """A sidecar that names no media costs its recording alone."""
    one, two, *_ = of(sidecars(COUNT), "voice")
    place(small, one)
    place(small, two)
    small.place(key_of(one), encoded({**one, "media": []}))
    ran = export(small, tmp_path, "--lhotse", "--allow-missing", "--json")
    assert (ran.code, ran.document["recordings"]) == (3, 1)


def test_a_sidecar_that_is_overwritten_meanwhile_is_left_out(small: Bucket, tmp_path: Path) -> None:
    """A sidecar that is no longer JSON when it is copied is told as not as archived."""
    one, two, *_ = of(sidecars(COUNT), "voice")
    place(small, one)
    place(small, two)
    with Archive(f"s3://{small.name}", endpoint_url=small.url, region="us-east-1", catalog=False) as archive:
        found = list(archive.recordings())
        small.place(key_of(one), b"\xff{")
        done = write_bag(archive, found, tmp_path, name="a", selection="all", now=datetime.now(UTC))
    assert ([each.recording_id for each in done.failed], done.recordings) == ([one["recording_id"]], 1)
