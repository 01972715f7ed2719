"""Encrypted media cannot be parsed, so a document in their place must be recognised by its own bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from contract.simulated import Simulated
from contract.test_providers import TWILIO
from recvault.models import Failure, Receipt
from recvault.providers.twilio import Twilio
from recvault.testing import Answer, Bench
from recvault.testing.bench import lay_out
from recvault.testing.contract import START
from recvault.testing.hostile import DOCUMENTS


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as opened:
        yield lay_out(Simulated("twilio", "voice", TWILIO), lambda base_url: Twilio(base_url, TWILIO), opened)


def in_chunks_of_one(body: bytes) -> Answer:
    pieces = b"".join(b"1\r\n" + body[place : place + 1] + b"\r\n" for place in range(len(body)))
    headers = (("Content-Type", "application/octet-stream"), ("Transfer-Encoding", "chunked"))
    return Answer(headers=headers, body=pieces + b"0\r\n\r\n", measured=False)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_document_that_drips_is_no_ciphertext(bench: Bench, kind: str) -> None:
    """An error page sent byte by byte as octets is refused like one sent at once."""
    wanted = bench.service.add(START)
    (listed,) = bench.recordings()
    encrypted = replace(listed, encryption={"encryption_iv": "x"}, formats=("wav",))
    bench.spoil_media(wanted, "wav", lambda answer: in_chunks_of_one(DOCUMENTS[kind]))
    outcome = bench.transfer(encrypted, "wav")
    assert isinstance(outcome, Failure)
    assert outcome.reason == "media.document"
    assert bench.store.objects == {}
    bench.end_faults()
    assert isinstance(bench.transfer(encrypted, "wav"), Receipt)
