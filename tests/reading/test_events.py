"""Events of new recordings: the shown filter and the shown consumer, which takes each recording once."""

from __future__ import annotations

import json
import sqlite3
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from reading.documents import blocks
from reading.population import Sidecar, encoded, key_of, sidecars
from strict_s3 import Bucket

CONFIGURATION, CONSUMER = (
    next(block for heading, language, block in blocks() if (heading, language) == ("Events", wanted))
    for wanted in ("json", "python")
)
REGION = "us-east-1"


class Drained(Exception):
    """Nothing is left in the queue."""


class Queue:
    """A queue as SQS: a message comes again until it is deleted, sometimes afterwards, and in any order."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.waiting = [json.dumps(body) for body in bodies]

    def receive_message(self, **_: Any) -> dict[str, Any]:
        if not self.waiting:
            raise Drained
        return {"Messages": [{"Body": body, "ReceiptHandle": body} for body in self.waiting[:10]]}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803 - boto3's names
        self.waiting.remove(ReceiptHandle)


def event(bucket: str, *keys: str) -> dict[str, Any]:
    """Return what S3 sends: keys are encoded as in a form."""
    from urllib.parse import quote_plus

    return {"Records": [{"s3": {"bucket": {"name": bucket}, "object": {"key": quote_plus(key)}}} for key in keys]}


def consume(queue: Queue, bucket: Bucket, folder: Path, take: Callable[[Sidecar], None]) -> None:
    """Run the consumer as it is shown, until the queue is empty."""
    clients = {"sqs": queue, "s3": boto3.client("s3", endpoint_url=bucket.url, region_name=REGION)}
    script = CONSUMER.replace("boto3.client(", "clients[").replace('"sqs")', '"sqs"]').replace('"s3")', '"s3"]')
    script = script.replace('"done.db"', repr(str(folder / "done.db")))
    script = script.replace(
        'print(sidecar["source"], sidecar["recording_id"], sidecar["media"][0]["key"])', "took(sidecar)"
    )
    names: dict[str, Any] = {"clients": clients, "took": take}
    try:
        exec(compile(script, "README.md", "exec"), names)
    finally:
        done: sqlite3.Connection = names["done"]
        done.close()


@pytest.fixture
def archived(strict_bucket: Bucket) -> list[Sidecar]:
    """Some recordings in the bucket; one has a name that events encode."""
    known = sidecars(12)
    known[0]["recording_id"] = "RE 1+1=2/ü"
    known[0]["media"][0]["key"] = "recordings/provider=twilio/account=AC/date=2026-10-01/RE 1+1=2 ü.wav"
    client = boto3.client("s3", endpoint_url=strict_bucket.url, region_name=REGION)
    for each in known:
        client.put_object(Bucket=strict_bucket.name, Key=key_of(each), Body=encoded(each))
    return known


def test_each_recording_is_taken_once(archived: list[Sidecar], strict_bucket: Bucket, tmp_path: Path) -> None:
    """Duplicates, any order, several records a message, the test event and a restart: each is taken once."""
    keys = [key_of(each) for each in archived]
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": strict_bucket.name}
    taken: list[str] = []
    shuffled = [*keys[::-2], *keys[::2], *keys]
    queue = Queue(test, *(event(strict_bucket.name, key) for key in shuffled), event(strict_bucket.name, *keys[:3]))
    for _ in range(2):  # the second time it finds what it took before
        with pytest.raises(Drained):
            consume(queue, strict_bucket, tmp_path, lambda sidecar: taken.append(sidecar["recording_id"]))
        assert sorted(taken) == sorted(each["recording_id"] for each in archived)
        queue = Queue(event(strict_bucket.name, *keys))


def test_a_failed_take_is_repeated(archived: list[Sidecar], strict_bucket: Bucket, tmp_path: Path) -> None:
    """If the work on a recording fails, the recording is neither marked nor lost: the message comes again."""
    taken: list[str] = []

    def failing(sidecar: Sidecar) -> None:
        if sidecar["source"] == "telnyx":
            raise OSError("no space left on device")
        taken.append(sidecar["recording_id"])

    queue = Queue(*(event(strict_bucket.name, key_of(each)) for each in archived))
    with pytest.raises(OSError, match="no space"):
        consume(queue, strict_bucket, tmp_path, failing)
    before = len(taken)
    with pytest.raises(Drained):
        consume(queue, strict_bucket, tmp_path, lambda sidecar: taken.append(sidecar["recording_id"]))
    assert sorted(taken) == sorted(each["recording_id"] for each in archived)
    assert 0 < before < len(archived)


def test_the_filter_lets_sidecars_through_alone(moto_url: str, moto_bucket: str) -> None:
    """At S3 as moto imitates it, the shown configuration sends one event for each recording and none for the rest."""
    s3, sqs = (boto3.client(name, endpoint_url=moto_url, region_name=REGION) for name in ("s3", "sqs"))
    url = sqs.create_queue(QueueName=moto_bucket)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    configuration = json.loads(CONFIGURATION)
    configuration["QueueConfigurations"][0]["QueueArn"] = arn
    s3.put_bucket_notification_configuration(Bucket=moto_bucket, NotificationConfiguration=configuration)
    known = sidecars(4)
    written = [
        *("schemas/sidecar-v1.json", "catalog/datapackage.json", "catalog/days.parquet"),
        "calls/provider=twilio/account=AC/date=2026-10-01/1.jsonl",
        "manifests/provider=twilio/account=AC/number=00000001/manifest-sha256.txt",
        *(each["media"][0]["key"] for each in known),
        *map(key_of, known),
    ]
    for key in written:
        s3.put_object(Bucket=moto_bucket, Key=key, Body=b"{}")
    told = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            told += [each["s3"]["object"]["key"] for each in json.loads(message["Body"]).get("Records", ())]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    from urllib.parse import unquote_plus

    assert sorted(map(unquote_plus, told)) == sorted(map(key_of, known))


def test_the_consumer_is_short() -> None:
    """Twenty lines do it: `receive` and the loop."""
    lines = textwrap.dedent(CONSUMER).splitlines()
    assert len([line for line in lines[lines.index("def receive(message):") :] if line]) <= 20
