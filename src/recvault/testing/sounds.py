"""Media for a test's server: valid for their container, and different for each key."""

from __future__ import annotations

from recvault.simulator.matroska import matroska
from recvault.simulator.media import Noise, mp3, wav

FORMATS = ("wav", "mp3", "mka", "mkv")


def sound(media_format: str, key: str = "", *, seconds: float = 0.5, channels: int = 1) -> bytes:
    """Make a recording of noise: the same bytes for the same arguments, others for another key."""
    if media_format not in FORMATS:
        raise ValueError(f"sound() makes {', '.join(FORMATS)}, not {media_format!r}: serve a file of your own")
    noise = Noise(0, key)
    if media_format in {"mka", "mkv"}:
        return matroska(noise, seconds, media_format).read()
    return (wav if media_format == "wav" else mp3)(noise, seconds, channels).read()
