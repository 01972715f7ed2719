"""Toy: a complete provider plug-in, to copy and change. `toy_service` is the server to test it with.

Its service states times in milliseconds and has only WAV. A plug-in's own pyproject.toml names such a class in the
entry-point group `recvault.providers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from recvault.models import Phase
from recvault.providers.base import Setting
from recvault.providers.fields import Keys
from recvault.providers.rest import Bounds, Paging, Rest

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def _at_or_before(moment: datetime) -> int:
    return (moment - EPOCH) // MILLISECOND


def _at_or_after(moment: datetime) -> int:
    return -((EPOCH - moment) // MILLISECOND)


def _moment(made: int) -> datetime:
    return EPOCH + made * MILLISECOND


class Toy(Rest):
    """One shelf of one toy box."""

    name = "toy"
    provider = "toy"
    api = "v1"
    settings: ClassVar[Mapping[str, Setting]] = {
        "shelf": Setting(doc="the shelf's name"),
        "token": Setting(secret=True, doc="what opens it"),
    }
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (("shelf", "token"),)
    formats: ClassVar[tuple[str, ...]] = ("wav",)
    page_size = 100
    default_lookback = timedelta(hours=1)

    home = "https://toy.example"
    account_setting = "shelf"
    lists: ClassVar[Mapping[str, str]] = {"account": "/v1/{account}"}
    bounds = Bounds("from", "before", _at_or_before, _at_or_after)
    paging = Paging(size="most", next="more")
    rows = "sounds"
    instance = "/v1/{account}/{recording}"
    deletes = True
    media = "/v1/{account}/{recording}/{format}"

    fields: ClassVar[Mapping[str, Keys]] = {
        "recording_id": "id",
        "created_at": "made",
        "status": "state",
        "duration_seconds": "seconds",
    }
    readers: ClassVar[Mapping[str, Any]] = {"created_at": _moment}
    phases: ClassVar[Mapping[str, Phase]] = {"ready": Phase.COMPLETE, "none": Phase.GONE}

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return f"Toy {values['token']}"
