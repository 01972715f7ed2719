"""In a requester-pays bucket every request says so, with each sender."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from recvault.shutdown import Stop
from recvault.store.s3.bucket_questions import BucketQuestions
from recvault.store.s3.clients import make_client
from recvault.store.s3.options import WriteOptions
from recvault.store.s3.reader import S3Reader
from store.places import PART, SENDERS, Place, make_put, store_with, transport_of

PAYS = "x-amz-request-payer"
LARGE = random.Random(3).randbytes(PART + 9)


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize("sender", SENDERS)
def test_every_request_says_who_pays(make_place: Callable[[str], Place], sender: str, pays: bool) -> None:
    """All kinds of requests have the header with the option, and none without it."""
    place = make_place("rclone")
    how = {"addressing_style": "path", "pool": 2, "transport": transport_of(sender)}
    client = make_client(region="us-east-1", endpoint_url=place.url, **how)
    options = WriteOptions(request_payer=pays)
    store = store_with(sender, client, place.bucket, options=options, single_put_most=PART, part_least=PART)
    store.facts = store.ask_facts(make_put("schemas/known.json", b"{}"))
    store.put(make_put("recordings/RE1.wav", b"RIFF"))
    store.put(make_put("recordings/RE2.wav", LARGE))
    assert store.get("recordings/RE1.wav") == b"RIFF"
    assert b"".join(store.stream("recordings/RE1.wav")) == b"RIFF"
    list(store.list("recordings/"))
    client.create_multipart_upload(Bucket=place.bucket, Key="recordings/RE3.wav")
    store.clear_unfinished("recordings/", datetime.now(UTC) + timedelta(days=1))
    for straight in (True, False):
        reader = S3Reader(store, Stop(), straight=straight)
        reader.describe("recordings/RE1.wav")
        reader.get("recordings/RE1.wav")
        reader.digest("recordings/RE1.wav")
        list(reader.listed("recordings/"))
    BucketQuestions(store).reach("recordings/")
    store.delete("recordings/RE1.wav")
    client.close()
    assert place.strict is not None
    seen = {(each.op, each.headers.get(PAYS)) for each in place.strict.log}
    operations = ("PUT", "HEAD", "GET", "LIST", "CREATE", "PART", "COMPLETE", "UPLOADS", "ABORT", "DELETE")
    assert seen == {(op, "requester" if pays else None) for op in operations}
