"""Manifests for Lhotse, with the audio beside them.

recordings.jsonl.gz     for lhotse.RecordingSet: one line a recording
supervisions.jsonl.gz   for lhotse.SupervisionSet: one line a channel, with the call's facts as custom fields
audio/PROVIDER/…        the audio, under paths relative to the folder
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recvault.archive import escape
from recvault.errors import NotAsArchived
from recvault.exporting.export_folder import Exported
from recvault.exporting.spreadsheet import COLUMNS
from recvault.reading.recordings import ArchivedMedium, ArchivedRecording

_CHANNELS = 1_024  # at most


def write_lhotse(recordings: Iterable[ArchivedRecording], folder: Path) -> Exported:
    """Fill a folder. What is not as archived, or is no audio with a known length, is left out and told."""
    done = Exported()
    with (
        gzip.open(folder / "recordings.jsonl.gz", "wt", encoding="utf-8") as audio,
        gzip.open(folder / "supervisions.jsonl.gz", "wt", encoding="utf-8") as speech,
    ):
        for recording in recordings:
            try:
                medium = _readable(recording)
                path = _path(recording, medium)
                place = folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                medium.download(place)
            except (NotAsArchived, ValueError) as error:
                done.left_out(recording, error.message if isinstance(error, NotAsArchived) else str(error))
                continue
            print(json.dumps(_recording(recording, medium, path)), file=audio)
            for each in _supervisions(recording, medium):
                print(json.dumps(each), file=speech)
            done.wrote(recording, [medium])
    return done


def _readable(recording: ArchivedRecording) -> ArchivedMedium:
    """Return the medium to export. Raises ValueError with a reason why there is none."""
    if recording.encrypted:
        raise ValueError("it is encrypted: Lhotse could not read it")
    if not recording.media:
        raise ValueError("it has no media")
    medium = recording.medium()
    if not all((each or 0) > 0 for each in (medium.sample_rate, medium.channels, medium.duration_seconds)):
        raise ValueError("its sample rate, channels or duration were not measured")
    if (medium.channels or 0) > _CHANNELS:
        raise ValueError(f"no audio has {medium.channels:,} channels")
    return medium


def _path(recording: ArchivedRecording, medium: ArchivedMedium) -> str:
    names = (recording.provider, recording.account_id, recording.recording_id)
    return f"audio/{'/'.join(map(escape, names))}.{escape(medium.media_format)}"


def _name(recording: ArchivedRecording) -> str:
    return "/".join(recording.identity)


def _recording(recording: ArchivedRecording, medium: ArchivedMedium, path: str) -> dict[str, Any]:
    channels = list(range(medium.channels or 0))
    rate, duration = medium.sample_rate or 0, medium.duration_seconds or 0.0
    return {
        "id": _name(recording),
        "sources": [{"type": "file", "channels": channels, "source": path}],
        "sampling_rate": rate,
        "num_samples": round(duration * rate),
        "duration": round(duration * rate) / rate,
        "channel_ids": channels,
    }


def _supervisions(recording: ArchivedRecording, medium: ArchivedMedium) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{_name(recording)}-{channel}",
            "recording_id": _name(recording),
            "start": 0.0,
            "duration": medium.duration_seconds,
            "channel": channel,
            "custom": {name: recording.row[name] for name in COLUMNS},
        }
        for channel in range(medium.channels or 0)
    ]
