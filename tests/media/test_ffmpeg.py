"""FFmpeg's check beside our own: where they agree, what only one of them detects, and hostile bytes."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recvault.errors import NotOpened
from recvault.media import MediaFacts, Prober
from recvault.media.assess import Proof, compared
from recvault.media.ffmpeg import CONTAINERS, Packets, _any_tags, walk_packets
from recvault.models import Check
from recvault.simulator.matroska import matroska
from recvault.simulator.media import Noise, mp3, wav

FORMATS = ("wav", "mp3", "mka", "mkv")
UNKNOWN = b"\x01" + b"\xff" * 7  # EBML's unknown size


def body_of(media_format: str, seconds: float, channels: int = 1) -> bytes:
    noise = Noise(7, f"{media_format}/{seconds}")
    if media_format in ("mka", "mkv"):
        return matroska(noise, seconds, media_format).read()
    return (wav if media_format == "wav" else mp3)(noise, seconds, channels).read()


def ours(media_format: str, body: bytes, told: float | None = None) -> MediaFacts:
    prober = Prober(media_format)
    prober.feed(body)
    return prober.finish(duration_seconds=told, size_bytes=None)


def theirs(media_format: str, body: bytes) -> Packets:
    return walk_packets(media_format, io.BytesIO(body), len(body))


def both(media_format: str, body: bytes, told: float | None = None) -> MediaFacts:
    facts = ours(media_format, body, told)
    proof = Proof(packets=True)
    return proof.deepened(facts, media_format, io.BytesIO(body), len(body), encryption=None, duration_seconds=told)


# Agreement


@pytest.mark.parametrize("seconds", [1.0, 7.5, 61.0])
@pytest.mark.parametrize(("media_format", "channels"), [("wav", 1), ("wav", 2), ("mp3", 1), ("mp3", 2)])
def test_calls_measure_the_same(media_format: str, channels: int, seconds: float) -> None:
    """For calls both parsers give the same length, codec, channels and sample rate."""
    body = body_of(media_format, seconds, channels)
    mine, seen = ours(media_format, body), theirs(media_format, body)
    assert (mine.codec, mine.channels, mine.sample_rate) == (seen.codec, seen.channels, seen.sample_rate)
    assert mine.duration_seconds == pytest.approx(seen.seconds, abs=0.001)
    assert seen.fault is None


@pytest.mark.parametrize("seconds", [1.0, 7.5, 61.0])
@pytest.mark.parametrize("media_format", ["mka", "mkv"])
def test_tracks_measure_the_same(media_format: str, seconds: float) -> None:
    """For tracks both agree to a frame, as tracks do not state the last one's length."""
    body = body_of(media_format, seconds)
    mine, seen = ours(media_format, body), theirs(media_format, body)
    assert (mine.codec, mine.channels, mine.sample_rate) == (seen.codec, seen.channels, seen.sample_rate)
    assert mine.duration_seconds == pytest.approx(seen.seconds, abs=0.05)


@pytest.mark.parametrize("media_format", FORMATS)
def test_what_is_sound_is_sound_with_both(media_format: str) -> None:
    """A sound medium stays ok, and its method names both checks."""
    check = both(media_format, body_of(media_format, 5.0), told=5.0).check
    assert (check.status, check.reason) == ("ok", None)
    assert check.method.endswith(", packets")


# Cut short, in every way


@pytest.mark.parametrize("media_format", FORMATS)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_a_cut_is_seen_by_both(media_format: str, share: float) -> None:
    """A medium truncated anywhere is flagged by our parser, and FFmpeg measures what is left."""
    body = body_of(media_format, 20.0)
    body = body[: int(len(body) * share)]
    mine, seen = ours(media_format, body, told=20.0), theirs(media_format, body)
    assert mine.check.status == "suspect"
    assert seen.seconds == pytest.approx(20.0 * share, abs=0.5)
    assert both(media_format, body, told=20.0).duration_seconds == pytest.approx(20.0 * share, abs=0.5)


@pytest.mark.parametrize("media_format", FORMATS)
def test_a_byte_that_lacks_is_seen_by_us_alone(media_format: str) -> None:
    """A single missing byte is detected only by our parser, through the container's sizes."""
    body = body_of(media_format, 5.0)[:-1]
    seen = theirs(media_format, body)
    assert seen.fault is None
    assert seen.seconds == pytest.approx(5.0, abs=0.2)
    assert both(media_format, body, told=5.0).check.status == "suspect"


