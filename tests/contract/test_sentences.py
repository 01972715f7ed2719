"""The contract's messages about a provider that breaks it: its author learns what to change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

import pytest

from recvault.errors import ProtocolError
from recvault.models import Phase, Recording
from recvault.providers.fields import Keys
from recvault.providers.rest import Bounds, Paging
from recvault.testing import Provider, ProviderContract, Service
from recvault.testing.toy import Toy
from recvault.testing.toy_service import SHELF, ToyBox

Contract = Callable[[ProviderContract], None]


def late(moment: datetime) -> int:
    return round(moment.timestamp() * 1000) + 1000


class NoSize(Toy):
    paging = Paging(size="limit", next="more")


class NoLinks(Toy):
    paging = Paging(size="most", next="following")


class Narrow(Toy):
    bounds = Bounds("from", "before", late, late)


class WrongDate(Toy):
    fields: ClassVar[Mapping[str, Keys]] = {**Toy.fields, "created_at": "created"}


class NeverFinal(Toy):
    phases: ClassVar[Mapping[str, Phase]] = {}


class AlwaysFinal(Toy):
    phases: ClassVar[Mapping[str, Phase]] = {**Toy.phases, "busy": Phase.COMPLETE}


class WrongMedia(Toy):
    media = "/v1/{account}/{recording}"


class OnlyListed(Toy):
    """A service whose list has media URLs, but whose recordings by id have none."""

    media = ""

    def read(self, row: dict[str, Any]) -> Recording:
        return replace(super().read(row), media_urls={"wav": f"{self.base_url}/v1/{SHELF}/{row['id']}/wav"})

    def parse_recording(self, reply: Any) -> Recording:
        return replace(super().parse_recording(reply), media_urls={})


class Lax(Toy):
    def parse_recording(self, reply: Any) -> Recording:
        return self.read({"id": "s0", "made": 0, "state": "ready"})


class DeletesNothing(Toy):
    deleted = "/v1/{account}"


@pytest.mark.parametrize(
    ("broken", "promise", "sentence"),
    [
        (NoSize, ProviderContract.test_every_page_boundary, "list_request must ask for page_size rows a page"),
        (NoLinks, ProviderContract.test_every_page_boundary, "a full page that does not say whether another follows"),
        (Narrow, ProviderContract.test_adjoining_windows_lose_nothing, "and are not listed: the window was narrowed"),
        (
            WrongDate,
            ProviderContract.test_a_row_is_read_as_it_was_meant,
            "one was added, 0 were listed; rows rejected",
        ),
        (NeverFinal, ProviderContract.test_a_row_is_read_as_it_was_meant, "says unfinished of a finished recording"),
        (AlwaysFinal, ProviderContract.test_an_unfinished_recording_becomes_final, "is read as complete: see `phases`"),
        (OnlyListed, ProviderContract.test_media_of_every_format_are_proven, "was not archived: the verdict is"),
        (DeletesNothing, ProviderContract.test_what_is_deleted_is_gone, "was deleted, the list has"),
        (WrongMedia, ProviderContract.test_a_document_is_not_media, "was not archived: the verdict is retry"),
        (
            Lax,
            ProviderContract.test_an_answer_that_is_no_page_is_an_error,
            "must raise ProtocolError, and was taken",
        ),
    ],
)
def test_a_broken_promise_is_told_in_a_sentence(broken: type[Toy], promise: Contract, sentence: str) -> None:
    """Each message states the actual value, the expected one, or where to look."""

    class Broken(ProviderContract):
        def service(self) -> Service:
            return ToyBox()

        def provider(self, base_url: str) -> Provider:
            return broken(base_url, SHELF)

    contract = Broken()
    contract.setup_method()
    try:
        with pytest.raises((AssertionError, ProtocolError)) as caught:
            promise(contract)
    finally:
        contract.teardown_method()
    assert sentence in str(caught.value)
