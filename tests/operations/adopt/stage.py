"""A source whose recordings a script has laid into a bucket of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from recvault.models import Window
from recvault.operations.adopt import Adopt, Adopted
from recvault.operations.reconcile import reconcile
from recvault.simulator import SimAccount, Switches
from recvault.simulator.recording import SimRecording
from rig import Rig
from strict_s3 import Bucket

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=4)
SECONDS = 6.0  # 96 KB of WAV: samples of it are half


@dataclass
class Stage:
    """One source, and the foreign bucket."""

    rig: Rig
    theirs: Bucket
    account: SimAccount
    recordings: list[SimRecording] = field(default_factory=list)

    def add(self, count: int, **details: Any) -> list[SimRecording]:
        """Make recordings, and return them."""
        begun = len(self.recordings)
        api = next(iter(details.pop("api", None) or self.account.shelves))
        for number in range(begun, begun + count):
            made = self.rig.simulator.add(
                self.account,
                api,
                **{"created_at": OLD + timedelta(minutes=number), "duration_seconds": SECONDS, **details},
            )
            self.recordings.append(made)
        return self.recordings[begun:]

    def media(self, recording: SimRecording, media_format: str = "wav") -> bytes:
        """Return what the provider serves."""
        return self.rig.simulator.media(recording, media_format, recording.channels).read()

    def lay(self, recording: SimRecording, body: bytes | None = None, media_format: str = "wav") -> str:
        """Lay an object into the foreign bucket, as a script names it; return its key."""
        key = f"export/{recording.created_at:%Y/%m}/agent 7+1/{recording.recording_id}.{media_format}"
        self.theirs.place(key, self.media(recording, media_format) if body is None else body)
        return key

    def register(self) -> None:
        """List the source and register what it has, without a transfer."""
        with self.rig.runtime(lambda: NOW) as runtime:
            reconcile(runtime, ["acme"], Window(since=OLD - timedelta(days=1)))

    def row(self, recording: SimRecording) -> dict[str, Any]:
        """Return the ledger's row."""
        with self.rig.runtime(lambda: NOW) as runtime:
            [row] = runtime.ledger.ask.find(recording.recording_id)
            return row

    def adopt(self, prefix: str = "export/", **options: Any) -> Adopted:
        """Run the adoption in this process."""
        with self.rig.runtime(lambda: NOW) as runtime:
            return Adopt(runtime, "acme", self.theirs.name, prefix, **options).run()

    def served(self) -> int:
        """Return how often media were requested from the provider."""
        return self.rig.simulator.count(lambda request: request.path.endswith((".wav", ".mp3")))


def staged(rig: Rig, theirs: Bucket, **options: Any) -> Stage:
    """A Twilio source that serves ranges."""
    rig.simulator.set_now(NOW)
    rig.simulator.switches = Switches(voice_media_range=True)
    account = rig.simulator.add_account("twilio")
    rig.add_source("acme", "twilio", account, **options)
    return Stage(rig, theirs, account)
