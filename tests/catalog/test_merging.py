"""Rows become Parquet files, merged by identity."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from catalog.conftest import ARCHIVED, Merger, line, read, sidecar
from recvault.catalog import merging, spawned
from recvault.catalog.columns import DAYS, RECORDINGS, datapackage
from recvault.errors import ConfigError

NUMBERS = {"from": "+15550100001", "to": "+15550100002", "direction": "inbound"}
IDENTITY = {"provider": "twilio", "account_id": "AC1", "recording_id": "RE1"}
FACTS = {**IDENTITY, "from_number": "+15550100009", "numbers": ["15550100009"], "told_at": "2026-10-03T00:00:00Z"}
LATER = ARCHIVED + timedelta(hours=1)


def types(path: Path) -> list[tuple[str, str]]:
    with duckdb.connect() as db:
        return [(row[0], row[1]) for row in db.execute(f"DESCRIBE FROM read_parquet('{path}')").fetchall()]


def test_the_file_has_these_columns_with_these_types(merger: Merger) -> None:
    """A month's file has each column of the catalog with its type, month not among them."""
    merger.merge(line(sidecar(1)))
    assert merger.file is not None
    assert [(name, kind.replace('"', "")) for name, kind in types(merger.file)] == [
        (each.name, each.type.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")) for each in RECORDINGS
    ]
    assert [name for name, _ in types(merger.days)] == [each.name for each in DAYS]


def test_the_rows_are_what_the_sidecars_say(merger: Merger) -> None:
    """Each value of a row equals that of its sidecar."""
    documents = [sidecar(number, call=NUMBERS) for number in (3, 1, 2)]
    assert merger.merge(*(line(each, n) for n, each in enumerate(documents))) == 3
    for found, told in zip(merger.rows(), sorted(documents, key=lambda each: each["created_at"]), strict=True):
        [medium] = told["media"]
        assert (found["recording_id"], found["call_id"], found["channels"]) == (
            told["recording_id"],
            told["call_id"],
            told["channels"],
        )
        assert found["created_at"] == told["created_at"].replace("T", " ").replace("Z", "+00")
        assert (found["day"], found["archived_at"]) == (told["created_at"][:10], "2026-10-02 00:00:00+00")
        assert (found["media_key"], found["media_bytes"], found["media_seconds"], found["checked"]) == (
            medium["key"],
            medium["bytes"],
            medium["duration_seconds"],
            "ok",
        )
        assert found["media"][0]["sha256"] == found["media_sha256"] == medium["sha256"]
        assert json.loads(found["raw"]) == told["raw"]
        assert (found["from_number"], found["numbers"]) == (NUMBERS["from"], ["15550100001", "15550100002"])


def test_a_merge_is_repeated_without_harm(merger: Merger) -> None:
    """The same rows merged again are there once, and nothing changes."""
    merger.merge(line(sidecar(1)), line(sidecar(2), 1))
    before = merger.rows()
    assert (merger.merge(line(sidecar(2))), merger.rows()) == (2, before)


def test_of_two_sidecars_the_later_one_counts(merger: Merger) -> None:
    """The edition archived later counts, in whatever order they are merged."""
    lines = [line(sidecar(1, source="first")), line(sidecar(1, LATER, source="second"), 1)]
    for each in itertools.permutations(lines):
        merger.file = None
        merger.merge(*each)
        assert [row["source"] for row in merger.rows()] == ["second"]
        merger.file = None
        for one in each:
            merger.merge(one)
        assert [row["source"] for row in merger.rows()] == ["second"]


def test_a_recording_that_moved_to_another_month_leaves_this_one(merger: Merger) -> None:
    """A later edition of another month removes the row from the earlier one's month."""
    merger.merge(line(sidecar(1)), line(sidecar(2), 1))
    assert merger.merge(line(sidecar(1, LATER), moved=True)) == 1
    assert [row["recording_id"] for row in merger.rows()] == ["RE2"]


def test_call_facts_that_came_late_are_joined_and_stay(merger: Merger) -> None:
    """Facts told later replace those told before, and a sidecar read again does not take them away."""
    merger.merge(line(sidecar(1)), line(sidecar(2), 1))
    merger.merge(facts=[{**FACTS, "from_number": "old", "told_at": "2026-10-02T00:00:00Z"}, FACTS])
    merger.merge(line(sidecar(1)))
    assert [(row["recording_id"], row["from_number"], row["numbers"]) for row in merger.rows()] == [
        ("RE1", "+15550100009", ["15550100009"]),
        ("RE2", None, None),
    ]


def test_a_manifests_number_is_taken_from_the_manifests(merger: Merger) -> None:
    """The number is joined by the sidecar's key, and kept while the sidecar is the same."""
    merger.merge(line(sidecar(1)), listed=[{"sidecar_key": "recordings/k.json", "manifest_number": 7}])
    merger.merge(line(sidecar(1)))
    assert [row["manifest_number"] for row in merger.rows()] == [7]
    merger.merge(line(sidecar(1, LATER)))
    assert [row["manifest_number"] for row in merger.rows()] == [None]


def test_a_file_of_an_earlier_version_lacks_columns_and_is_read(merger: Merger, tmp_path: Path) -> None:
    """Columns that an earlier catalog lacks are null, and unknown ones are dropped."""
    merger.merge(line(sidecar(1)))
    old = tmp_path / "old.parquet"
    with duckdb.connect() as db:
        db.execute(f"COPY (SELECT * EXCLUDE (raw, numbers), 1 AS x FROM '{merger.file}') TO '{old}' (FORMAT parquet)")
    merger.file = old
    assert merger.merge(line(sidecar(2))) == 2
    assert [(row["recording_id"], row["raw"] is None) for row in merger.rows()] == [("RE1", True), ("RE2", False)]
    assert "x" not in merger.rows()[0]


def test_days_are_sums_of_their_recordings(merger: Merger, tmp_path: Path) -> None:
    """A day's numbers are those of its rows; a merge replaces the days of the months it touched and no others."""
    flagged = sidecar(2)["media"]
    flagged[0]["checked"]["status"] = "suspect"
    merger.merge(line(sidecar(1)), line(sidecar(2, media=flagged), 1), line(sidecar(3, source="b", media=[]), 2))
    rows = merger.rows()
    out = tmp_path / "all.parquet"
    merging.days({"months": {"2026-10": str(merger.days)}, "out": str(out)}, tmp_path)
    found = {each["source"]: each for each in read(out)}
    assert (found["main"]["recordings"], found["main"]["bytes"], found["main"]["suspect"]) == (2, 2003, 1)
    assert found["main"]["seconds"] == 4.0
    assert found["b"]["recordings"] == 1
    assert found["main"]["day"] == rows[0]["day"]
    again = tmp_path / "again.parquet"
    job = {"earlier": str(out), "months": {"2026-11": str(merger.days)}, "out": str(again)}
    assert merging.days(job, tmp_path)["rows"] == 4
    job = {"earlier": str(out), "months": {"2026-10": str(merger.days)}, "out": str(again)}
    assert merging.days(job, tmp_path)["rows"] == 2


def test_sums_that_do_not_fit_are_null(merger: Merger) -> None:
    """Sizes that overflow in a day cost the day's size, not the file."""
    huge = [{"bytes": 2**63 - 1}]
    merger.merge(line(sidecar(1, media=huge)), line(sidecar(2, media=huge), 1))
    assert [(row["recordings"], row["bytes"]) for row in read(merger.days)] == [(2, None)]


def test_a_child_process_does_the_same(merger: Merger, tmp_path: Path) -> None:
    """The merge runs in a child process; its failure is an error with DuckDB's message."""
    merger.merge(line(sidecar(1)))
    assert merger.file is not None
    job = {"earlier": str(merger.file), "out": str(tmp_path / "o"), "days": str(tmp_path / "d")}
    assert spawned.run("month", tmp_path, **job) == {"rows": 1}
    assert read(tmp_path / "o") == merger.rows()
    with pytest.raises(spawned.CatalogNotMade, match="No files found"):
        spawned.run("month", tmp_path, **{**job, "earlier": "/nowhere.parquet"})


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where DuckDB is not installed, the error says which extra to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'recvault\[catalog\]'"):
        spawned.require()


def test_the_datapackage_describes_every_column() -> None:
    """The Data Package names each column of both files with a type and a sentence."""
    described = {each["name"]: each["schema"]["fields"] for each in json.loads(datapackage())["resources"]}
    assert [field["name"] for field in described["recordings"]] == [each.name for each in RECORDINGS]
    assert [field["name"] for field in described["days"]] == [each.name for each in DAYS]
    assert all(field["type"] and field["description"] for fields in described.values() for field in fields)
