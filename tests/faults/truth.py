"""Compare a bucket with the simulator's accounts."""

from __future__ import annotations

import json
from collections.abc import Iterable

import jsonschema

from recvault import archive
from recvault.simulator import SimAccount, Simulator
from rig import sha256
from strict_s3 import Bucket


def assert_the_truth(simulator: Simulator, bucket: Bucket, accounts: Iterable[SimAccount]) -> int:
    """Check that each recording is stored once, byte for byte as served, with its sidecar, and nothing else is.

    Returns how many there are.
    """
    truth = {r.recording_id: r for account in accounts for r in simulator.truth(account)}
    validator = jsonschema.Draft202012Validator(json.loads(archive.schema_bytes()))
    objects = bucket.objects
    sidecars = {key: bucket.body(key) for key in objects if key.endswith(".json") and key != archive.SCHEMA_KEY}
    named = set()
    for body in sidecars.values():
        sidecar = json.loads(body)
        validator.validate(sidecar)
        recording = truth[sidecar["recording_id"]]
        [medium] = sidecar["media"]
        channels = recording.default_channels if sidecar["api"] == "2008-08-01" else recording.channels
        served = simulator.media(recording, medium["media_format"], channels)
        assert (medium["sha256"], medium["bytes"]) == (served.sha256, served.length)
        assert sha256(bucket.body(medium["key"])) == served.sha256
        named.add(medium["key"])
    assert sorted(json.loads(body)["recording_id"] for body in sidecars.values()) == sorted(truth), "lost or duplicated"
    late = {key for key in objects if key.startswith("calls/")}
    told = [json.loads(line)["recording_id"] for key in late for line in bucket.body(key).splitlines()]
    in_sidecars = [each["recording_id"] for each in map(json.loads, sidecars.values()) if "call" in each]
    assert len(set(told)) == len(told) and set(told) <= truth.keys() - set(in_sidecars), "a call told twice"
    assert objects.keys() == named | sidecars.keys() | late | {archive.SCHEMA_KEY}, "an orphan"
    assert {key: times for key, times in bucket.writes.items() if times > 1 and key != archive.SCHEMA_KEY} == {}
    assert bucket.uploads == {}
    return len(truth)