def test_junk_among_frames_is_seen_by_us_alone() -> None:
    """Junk between frames is detected only by our parser, as FFmpeg resynchronises silently."""
    body = body_of("mp3", 5.0)
    body = body[: 288 * 20] + b"\x00junk" * 9 + body[288 * 20 :]
    assert theirs("mp3", body).fault is None
    assert both("mp3", body, told=5.0).check.status == "suspect"


def test_bytes_behind_the_end_are_seen_by_us_alone() -> None:
    """Bytes after a WAV's end are detected only by our parser."""
    body = body_of("wav", 5.0) + b"more than a pad byte"
    assert theirs("wav", body).fault is None
    assert both("wav", body, told=5.0).check.status == "suspect"


def live(seconds: float, kept: float) -> bytes:
    """A track whose segment states no size, cut between two clusters, with its full length in the header."""
    body = body_of("mkv", seconds)
    whole = body.index(b"\x18\x53\x80\x67")
    cut = [at for at in range(len(body)) if body.startswith(b"\x1f\x43\xb6\x75", at)][int(kept)]
    return body[: whole + 4] + UNKNOWN + body[whole + 12 : cut]


def test_a_live_track_that_is_cut_between_clusters_is_seen_by_ffmpeg_alone() -> None:
    """A live track cut between clusters is detected only by FFmpeg, through its packets."""
    body = live(20.0, kept=10)
    mine = ours("mkv", body, told=20.0)
    assert (mine.check.status, mine.duration_seconds) == ("ok", 20.0)
    facts = both("mkv", body, told=20.0)
    assert (facts.check.status, facts.duration_seconds) == ("suspect", 10.0)
    assert facts.check.reason == (
        "FFmpeg measures 10.00 s, the container 20.00 s; "
        "FFmpeg: truncated: 10.00 s measured, the provider states 20.00 s"
    )


# Judging


FACTS = MediaFacts(
    codec="opus", sample_rate=None, channels=None, duration_seconds=60.0, check=Check(status="ok", method="ebml")
)


@pytest.mark.parametrize(
    ("seconds", "reach", "told", "status"),
    [
        (60.0, 60.0, 60.0, "ok"),
        (58.1, 58.1, 60.0, "ok"),
        (57.9, 57.9, 60.0, "suspect"),
        (62.1, 62.1, 60.0, "suspect"),
        (50.0, 60.0, 60.0, "ok"),  # begins late
        (50.0, 50.0, None, "suspect"),  # the two parsers disagree
        (60.0, 60.0, None, "ok"),
        (None, None, 60.0, "ok"),
    ],
)
def test_lengths_may_differ_by_two_seconds_or_two_percent(
    seconds: float | None, reach: float | None, told: float | None, status: str
) -> None:
    """FFmpeg's length is compared with the provider's and ours, with the same tolerance."""
    facts = compared(FACTS, Packets(seconds=seconds, reach=reach), told)
    assert facts.check.status == status


def test_ffmpeg_names_what_our_walk_cannot() -> None:
    """FFmpeg's facts are added; what it does not state stays."""
    facts = compared(FACTS, Packets(seconds=60.02, reach=60.02, sample_rate=48000, channels=2), 60.0)
    assert (facts.codec, facts.sample_rate, facts.channels, facts.duration_seconds) == ("opus", 48000, 2, 60.02)


def test_what_ffmpeg_cannot_read_is_suspect() -> None:
    """A medium that FFmpeg cannot read is suspect, with our parser's reasons as well."""
    before = MediaFacts(
        codec=None,
        sample_rate=None,
        channels=None,
        duration_seconds=1.0,
        check=Check(status="suspect", method="x", reason="a"),
    )
    check = compared(before, Packets(fault="FFmpeg cannot read it: b"), None).check
    assert (check.status, check.reason) == ("suspect", "a; FFmpeg cannot read it: b")


@pytest.mark.parametrize(("media_format", "body"), [("flac", b"fLaC"), ("wav", b"")])
def test_what_cannot_be_walked_is_left_as_it_is(media_format: str, body: bytes) -> None:
    """Other formats and empty media are not given to FFmpeg."""
    facts = ours(media_format, body, told=0.0)
    proof = Proof(packets=True)
    given = proof.deepened(facts, media_format, io.BytesIO(body), len(body), encryption=None, duration_seconds=0.0)
    assert given == facts


# Hostile bytes


