"""Single bits flipped between a provider and recvault, without TLS: which are detected, and which cannot be.

Lengths and containers show flips in themselves; a flipped bit of sound is another sound. So these tests also measure:
the shares that they require are those in the README.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from faults.proxy import Flip, Proxy
from recvault.errors import MediaRejected
from recvault.media import Prober
from recvault.simulator import Simulator
from rig import SOURCES, START, Rig, sha256
from strict_s3 import Bucket, StrictS3

SECONDS = 20.0
_FLIPS = 1000
SHARES = {"wav": (0.0, 0.001), "mp3": (0.002, 0.02), "mka": (0.0, 0.01), "mkv": (0.0, 0.005)}  # seen: least, most
_WAV_UNSEEN = {  # bytes of a WAV's head with undetectable bits: the kind of sound, not its amount
    **dict.fromkeys(range(4, 7), "how much there is beside the audio: noted, as the audio is whole by its own size"),
    **dict.fromkeys(range(20, 24), "format and channels"),
    **dict.fromkeys(range(24, 26), "a sample rate a little off"),
    **dict.fromkeys(range(28, 32), "bytes a second"),
    **dict.fromkeys(range(32, 34), "bytes a frame"),
    **dict.fromkeys(range(34, 36), "bits a sample"),
}


@pytest.fixture
def bucket(strict_s3: StrictS3) -> Bucket:
    """An empty bucket, reached directly."""
    return strict_s3.bucket()


@pytest.fixture
def line(simulator: Simulator) -> Iterator[Proxy]:
    """The connection to the provider, on which bits flip."""
    with Proxy(simulator.base_url) as proxy:
        yield proxy


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3, bucket: Bucket) -> Rig:
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=bucket.name)


def verdict(media_format: str, body: bytearray) -> str:
    """Return the verdict on a complete body: `ok`, `suspect` or `refused`."""
    prober = Prober(media_format)
    try:
        prober.feed(body)
        return prober.finish(duration_seconds=SECONDS, size_bytes=None).check.status
    except MediaRejected:
        return "refused"


def with_flip(body: bytearray, media_format: str, bit: int) -> str:
    """Return the verdict on it with this one bit flipped."""
    body[bit // 8] ^= 0x80 >> bit % 8
    try:
        return verdict(media_format, body)
    finally:
        body[bit // 8] ^= 0x80 >> bit % 8


def a_recording(simulator: Simulator, media_format: str) -> bytearray:
    video = media_format in ("mka", "mkv")
    account = simulator.add_account("twilio")
    details = {"formats": (media_format,)} if video else {}
    recording = simulator.add(account, "video" if video else "voice", duration_seconds=SECONDS, **details)  # type: ignore[arg-type]
    return bytearray(simulator.media(recording, media_format).read())


@pytest.mark.parametrize("media_format", SHARES)
def test_what_share_of_flips_is_seen(simulator: Simulator, media_format: str) -> None:
    """Of random flips in a recording only those in its container are detected: the README's share."""
    body, chance = a_recording(simulator, media_format), random.Random(8)
    assert verdict(media_format, body) == "ok"
    seen = Counter(with_flip(body, media_format, chance.randrange(len(body) * 8)) for _ in range(_FLIPS))
    share = 1 - seen["ok"] / _FLIPS
    print(f"{media_format}: {share:.2%} of {_FLIPS} flips seen {dict(seen)}")
    least, most = SHARES[media_format]
    assert least <= share <= most


def test_which_flips_in_the_head_of_a_wav_are_seen(simulator: Simulator) -> None:
    """Every flip in a WAV's names and sizes is detected; in the description of its sound not all can be."""
    body = a_recording(simulator, "wav")
    unseen = {bit // 8 for bit in range(44 * 8) if with_flip(body, "wav", bit) == "ok"}
    assert unseen == set(_WAV_UNSEEN)


@pytest.mark.parametrize(("where", "seen"), [("head", True), ("sound", False)])
def test_a_flip_in_media(rig: Rig, line: Proxy, bucket: Bucket, simulator: Simulator, where: str, seen: bool) -> None:
    """A detected flip costs a second download, and the right bytes are archived; one in the sound is archived."""
    account = simulator.add_account("twilio")
    (recording,) = simulator.populate(account, "voice", count=1, durations=(2.0, 2.0), conference_share=0)
    rig.add_source("voice", "twilio", account, base_url=line.url)
    flip = line.flip(Flip("answer", "body", 41 / 32_044 if where == "head" else 0.5, match=b".wav"))
    assert rig.sync().outcome == "ok"
    assert flip.done
    body = bucket.body(next(key for key in bucket.objects if key.endswith(".wav")))
    truth = simulator.media(recording, "wav").read()
    assert (sha256(body) == sha256(truth)) is seen
    assert rig.sidecars()[recording.recording_id]["media"][0]["checked"]["status"] == "ok"
    assert sum(1 for old, new in zip(truth, body, strict=True) if old != new) == (0 if seen else 1)


@pytest.mark.parametrize("name", SOURCES)
def test_a_flip_in_a_list_loses_nothing(rig: Rig, line: Proxy, bucket: Bucket, simulator: Simulator, name: str) -> None:
    """Whatever bit of a list page flips, every recording is archived correctly after a clean pass."""
    provider, kind = SOURCES[name]
    account, api, chance = (
        simulator.add_account(kind),
        "voice" if name == "legacy" else name,
        random.Random(f"lists of {name}"),
    )  # type: ignore[arg-type]
    rig.add_source(name, provider, account, base_url=line.url)
    moment = START
    for _ in range(4):
        moment += timedelta(minutes=30)
        simulator.populate(
            account,
            api,
            count=5,
            start=moment - timedelta(minutes=10),
            conference_share=0,  # type: ignore[arg-type]
        )
        flip = line.flip(Flip("answer", "body", chance.random(), match=b"GET "))
        rig.sync_at(moment)
        assert flip.done
    for _ in range(2):
        moment += timedelta(minutes=30)
        rig.sync_at(moment)
    truth = {each.recording_id: each for each in simulator.truth(account)}
    sidecars = rig.sidecars()
    assert len(truth) == 20
    assert truth.keys() <= sidecars.keys()
    for recording_id, recording in truth.items():
        (medium,) = sidecars[recording_id]["media"]
        assert medium["sha256"] == simulator.media(recording, medium["media_format"]).sha256
