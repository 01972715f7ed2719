"""`recvault get` writes a recording's bytes once they are verified against its sidecar, or nothing."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

import forked
from cli.commands import PATIENCE, arguments, environment, on_terminal, run_each
from cli.conftest import Archive, World
from operations.decrypt.keypairs import key_file
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import Bucket


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def medium_of(rig: Rig, recording_id: str) -> str:
    """Return the key of a recording's first medium."""
    return str(rig.sidecars()[recording_id]["media"][0]["key"])


def test_to_a_file_to_a_directory_and_beside_us(world: World, tmp_path: Path) -> None:
    """The object's bytes are written, readable only by their owner; a default file name is never replaced."""
    id_, body = world.archived.recording_id, world.rig.objects()[medium_of(world.rig, world.archived.recording_id)]
    (tmp_path / "there").mkdir()
    named, placed = run_each(
        world.rig, ["get", id_, "-o", str(tmp_path / "a.wav")], ["get", id_, "-o", str(tmp_path / "there")]
    )
    command, told = arguments(world.rig, "get", id_), environment(world.rig.root)
    beside, again = (forked.run(command, told, tmp_path, PATIENCE) for _ in range(2))
    assert [named.code, placed.code, beside[0], again[0]] == [0, 0, 0, 2], (named, placed, beside)
    written = [tmp_path / "a.wav", tmp_path / "there" / f"{id_}.wav", tmp_path / f"{id_}.wav"]
    assert [path.read_bytes() for path in written] == [body] * 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert f"{id_}: {len(body):,} bytes to {tmp_path / 'a.wav'}, sha256 " in named.stderr
    assert f"{id_}.wav exists: use --output PATH" in again[2]


def test_to_a_pipe_and_not_to_a_terminal(world: World) -> None:
    """With `-` stdout has only the bytes; to a terminal nothing is written."""
    id_ = world.archived.recording_id
    words, pipe = arguments(world.rig, "get", id_, "--output", "-"), subprocess.PIPE
    with forked.popen(words, environment(world.rig.root), stdout=pipe, stderr=pipe, cwd=world.rig.root) as process:
        stdout, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout) == (0, world.rig.objects()[medium_of(world.rig, id_)])
    code, shown = on_terminal(world.rig, "get", id_, "-o", "-")
    assert (code, "refusing to write a recording to a terminal" in shown) == (2, True)


@pytest.mark.parametrize("harm", ["another byte", "cut short", "longer", "gone", "another sidecar"])
def test_what_does_not_prove_right_is_not_written(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, tmp_path: Path, harm: str
) -> None:
    """Wrong bytes or a wrong sidecar are exit code 3; an existing file stays, and nothing is left over."""
    account = simulator.add_account("twilio")
    [made] = simulator.populate(account, "voice", count=1, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.sync()
    key = medium_of(rig, made.recording_id)
    body = strict_bucket.body(key)
    spoilt = {"another byte": body[:-1] + bytes([body[-1] ^ 1]), "cut short": body[:-1], "longer": body + b"x"}
    if harm in spoilt:
        strict_bucket.place(key, spoilt[harm])
    elif harm == "gone":
        del strict_bucket.objects[key]
    else:
        sidecar = key.replace(".wav", ".json")
        strict_bucket.place(
            sidecar, strict_bucket.body(sidecar).replace(b'"status":"completed"', b'"status":"Completed"')
        )
    there = tmp_path / "there"
    there.mkdir()
    (there / "a.wav").write_text("what stood here")
    ran, piped = run_each(
        rig, ["get", made.recording_id, "-o", str(there / "a.wav")], ["get", made.recording_id, "-o", "-"]
    )
    assert (ran.code, piped.code, piped.stdout) == (3, 3, ""), ran
    assert "run `recvault verify`" in ran.stderr
    assert (left(there), (there / "a.wav").read_text()) == (["a.wav"], "what stood here")


def test_a_format_can_be_chosen(rig: Rig, simulator: Simulator, tmp_path: Path) -> None:
    """A format can be chosen; for one that is not archived the error lists those that are."""
    account = simulator.add_account("twilio")
    [made] = simulator.populate(account, "voice", count=1, conference_share=0)
    rig.add_source("voice", "twilio", account, formats=["wav", "mp3"])
    rig.sync()
    keys = {each["media_format"]: each["key"] for each in rig.sidecars()[made.recording_id]["media"]}
    ran = run_each(
        rig,
        *(["get", made.recording_id, "--format", each, "-o", str(tmp_path / each)] for each in ("wav", "mp3", "ogg")),
    )
    assert [each.code for each in ran] == [0, 0, 2]
    assert {each: (tmp_path / each).read_bytes() for each in keys} == {
        each: rig.objects()[key] for each, key in keys.items()
    }
    assert "is not archived as ogg" in ran[2].stderr and "wav, mp3" in ran[2].stderr


def test_what_is_encrypted_is_decrypted_with_a_key(archive: Archive, tmp_path: Path) -> None:
    """With a configured or given key it is decrypted; without one the ciphertext is verified and named as such."""
    names = ["call", "old", "track", "open"]
    ran = archive.each("get", *((name, "-o", str(tmp_path / name)) for name in names))
    assert [each.code for each in ran] == [0] * 4, ran
    assert {name: (tmp_path / name).read_bytes() for name in names} == {name: archive.plain(name) for name in names}
    key = str(key_file(tmp_path, 2))
    wrong, given, rotten = archive.each(
        "get",
        ("strange", "-o", str(tmp_path / "wrong")),
        ("strange", "-o", str(tmp_path / "given"), "--key", key),
        ("rotten", "-o", str(tmp_path / "rotten")),
    )
    assert [wrong.code, given.code, rotten.code] == [3, 0, 3]
    assert (tmp_path / "given").read_bytes() == archive.plain("strange")
    assert not (tmp_path / "wrong").exists() and not (tmp_path / "rotten").exists()
    archive.rig.sources[0] = {name: value for name, value in archive.rig.sources[0].items() if name != "private_keys"}
    (sealed,) = archive.each("get", ("strange", "-o", str(tmp_path / "sealed")))
    assert (tmp_path / "sealed").read_bytes() == archive.rig.objects()[archive.key("strange")]
    assert (sealed.code, "it is encrypted, and voice has no private_keys" in sealed.stderr) == (0, True)


def test_what_cannot_be_fetched_is_told(world: World, tmp_path: Path) -> None:
    """A recording that is not archived or unknown, or a missing directory, is an error, and nothing is written."""
    id_, output = world.archived.recording_id, str(tmp_path / "out")
    failing, unknown, nowhere = run_each(
        world.rig,
        ["get", world.failing.recording_id, "-o", output],
        ["get", "nothing", "-o", output],
        ["get", id_, "-o", str(tmp_path / "none" / "out")],
    )
    assert (failing.code, unknown.code, nowhere.code) == (2, 2, 2)
    none = tmp_path / "none"
    assert nowhere.stderr == f"recvault: {none} is not a directory: nothing was written\n  mkdir -p {none}\n"
    assert "is not archived: it is failing" in failing.stderr and "no recording nothing" in unknown.stderr
    assert left(tmp_path) == []
