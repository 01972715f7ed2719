"""`recvault prune` as operators and scripts see it."""

from __future__ import annotations

import json

from cli.commands import run
from operations.prune.lab import archived, away
from rig import Rig


def test_the_command(rig: Rig) -> None:
    """A dry run, then a run with a limit, then the rest; each says what it did, and exits with 0."""
    account = archived(rig, 3)
    words = ["prune", "--source", "acme", "--older-than", "30d"]
    dry = run(rig, *words, "--dry-run")
    assert (dry.code, dry.stdout.split(":")[0]) == (0, "3 of 3 recordings would be deleted at the provider")
    first = run(rig, *words, "--limit", "2", "--json")
    assert (first.code, first.document["deleted"], first.document["limit_reached"]) == (0, 2, True)
    rest = run(rig, *words)
    assert (rest.code, rest.stdout.split(":")[0]) == (0, "1 of 1 recordings are deleted at the provider")
    assert len(away(rig.simulator, account)) == 3
    told = [json.loads(body) for key, body in rig.objects().items() if key.startswith("events/")]
    assert [(each["act"], each["source"]) for each in told] == [("prune", "acme")] * 2  # none of the dry run


def test_why_recordings_stay(rig: Rig) -> None:
    """Each reason is told in a sentence, with how many."""
    archived(rig, 2)
    key = next(key for key in rig.objects() if key.endswith(".wav"))
    rig.s3.delete_object(Bucket=rig.bucket, Key=key)
    ran = run(rig, "prune", "--source", "acme", "--older-than", "30d")
    assert "1 stay: objects are not in the bucket: run `recvault verify`" in ran.stderr


def test_an_age_must_be_a_duration(rig: Rig) -> None:
    """A wrong age or source is wrong usage."""
    archived(rig, 1)
    for age in ("30", "0s", "soon"):
        assert run(rig, "prune", "--source", "acme", "--older-than", age).code == 2
    assert run(rig, "prune", "--source", "other", "--older-than", "30d").code == 2
