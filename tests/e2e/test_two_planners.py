"""Several machines without a cluster: each with its own ledger and time windows, into one bucket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from cli.commands import run
from recvault.simulator import Simulator
from rig import Rig


def test_two_machines_with_their_own_windows_archive_all_once(rig: Rig, simulator: Simulator, tmp_path: Path) -> None:
    """Two machines at the same time fetch each recording once, even at the common bound of their windows."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=60, conference_share=0)
    rig.add_source("voice", "twilio", account)
    truth = simulator.truth(account)
    bound = sorted(each.created_at for each in truth)[30]
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
    machines = [replace(rig, root=root) for root in roots]
    windows = [["--until", bound.isoformat()], ["--since", bound.isoformat()]]
    with ThreadPoolExecutor(2) as pool:
        ran = list(
            pool.map(
                lambda each: run(each[0], "backfill", "--source", "voice", "--json", *each[1]),
                zip(machines, windows, strict=True),
            )
        )
    assert [each.code for each in ran] == [0, 0], [each.stderr for each in ran]
    archived = [each.document["sources"][0]["archived"] for each in ran]
    assert (sum(archived), min(archived) > 0) == (60, True)
    media = [each.path for each in simulator.requests if each.path.endswith(".wav")]
    assert (len(media), len(set(media))) == (60, 60)
    objects, sidecars = rig.objects(), rig.sidecars()
    for recording in truth:
        [medium] = sidecars[recording.recording_id]["media"]
        assert objects[medium["key"]] == simulator.media(recording, "wav").read()


def test_windows_that_overlap_archive_nothing_twice(rig: Rig, simulator: Simulator, tmp_path: Path) -> None:
    """With overlapping windows the second ledger finds existing recordings in the bucket, and stores nothing twice."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=12, conference_share=0)
    rig.add_source("voice", "twilio", account)
    assert rig.sync().exit_code == 0
    before = rig.objects()
    other = replace(rig, root=tmp_path / "other")
    other.root.mkdir()
    report = other.sync()
    [row] = report.accounts.values()
    assert (row.archived, row.already_archived) == (0, 12)
    assert rig.objects() == before
