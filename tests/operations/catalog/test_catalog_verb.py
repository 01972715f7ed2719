"""`recvault catalog`, as its user sees it; and the settings that it follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.conftest import read
from cli.commands import on_terminal, run
from recvault.catalog import spawned
from recvault.errors import ConfigError
from recvault.operations.catalog import Catalog
from recvault.simulator import Simulator
from rig import START, Rig
from strict_s3 import StrictS3


@pytest.fixture
def archived(rig: Rig, simulator: Simulator) -> Rig:
    """Three recordings in a bucket."""
    simulator.set_now(START)
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3, conference_share=0)
    rig.add_source("voice", "twilio", account)
    assert rig.sync_at(START).exit_code == 0
    return rig


def files(rig: Rig) -> list[str]:
    return [key for key in rig.objects() if key.startswith("catalog/")]


def rows(body: bytes, tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "month.parquet"
    path.write_bytes(body)
    return read(path)


def test_from_sidecars_to_a_catalog(archived: Rig, tmp_path: Path) -> None:
    """The command writes what the sidecars say and reports each file; a second run writes nothing; --rebuild does."""
    ran = run(archived, "catalog", "--json")
    document = ran.document
    assert (ran.code, document["outcome"], document["sidecars"], document["errors"]) == (0, "ok", 3, [])
    sidecars = archived.sidecars()
    months = [each for each in document["written"] if "month=" in each["key"]]
    found = [row for each in months for row in rows(archived.objects()[each["key"]], tmp_path)]
    assert {row["recording_id"]: row["media_sha256"] for row in found} == {
        each: sidecar["media"][0]["sha256"] for each, sidecar in sidecars.items()
    }
    assert run(archived, "catalog", "--json").document["written"] == []
    again = run(archived, "catalog", "--rebuild", "--json").document
    assert [each["key"] for each in again["written"]] == [each["key"] for each in document["written"]]


def test_people_see_the_files(archived: Rig) -> None:
    """A terminal shows each file with its rows."""
    code, shown = on_terminal(archived, "catalog", columns=200)
    assert (code, "catalog/days.parquet" in shown, "read: 3 sidecars" in shown) == (0, True, True)


def test_another_bucket_has_the_catalog(archived: Rig, strict_s3: StrictS3) -> None:
    """With [catalog] bucket, the files are there, and none is in the archive's."""
    other = strict_s3.bucket()
    archived.catalog = {"bucket": other.name}
    with archived.runtime() as runtime:
        runtime.prepare_store()
        catalog = Catalog.of(runtime, threads=2)
        assert catalog.write().exit_code == 0
        assert catalog.write(rebuild=True).exit_code == 0
    assert files(archived) == []
    assert "catalog/days.parquet" in other.objects
    strict_s3.forget(other)


def test_retention_days_lock_the_catalog_alone(archived: Rig, strict_s3: StrictS3) -> None:
    """With retention_days, each file has a short GOVERNANCE lock of its own."""
    archived.catalog = {"retention_days": 1}
    with archived.runtime() as runtime:
        runtime.prepare_store()
        Catalog.of(runtime, threads=2).write()
    objects = strict_s3.buckets[archived.bucket].objects
    modes = {key: each.headers.get("x-amz-object-lock-mode") for key, each in objects.items()}
    assert {mode for key, mode in modes.items() if key.startswith("catalog/")} == {"GOVERNANCE"}
    assert {mode for key, mode in modes.items() if not key.startswith("catalog/")} == {None}


def test_numbers_follow_their_key(archived: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hmac the key is taken from where numbers_key says."""
    monkeypatch.setenv("NUMBERS_KEY", "k1")
    archived.catalog = {"numbers": "hmac", "numbers_key": {"env": "NUMBERS_KEY"}}
    with archived.runtime() as runtime:
        assert Catalog.of(runtime, threads=2).numbers.key == b"k1"
    monkeypatch.delenv("NUMBERS_KEY")
    with archived.runtime() as runtime, pytest.raises(ConfigError, match="NUMBERS_KEY is not set"):
        Catalog.of(runtime, threads=2)


@pytest.mark.parametrize("values", [{"numbers": "hmac"}, {"numbers_key": {"env": "NUMBERS_KEY"}}])
def test_hmac_and_its_key_go_together(rig: Rig, values: dict[str, Any]) -> None:
    """One without the other is refused when the configuration is read."""
    rig.add_source("voice", "twilio", rig.simulator.add_account("twilio"))
    rig.catalog = values
    with pytest.raises(ConfigError, match="requires numbers_key"):
        rig.runtime()


def test_without_the_extra_nothing_is_read(archived: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where DuckDB is not installed, the error says what to install, and nothing is requested."""
    monkeypatch.setattr(spawned, "is_installed", lambda: False)
    with archived.runtime() as runtime, pytest.raises(ConfigError, match=r"recvault\[catalog\]"):
        Catalog.of(runtime, threads=2)
    assert files(archived) == []
