"""One populated world for all tests that only read it, as each process takes a second to start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from cli.commands import Ran, run, run_each
from daemon.started import free_port
from operations.decrypt.conftest import T0, SealedRig
from operations.decrypt.keypairs import public_pem
from recvault.simulator import SimRecording, Simulator
from rig import Rig
from strict_s3 import StrictS3

ASKED = (
    "status --json",
    "failures --json",
    "show voice:ARCHIVED --json",
    "show ARCHIVED",
    "show telnyx:ARCHIVED --json",
    "check --json",
    "schema",
)


@dataclass(frozen=True)
class World:
    """A recvault after its first sync, with a recording in each state."""

    rig: Rig
    archived: SimRecording
    failing: SimRecording
    synced: Ran
    asked: dict[str, Ran]  # results by command line


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, strict_s3: StrictS3) -> Iterator[World]:
    """Two sources, one with problems; nothing changes after the sync."""
    with Simulator(seed=11) as simulator:
        root, bucket = tmp_path_factory.mktemp("world"), strict_s3.bucket()
        rig = Rig(root=root, simulator=simulator, s3_url=bucket.url, bucket=bucket.name)
        rig.transfer = {"retry_base": "1h", "retry_max": "2h"}
        rig.daemon = {"metrics_listen": f"127.0.0.1:{free_port()}"}
        voice, telnyx = simulator.add_account("twilio"), simulator.add_account("telnyx")
        archived = simulator.populate(voice, "voice", count=6, conference_share=0)[0]
        failing = simulator.add(voice, "voice", recording_id="RE" + "f" * 32, **_aged(simulator, 30))
        simulator.add(voice, "voice", malformed="bad_date", **_aged(simulator, 31))
        simulator.add(voice, "voice", status_final="absent", **_aged(simulator, 32))
        simulator.add(voice, "voice", external_location="https://theirs.example.com/a.wav", **_aged(simulator, 33))
        simulator.add(voice, "voice", completed_at=simulator.now + timedelta(hours=9), **_aged(simulator, 34))
        simulator.populate(telnyx, "telnyx", count=5)
        simulator.faults.plan("error_body_200", match=failing.recording_id, times=99, kind="media")
        rig.add_source("voice", "twilio", voice)
        rig.add_source("telnyx", "telnyx", telnyx)
        synced = run(rig, "sync", "--json")
        commands = [each.replace("ARCHIVED", archived.recording_id).split() for each in ASKED]
        yield World(rig, archived, failing, synced, dict(zip(ASKED, run_each(rig, *commands), strict=True)))


def _aged(simulator: Simulator, hours: int) -> dict[str, object]:
    created = simulator.now - timedelta(hours=hours)
    return {"created_at": created, "visible_at": created}


@dataclass
class Archive:
    """Encrypted recordings of a call and a room, in a bucket."""

    rig: SealedRig
    recordings: dict[str, SimRecording] = field(default_factory=dict)

    def plain(self, name: str) -> bytes:
        return self.rig.plain(self.recordings[name])

    def key(self, name: str, media_format: str = "wav") -> str:
        [found] = [
            key for key in self.rig.objects() if key.endswith(f"{self.recordings[name].recording_id}.{media_format}")
        ]
        return found

    def decrypt_each(self, *asked: tuple[str, ...]) -> list[Ran]:
        """Decrypt recordings by our names, each with its options."""
        return self.each("decrypt", *asked)

    def each(self, verb: str, *asked: tuple[str, ...]) -> list[Ran]:
        """Run a verb about recordings by our names, each with its options."""
        return run_each(self.rig, *([verb, self.recordings[name].recording_id, *words] for name, *words in asked))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, strict_s3: StrictS3) -> Iterator[Archive]:
    """Calls under three keys, two of them configured; a track; a call that is not encrypted, and a missing one."""
    with pytest.MonkeyPatch.context() as environ, Simulator(seed=17) as simulator:
        environ.setenv("AWS_ACCESS_KEY_ID", "test")
        environ.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
        root, bucket = tmp_path_factory.mktemp("sealed"), strict_s3.bucket().name
        rig = SealedRig(root=root, simulator=simulator, s3_url=strict_s3.url, bucket=bucket)
        simulator.set_now(T0)
        made = Archive(rig)
        rig.opened("voice", 0, 1)
        for name, number in (("strange", 2), ("old", 1), ("call", 0), ("rotten", 0)):
            simulator.seal_for(public_pem(number))
            made.recordings[name] = rig.encrypted()
            simulator.media(made.recordings[name], "wav")  # its key is fixed now
        made.recordings["open"] = rig.encrypted(encrypted=False)
        made.recordings["pending"] = rig.encrypted(completed_at=T0.replace(year=2027))
        rig.opened("video", 0)
        made.recordings["track"] = rig.encrypted()
        rig.sync_at(T0)
        rotten = bytearray(rig.objects()[made.key("rotten")])
        rotten[5000] ^= 1
        rig.s3.put_object(Bucket=bucket, Key=made.key("rotten"), Body=bytes(rotten))
        yield made
