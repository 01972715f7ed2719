"""A plug-in's provider, found through a real entry point, keeps the contract and archives like any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest

from recvault import providers
from recvault.errors import ConfigError
from recvault.models import JSON, Recording
from recvault.providers import GROUP, provider_class, registry
from recvault.providers.base import Provider
from recvault.testing import Answer, ProviderContract, Request, Service
from recvault.testing.toy import Toy
from recvault.testing.toy_service import SHELF, TOKEN, ToyBox
from rig import Rig


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the plug-in's dist-info on the path, as pip would; it names the toy that recvault ships."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))
    providers.installed.cache_clear()
    yield
    providers.installed.cache_clear()


@pytest.mark.usefixtures("installed")
class TestToy(ProviderContract):
    """The toy, loaded from the entry point as the configuration does."""

    def service(self) -> Service:
        return ToyBox()

    def provider(self, base_url: str) -> Provider:
        return provider_class("toy").from_settings("toy", {"shelf": SHELF, "base_url": base_url})


SOUNDS = Path(__file__).parent.parent / "data" / "media"


class OtherBox(ToyBox):
    """Another service: Opus and FLAC, at permanent URLs in its rows."""

    def add(self, created_at: datetime, *, media_format: str = "", finished: bool = True, readable: bool = True) -> str:
        added = super().add(created_at, media_format=media_format, finished=finished, readable=readable)
        self._row(added)["urls"] = {name: f"{self.origins[0]}/v1/bears/{added}/{name}" for name in OtherToy.formats}
        self._row(added)["seconds"] = 1.0
        return added

    def media(self, recording_id: str, media_format: str = "opus") -> bytes:
        return (SOUNDS / {"opus": "opus.ogg", "flac": "tone.flac"}[media_format]).read_bytes()

    def _answer(self, request: Request) -> Answer:
        match request.path.split("/")[1:]:
            case ["v1", "bears", sound, ("opus" | "flac") as name] if self._row(sound)["state"] == "ready":
                return Answer(headers=(("Content-Type", "audio/ogg"),), body=self.media(sound, name))
        return super()._answer(request)


class OtherToy(Toy):
    """Reads the permanent URLs from the row; a row restored from the ledger has none."""

    formats = ("opus", "flac")
    media = ""

    def read(self, row: JSON) -> Recording:
        return replace(super().read(row), media_urls=row.get("urls") or {})


class TestOtherToy(ProviderContract):
    """Formats that recvault cannot walk, at URLs in the row without `media_url_lifetime`."""

    def service(self) -> Service:
        return OtherBox()

    def provider(self, base_url: str) -> Provider:
        return OtherToy(base_url, SHELF)


@pytest.mark.usefixtures("installed")
def test_a_plug_in_is_an_entry_point() -> None:
    """An installed plug-in is found by name; recvault does not name it."""
    assert [each.value for each in entry_points(group=GROUP) if each.name == "toy"] == ["recvault.testing.toy:Toy"]
    assert registry()["toy"].name == "toy"


def test_without_the_plug_in_there_is_no_such_provider() -> None:
    """Without the plug-in its name is a configuration error that lists the known providers."""
    with pytest.raises(ConfigError, match="there is no provider called 'toy'"):
        provider_class("toy")


@pytest.mark.usefixtures("installed")
def test_a_plug_in_archives_end_to_end(rig: Rig) -> None:
    """`provider = "toy"` is sufficient to archive: media and sidecars are in the bucket, once."""
    box = ToyBox()
    try:
        start = datetime.now(UTC) - timedelta(days=2)
        added = {box.add(start + timedelta(seconds=number)) for number in range(5)}
        waiting = box.add(start, finished=False)
        account = SimpleNamespace(credentials={"token": TOKEN})
        rig.add_source("toys", "toy", account, base_url=box.origins[0], shelf=SHELF, media_hosts=[])

        report = rig.sync()

        assert (report.exit_code, report.outcome) == (0, "ok"), report.document()
        sidecars, objects = rig.sidecars(), rig.objects()
        assert added == set(sidecars)
        for recording_id, sidecar in sidecars.items():
            (medium,) = sidecar["media"]
            assert box.media(recording_id) == objects[medium["key"]]
            assert (sidecar["provider"], sidecar["account_id"]) == ("toy", SHELF)

        again = rig.sync()
        assert again.exit_code == 0
        assert objects == rig.objects()
        assert waiting not in rig.sidecars()
    finally:
        box.close()