def test_a_playlist_is_not_followed() -> None:
    """A body that would make FFmpeg fetch something is only read as the expected container."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/secret.wav"
            playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\nfile:///etc/passwd\n".encode()
            concat = f"ffconcat version 1.0\nfile {url}\nfile /etc/passwd\n".encode()
            seen = [theirs(name, each).fault for name in FORMATS for each in (playlist, concat)]
        finally:
            server.shutdown()
            thread.join()
    assert all(fault and fault.startswith("FFmpeg cannot read it") for fault in seen)
    assert asked == []


@pytest.mark.parametrize("media_format", FORMATS)
def test_another_container_is_not_guessed(media_format: str) -> None:
    """A body is not read as another container than named."""
    for other in {"wav": "mka", "mp3": "mkv", "mka": "wav", "mkv": "mp3"}[media_format], "wav":
        if CONTAINERS[other] != CONTAINERS[media_format] and (media_format, other) != ("mp3", "wav"):
            assert theirs(media_format, body_of(other, 2.0)).fault is not None


def test_a_walk_comes_to_an_end() -> None:
    """Packets and time are limited."""
    moments = iter(range(0, 10_000_000, 1000))
    seen = walk_packets("mp3", io.BytesIO(body_of("mp3", 60.0)), 100, clock=lambda: float(next(moments)))
    assert seen.fault == "FFmpeg finds no end: 256 packets"
    few = walk_packets("mp3", io.BytesIO(body_of("mp3", 200.0)), 100)  # more packets than this few bytes can hold
    assert few.fault == "FFmpeg finds no end: 1026 packets"


def test_an_error_of_reading_is_its_own() -> None:
    """An error while reading the bytes propagates, and is no fault of the medium."""

    class Breaks:
        def __init__(self) -> None:
            self.body = io.BytesIO(body_of("wav", 60.0))

        def read(self, size: int) -> bytes:
            if self.body.tell() > 200_000:
                raise NotOpened("broken")
            return self.body.read(size)

    with pytest.raises(NotOpened):
        walk_packets("wav", Breaks(), 1 << 20)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A sound body that is cut, overwritten or spliced, or any bytes."""
    media_format = draw(st.sampled_from(FORMATS))
    body = draw(st.sampled_from([body_of(media_format, 0.5), draw(st.binary(max_size=300))]))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 60)))
        body = body[:start] + draw(st.binary(max_size=30)) + body[end:]
    return media_format, body


@settings(deadline=None, max_examples=150)
@given(damaged())
def test_any_bytes(case: tuple[str, bytes]) -> None:
    """Any bytes give facts, never an exception or an impossible length."""
    media_format, body = case
    seen = theirs(media_format, body)
    assert seen.seconds is None or seen.seconds >= 0
    assert seen.fault is None or seen.fault.isprintable()


def test_ffmpeg_says_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    """FFmpeg's own messages about broken media are not printed."""
    for media_format in FORMATS:
        theirs(media_format, body_of(media_format, 3.0)[:5000])
        theirs(media_format, b"\0" * 5000)
    assert capfd.readouterr() == ("", "")


def test_who_does_not_ask_does_not_pay() -> None:
    """Neither FFmpeg nor cryptography is loaded unless configured."""
    code = "import sys, recvault.app.runtime, recvault.cli; print(sorted({'av', 'cryptography'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Whatever PyAV is installed


def tagged(title: bytes) -> bytes:
    """A call with a title before its samples."""
    info = b"INFOINAM" + len(title).to_bytes(4, "little") + title
    whole = body_of("wav", 1.0)
    whole = whole[:36] + b"LIST" + len(info).to_bytes(4, "little") + info + whole[36:]
    return whole[:4] + (len(whole) - 8).to_bytes(4, "little") + whole[8:]


def test_a_tag_in_another_encoding_is_no_fault() -> None:
    """A Latin-1 title is no fault, with every PyAV that pyproject.toml admits."""
    seen = theirs("wav", tagged(b"Gespr\xe4ch"))
    assert (seen.fault, seen.seconds) == (None, pytest.approx(1.0))


@pytest.mark.parametrize("knows_the_option", [True, False])
def test_an_option_of_earlier_releases_is_given_to_those_alone(
    monkeypatch: pytest.MonkeyPatch, knows_the_option: bool
) -> None:
    """metadata_errors is passed only to PyAV releases that accept it, before 19."""
    given: list[dict[str, object]] = []

    class Opened:
        close = staticmethod(lambda: None)

    def opening(file: object, *, mode: str, format: str, **options: object) -> Opened:
        if "metadata_errors" in options and not knows_the_option:
            raise TypeError("open() got an unexpected keyword argument 'metadata_errors'")
        given.append(options)
        return Opened()

    monkeypatch.setattr("recvault.media.ffmpeg.av.open", opening)
    assert _any_tags.__wrapped__() == ({"metadata_errors": "ignore"} if knows_the_option else {})
    assert len(given) == knows_the_option
