"""The providers beyond the first five, end to end: lists in windows, tokens of a second, one request in 20 faulty."""

from __future__ import annotations

import functools
from datetime import timedelta
from pathlib import Path

import pytest

from recvault.app import wiring
from recvault.http import Timing
from recvault.monitoring.report import Report
from recvault.providers.bandwidth import Bandwidth
from recvault.simulator import Simulator, Switches
from recvault.simulator.recording import Api
from recvault.simulator.world import Service
from rig import Rig, now
from strict_s3 import StrictS3

COUNT = 200
EVERY = timedelta(hours=17)  # so that they are spread over five months
MOST_PASSES = 60
KINDS: dict[str, tuple[Service, Api]] = {
    "plivo": ("plivo", "plivo"),
    "bandwidth": ("bandwidth", "bandwidth"),
    "ringcentral": ("ringcentral", "ringcentral"),
}


@pytest.mark.parametrize("provider", KINDS)
def test_each_recording_is_archived_once(
    provider: str, tmp_path: Path, strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeated syncs end with each recording once in the bucket, byte for byte; a further pass moves nothing."""
    monkeypatch.setattr(wiring, "Timing", functools.partial(Timing, backoff_base=0.001))
    monkeypatch.setattr(Bandwidth, "page_size", 30)  # as the simulated one, so that lists are full
    bucket, (kind, api) = strict_s3.bucket(), KINDS[provider]
    with Simulator(seed=11, switches=Switches(stall_seconds=1.5, bandwidth_most=30, token_seconds=1)) as simulator:
        rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=bucket.name)
        rig.transfer = {"stall_timeout": "1s", "workers": 8, "max_attempts": 40}
        account = simulator.add_account(kind)
        simulator.populate(account, api, count=COUNT, every=EVERY)
        rig.add_source("main", provider, account)
        simulator.faults.all_on(0.05)

        report = sync_until_done(rig)

        assert report.exit_code == 0
        simulator.faults.off()
        sidecars, objects = rig.sidecars(), rig.objects()
        truth = {each.recording_id: each for each in simulator.truth(account)}
        assert (len(truth), set(sidecars)) == (COUNT, set(truth))
        media = [medium for document in sidecars.values() for medium in document["media"]]
        assert len(media) == COUNT == len({medium["key"] for medium in media})
        for name, document in sidecars.items():
            (medium,) = document["media"]
            assert objects[medium["key"]] == simulator.media(truth[name], truth[name].formats[0]).read()

        tokens = [header.removeprefix("Bearer ") for header in simulator.tokens]
        assert (len(tokens) > 1) == (provider == "ringcentral")
        kept = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*") if path.is_file()) + b"".join(
            objects.values()
        )
        assert not any(token.encode() in kept for token in tokens), "a token is in the ledger or in the bucket"

        bucket.clear_counts()
        simulator.clear_requests()
        assert rig.sync().exit_code == 0
        assert not bucket.writes, "a further pass wrote"
        assert simulator.count(lambda each: each.path.endswith((".wav", ".mp3", "/media", "/content"))) == 0


def sync_until_done(rig: Rig) -> Report:
    """Sync until nothing is left, each pass a little later, so that failed ones are due again."""
    for number in range(MOST_PASSES):
        report = rig.sync(lambda ahead=timedelta(seconds=2 * number): now() + ahead)  # type: ignore[misc]
        if report.exit_code == 0:
            return report
    raise AssertionError(report.document())
