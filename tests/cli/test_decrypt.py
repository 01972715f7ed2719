"""`recvault decrypt` writes verified plaintext, readable only by its owner, or nothing."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import forked
from cli.commands import PATIENCE, arguments, environment, on_terminal, run, run_each
from cli.conftest import Archive
from operations.decrypt.conftest import SealedRig
from operations.decrypt.keypairs import key_file


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_to_a_file(archive: Archive, tmp_path: Path) -> None:
    """The plaintext is complete, readable only by its owner, with nothing else left over or on stdout."""
    names = ["call", "old", "track"]
    ran = archive.decrypt_each(*((name, "--output", str(tmp_path / name)) for name in names))
    assert [(each.code, each.stdout) for each in ran] == [(0, "")] * 3, ran
    for name, each in zip(names, ran, strict=True):
        output = tmp_path / name
        assert output.read_bytes() == archive.plain(name)
        assert stat.S_IMODE(output.stat().st_mode) == 0o600
        assert f"{len(archive.plain(name)):,} bytes to {output}" in each.stderr
    assert left(tmp_path) == names


def test_to_a_pipe(archive: Archive) -> None:
    """Without --output the plaintext goes to a pipe byte for byte, and messages to stderr."""
    words = arguments(archive.rig, "decrypt", f"video:{archive.recordings['track'].recording_id}")
    rig, pipe = archive.rig, subprocess.PIPE
    with forked.popen(words, environment(rig.root), stdout=pipe, stderr=pipe, cwd=rig.root) as process:
        stdout, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout) == (0, archive.plain("track"))


def test_a_terminal_gets_no_recording(archive: Archive) -> None:
    """On a terminal a file is required, because a terminal would obey control codes."""
    code, shown = on_terminal(archive.rig, "decrypt", archive.recordings["call"].recording_id)
    assert code == 2
    assert "--output" in shown


def test_what_does_not_prove_right_is_not_written(archive: Archive, tmp_path: Path) -> None:
    """A corrupt ciphertext or a missing key exits 3, keeps the existing file, and leaves nothing."""
    output = tmp_path / "recording"
    output.write_text("what stood here")
    rotten, strange, piped = archive.decrypt_each(
        ("rotten", "-o", str(output)), ("strange", "-o", str(output)), ("rotten",)
    )
    assert [(ran.code, ran.stdout) for ran in (rotten, strange, piped)] == [(3, "")] * 3
    assert "differs from its sidecar" in rotten.stderr
    assert "no private key decrypts it" in strange.stderr
    assert (left(tmp_path), output.read_text()) == (["recording"], "what stood here")


def test_a_given_key_and_a_sidecar_are_enough(archive: Archive, tmp_path: Path) -> None:
    """With --key and the sidecar's key, neither a ledger nor configured keys are needed."""
    bare = SealedRig(
        root=tmp_path, simulator=archive.rig.simulator, s3_url=archive.rig.s3_url, bucket=archive.rig.bucket
    )
    bare.sources = [{name: value for name, value in archive.rig.sources[0].items() if name != "private_keys"}]
    sidecar, key, output = archive.key("strange", "json"), key_file(tmp_path, 2), tmp_path / "out.wav"
    loose = tmp_path / "loose.pem"
    loose.write_bytes(key.read_bytes())
    loose.chmod(0o644)
    opened, keyless, refused = run_each(
        bare,
        ["decrypt", sidecar, "--key", str(key), "-o", str(output)],
        ["decrypt", sidecar, "-o", str(tmp_path / "other.wav")],
        ["decrypt", sidecar, "--key", str(loose), "-o", str(tmp_path / "other.wav")],
    )
    assert (opened.code, keyless.code, refused.code) == (0, 78, 78), opened.stderr
    assert output.read_bytes() == archive.plain("strange")
    assert "source voice has no private_keys" in keyless.stderr
    assert f"--key: {loose} can be read by everyone" in refused.stderr
    assert not (tmp_path / "ledger.db").exists()
    assert not (tmp_path / "other.wav").exists()


def test_what_cannot_be_decrypted_is_told(archive: Archive, tmp_path: Path) -> None:
    """Not encrypted, not archived, unknown, not writable: each has its message, and writes nothing."""
    output = str(tmp_path / "out")
    expected = (
        (("open", "-o", output), 2, f"read it directly: {archive.key('open')}"),
        (("pending", "-o", output), 2, "is not archived"),
        (("call", "-o", str(tmp_path / "none" / "out")), 2, f"mkdir -p {tmp_path}/none"),
        (("call", "-o", str(tmp_path / ("n" * 300))), 2, "cannot be written: File name too long"),
        (("call", "-o", str(tmp_path)), 2, "is not a regular file"),
    )
    for (_, code, said), ran in zip(expected, archive.decrypt_each(*(words for words, _, _ in expected)), strict=True):
        assert ran.code == code, ran.stderr
        assert said in ran.stderr
    assert left(tmp_path) == []


def without(root: Path, *libraries: str) -> str:
    """Return a PYTHONPATH on which these libraries cannot be imported."""
    for library in libraries:
        (root / library).mkdir(parents=True)
        (root / library / "__init__.py").write_text(f'raise ImportError("No module named {library!r}")\n')
    return os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_what_is_not_installed_is_told_with_what_to_type(archive: Archive, tmp_path: Path) -> None:
    """A missing extra is named by `check` with the command to install it; nothing else needs it."""
    path = without(tmp_path / "without", "av", "cryptography")
    archive.rig.transfer["media_proof"] = "full"
    try:
        ran = run(archive.rig, "check", "--offline", "--json", PYTHONPATH=path)
    finally:
        del archive.rig.transfer["media_proof"]
    hints = {each["name"]: each["hint"] for each in ran.document["checks"] if not each["ok"]}
    assert ran.code == 78
    assert hints["media proof"] == "pip install 'recvault[verify]'"
    assert hints["source voice: private keys"] == "pip install 'recvault[crypto]'"
    keys = {name: source.pop("private_keys") for source in archive.rig.sources for name in [source["name"]]}
    try:
        ran = run(archive.rig, "check", "--offline", "--json", PYTHONPATH=path)
    finally:
        for source in archive.rig.sources:
            source["private_keys"] = keys[source["name"]]
    assert ran.code == 0, json.dumps(ran.document)


def test_check_says_which_proof_is_in_use(archive: Archive) -> None:
    """`check` states how media are proven, and how many keys decrypt each source's recordings."""
    checks = {
        each["name"]: each["detail"] for each in run(archive.rig, "check", "--offline", "--json").document["checks"]
    }
    assert checks["media proof"].startswith("basic: ")
    assert checks["source voice: private keys"].startswith("2 to decrypt ")
