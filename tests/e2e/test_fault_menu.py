"""Every fault of the menu on every provider, at one request in twenty: repeated passes reach the truth.

RECVAULT_TEST_RECORDINGS sets how many recordings each provider has; the full measure is 1,000:

    RECVAULT_TEST_RECORDINGS=1000 pytest -n 0 -s tests/e2e/test_fault_menu.py
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from recvault import archive
from recvault.app import wiring
from recvault.http import Timing
from recvault.monitoring.report import Report
from recvault.providers import BUILT_IN, provider_class
from recvault.simulator import MENU, Simulator, Switches
from rig import SOURCES, Rig, now, sha256
from strict_s3 import StrictS3

pytestmark = pytest.mark.long

COUNT = int(os.environ.get("RECVAULT_TEST_RECORDINGS", "40"))
SHARE = 0.05
PAGE = 100 if COUNT >= 500 else 15  # rows a page, so that there are several pages
MOST_PASSES = 60
APIS = {"voice": "twilio", "video": "twilio", "telnyx": "telnyx", "signalwire": "signalwire"}


def test_under_every_fault_each_recording_stands_in_the_bucket_once(
    tmp_path: Path, strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeated syncs end with exit 0 and each final recording once in the bucket, byte for byte, with its sidecar."""
    monkeypatch.setattr(wiring, "Timing", functools.partial(Timing, backoff_base=0.01))
    for each in BUILT_IN:
        monkeypatch.setattr(provider_class(each), "page_size", PAGE)
    bucket = strict_s3.bucket()
    with Simulator(seed=11, switches=Switches(stall_seconds=1.5)) as simulator:
        rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=bucket.name)
        rig.transfer = {"stall_timeout": "1s", "workers": 16, "max_attempts": 40}
        accounts = {kind: simulator.add_account(kind) for kind in ("twilio", "telnyx", "signalwire")}
        for api, kind in APIS.items():
            simulator.populate(accounts[kind], api, count=COUNT, encrypted_share=0.0 if kind != "twilio" else 0.1)
        simulator.populate(accounts["twilio"], "voice", count=COUNT)  # the legacy list's share
        for name, (provider, kind) in SOURCES.items():
            rig.add_source(name, provider, accounts[kind])
        for fault in MENU:
            simulator.faults.share(fault, SHARE)
            simulator.faults.plan(fault)  # at least once, even with few requests

        began = time.monotonic()
        passes = 0
        report: Report | None = None
        while report is None or report.exit_code != 0:
            passes += 1
            assert passes <= MOST_PASSES, report and report.document()
            ahead = timedelta(seconds=2 * passes)  # so that failed ones are due again
            report = rig.sync(lambda ahead=ahead: now() + ahead)
        print(f"\n{passes} passes, {time.monotonic() - began:.0f} s, faults {dict(simulator.faults.fired)}")
        assert simulator.faults.unfired() == []
        simulator.faults.off()

        check_truth(rig, accounts, {key: bucket.body(key) for key in list(bucket.objects)})
        bucket.clear_counts()
        simulator.clear_requests()
        again = rig.sync()
        assert again.exit_code == 0
        assert not bucket.writes, "a further pass wrote"
        assert simulator.count(lambda each: each.path.endswith((".wav", ".mp3", "/Media", ".mka", ".mkv"))) == 0


def check_truth(rig: Rig, accounts: dict[str, object], objects: dict[str, bytes]) -> None:
    """Compare the bucket with what the providers would serve."""
    validator = jsonschema.Draft202012Validator(json.loads(archive.schema_bytes()))
    truth = {each.recording_id: each for account in accounts.values() for each in rig.simulator.truth(account)}
    keys = [key for key in objects if key.endswith(".json") and key != archive.SCHEMA_KEY]
    sidecars = {key: json.loads(objects[key]) for key in keys}
    archived = Counter(document["recording_id"] for document in sidecars.values())
    assert archived == Counter(truth.keys())
    for key, document in sidecars.items():
        validator.validate(document)
        recording = truth[document["recording_id"]]
        assert key == document["media"][0]["key"].rpartition(".")[0] + ".json"
        for medium in document["media"]:
            body = objects[medium["key"]]
            # By the legacy list, which has no channels, a conference has the default number.
            legacy = document["api"] == "2008-08-01"
            channels = recording.default_channels if legacy else recording.channels
            served = rig.simulator.media(recording, medium["media_format"], channels)
            assert (medium["sha256"], medium["bytes"]) == (sha256(body), len(body))
            assert sha256(body) == served.sha256, f"{medium['key']} differs from what was served"
    named = {medium["key"] for document in sidecars.values() for medium in document["media"]}
    late = [key for key in objects if key.startswith("calls/")]
    told = Counter(json.loads(line)["recording_id"] for key in late for line in objects[key].splitlines())
    told.update(document["recording_id"] for document in sidecars.values() if "call" in document)
    assert set(told) <= set(truth) and set(told.values()) <= {1}, "a call is told twice"
    assert set(objects) - named - set(sidecars) - set(late) == {archive.SCHEMA_KEY}, "something else in the bucket"
