"""An archive with versions at moto, of recordings whose calls have numbers; and a search of all that is left of one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from recvault.models import Window
from recvault.operations.erasing import Criteria, Erase, Erased
from recvault.simulator import SimAccount, Simulator
from rig import START, Rig

CALL, OTHER = "CA" + "1" * 32, "CA" + "2" * 32

_numbers = itertools.count(1)


@dataclass
class Vault:
    """A rig, its account, and what is asked of its bucket."""

    rig: Rig
    account: SimAccount
    s3: Any  # moto tells another checksum for a version's body: it is not compared
    now: datetime = START

    def add(self, call_id: str = CALL) -> str:
        """Add a recording of a call, a minute after the last."""
        self.now += timedelta(minutes=1)
        times = {"created_at": self.now, "completed_at": self.now, "visible_at": self.now}
        return self.rig.simulator.add(self.account, "voice", call_id=call_id, **times).recording_id

    @property
    def number(self) -> str:
        """The number that called, in digits."""
        [call] = [each for each in self.rig.simulator.calls(self.account, "voice") if each.call_id == CALL]
        return call.from_.removeprefix("+")

    def sync(self) -> None:
        self.now += timedelta(hours=1)
        assert self.rig.sync_at(self.now).exit_code == 0

    def erase(self, *, number: str = "", recordings: tuple[str, ...] = (), **options: Any) -> Erased:
        self.now += timedelta(minutes=1)
        criteria = Criteria(numbers=(number,) if number else (), recordings=recordings, window=Window())
        with self.rig.runtime(lambda: self.now) as runtime:
            due = options.get("due", False)
            options = {"reference": "case 7", **options}
            return Erase(runtime=runtime, criteria=None if due else criteria, **options).run()

    def versions(self, wanted: str = "") -> list[str]:
        """Return key and version of everything in the bucket, markers too."""
        found = self.s3.list_object_versions(Bucket=self.rig.bucket)
        both = [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]
        return [each["Key"] for each in both if wanted in each["Key"] and not each["Key"].startswith("erasures/")]

    def where(self, text: str) -> list[str]:
        """Return everything that contains a text: objects of all versions, and the ledger's files."""
        found = [str(each) for each in self.rig.root.glob("ledger.db*") if each.is_file() and has(each, text)]
        for each in self.s3.list_object_versions(Bucket=self.rig.bucket).get("Versions", ()):
            got = self.s3.get_object(Bucket=self.rig.bucket, Key=each["Key"], VersionId=each["VersionId"])
            if text.encode() in got["Body"].read() or text in str(got["Metadata"]):
                found.append(each["Key"])
        return found


def has(path: Path, text: str) -> bool:
    return text.encode() in path.read_bytes()


@pytest.fixture
def vault(tmp_path: Path, simulator: Simulator, moto_url: str) -> Iterator[Vault]:
    """Two recordings of a call with the number, one of another, archived in a bucket with versions and locks."""
    name = f"vault-{next(_numbers)}"
    config = Config(response_checksum_validation="when_required")
    client = boto3.client("s3", endpoint_url=moto_url, region_name="us-east-1", config=config)
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=moto_url, bucket=name)
    account = simulator.add_account("twilio")
    rig.add_source("voice", "twilio", account)
    yield Vault(rig, account, client)
