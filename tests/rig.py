"""A whole recvault in a test: a simulator, an S3 server, a configuration, and passes over them."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3

import strict_s3
from recvault import config
from recvault.app.runtime import Runtime
from recvault.monitoring.report import Report
from recvault.simulator import Simulator

START = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
SOURCES = {
    "voice": ("twilio", "twilio"),
    "legacy": ("twilio-legacy", "twilio"),
    "video": ("twilio-video", "twilio"),
    "telnyx": ("telnyx", "telnyx"),
    "signalwire": ("signalwire", "signalwire"),
}


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Rig:
    """One bucket, one ledger, one simulator; `sync` is a pass in this process, with a new runtime each time."""

    root: Path
    simulator: Simulator
    s3_url: str
    bucket: str
    sources: list[dict[str, Any]] = field(default_factory=list)
    transfer: dict[str, Any] = field(default_factory=dict)
    archive: dict[str, Any] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)
    daemon: dict[str, Any] = field(default_factory=lambda: {"metrics_listen": ""})  # no port that two tests would share
    notify: dict[str, Any] = field(default_factory=dict)
    catalog: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)

    def add_source(self, name: str, provider: str, account: Any, **options: Any) -> None:
        """Configure a source for one of the simulator's accounts."""
        plain = {"account_sid", "project_id", "space", "api_key_sid", "auth_id", "account_id", "username", "client_id"}
        entry: dict[str, Any] = {"name": name, "provider": provider, "base_url": self.simulator.base_url}
        for key, value in account.credentials.items():
            entry[key] = value if key in plain else {"file": str(self._secret(name, key, value))}
        entry["media_hosts"] = [self.simulator.media_host]
        entry["requests_per_second"] = 100_000
        self.sources.append({**entry, **options})

    def _secret(self, name: str, key: str, value: str) -> Path:
        path = self.root / f"{name}.{key}.secret"
        path.write_text(value)
        path.chmod(0o600)
        return path

    @property
    def config_path(self) -> Path:
        path = self.root / "config.toml"
        path.write_text(self._toml())
        return path

    def _toml(self) -> str:
        s3 = {"endpoint_url": self.s3_url, "addressing_style": "path"} if self.directory is None else {}
        archive = {"bucket": self.bucket, **s3, **self.archive}
        transfer = {
            "spool_dir": str(self.root / "spool"),
            "workers": 8,
            "retry_base": "1s",
            "retry_max": "1s",
            "min_free_disk": "0",
            "stall_timeout": "2s",
            **self.transfer,
        }
        lines = [_table("archive", archive), _table("ledger", {"path": str(self.root / "ledger.db"), **self.ledger})]
        lines += [_table("daemon", self.daemon)] if self.daemon else []
        lines += [_table("notify", self.notify)] if self.notify else []
        lines += [_table("catalog", self.catalog)] if self.catalog else []
        lines += [_table("cost", self.cost)] if self.cost else []
        lines += [_table("transfer", transfer), *(_table("[sources]", source) for source in self.sources)]
        return "\n".join(lines)

    def runtime(self, clock: Any = now) -> Runtime:
        return Runtime(config.load(self.config_path), clock=clock)

    def sync(self, clock: Any = now) -> Report:
        with self.runtime(clock) as runtime:
            return runtime.sync("sync", [source["name"] for source in self.sources])

    def sync_at(self, moment: datetime) -> Report:
        """Run a pass at a time at which the simulator's clock and ours are frozen."""
        self.simulator.set_now(moment)
        return self.sync(lambda: moment)

    @property
    def directory(self) -> Path | None:
        """The archive's directory, if its bucket is one."""
        return Path(self.bucket.removeprefix("file://")) if self.bucket.startswith("file://") else None

    @property
    def s3(self) -> Any:
        return _client(self.s3_url)

    def objects(self) -> dict[str, bytes]:
        """Return every object of the bucket; of a strict one without a request, which its own tests justify."""
        if server := strict_s3.running.get(self.s3_url):
            bucket = server.buckets[self.bucket]
            return {key: bucket.body(key) for key in sorted(bucket.objects)}
        if (top := self.directory) is not None:
            files = [each for each in top.rglob("*") if each.is_file() and ".recvault" not in each.parts]
            return {str(each.relative_to(top)): each.read_bytes() for each in files}
        client, found = self.s3, {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for each in page.get("Contents", ()):
                found[each["Key"]] = client.get_object(Bucket=self.bucket, Key=each["Key"])["Body"].read()
        return found

    def sidecars(self) -> dict[str, dict[str, Any]]:
        """Return the sidecars by recording id."""
        bodies = [body for key, body in self.objects().items() if key.endswith(".json") and "/provider=" in key]
        documents = [json.loads(body) for body in bodies]
        return {document["recording_id"]: document for document in documents}


def without_late_calls(objects: dict[str, bytes]) -> dict[str, bytes]:
    """Return the objects but those with calls that came after a sidecar; no recording's call is told twice.

    Whether a call is told by the sidecar or afterwards depends on which request is answered first.
    """
    late = {key for key in objects if key.startswith("calls/")}
    told = [json.loads(line)["recording_id"] for key in late for line in objects[key].splitlines()]
    documents = [json.loads(body) for key, body in objects.items() if key.endswith(".json") and "/provider=" in key]
    told += [each["recording_id"] for each in documents if "call" in each]
    assert len(told) == len(set(told)), "a call is told twice"
    return {key: body for key, body in objects.items() if key not in late}


@functools.cache
def _client(url: str) -> Any:
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1")


def _table(name: str, values: dict[str, Any]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {_toml_value(value)}" for key, value in values.items()), ""])


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, timedelta):
        return json.dumps(f"{value.total_seconds():.0f}s")
    return json.dumps(value)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
