"""A recvault whose provider really encrypts, for a key of ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from operations.decrypt.keypairs import key_file, public_pem
from recvault.simulator import SimRecording, Simulator
from rig import SOURCES, Rig
from strict_s3 import StrictS3

T0 = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)


class SealedRig(Rig):
    """A rig with one source of calls or tracks."""

    api: str

    def opened(self, name: str, *keys: int) -> None:
        """Make an account that encrypts, and a source with these private keys."""
        provider, kind = SOURCES[name]
        self.api = name
        self.account = self.simulator.add_account(kind)  # type: ignore[arg-type]
        self.simulator.seal_for(public_pem(0))
        written = [{"file": str(key_file(self.root, number))} for number in keys]
        self.add_source(name, provider, self.account, **({"private_keys": written} if keys else {}))

    def encrypted(self, **details: object) -> SimRecording:
        """Add a recording, created an hour before T0."""
        kept = {"created_at": T0 - timedelta(hours=1), "encrypted": True, "duration_seconds": 9.0, **details}
        return self.simulator.add(self.account, self.api, **kept)  # type: ignore[arg-type]

    def plain(self, recording: SimRecording) -> bytes:
        """Return the plaintext."""
        return self.simulator.plain(recording, recording.formats[0]).read()


@pytest.fixture
def sealed(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3) -> SealedRig:
    """A recvault whose clock, like the provider's, is frozen at T0."""
    simulator.set_now(T0)
    made = SealedRig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=strict_s3.bucket().name)
    made.transfer = {"workers": 2}
    return made
