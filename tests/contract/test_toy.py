"""A plug-in's provider, found through a real entry point: it keeps the contract, and archives like any other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest

from contract.toy_box import SHELF, TOKEN, ToyBox
from recvault.errors import ConfigError
from recvault.providers import GROUP, provider_class, registry
from recvault.providers.base import Provider
from recvault.testing import ProviderContract, Service
from rig import Rig


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plug-in's directory on the path, its dist-info beside its module, as pip would put them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))
    yield
    sys.modules.pop("recvault_toy", None)


@pytest.mark.usefixtures("installed")
class TestToy(ProviderContract):
    """The class comes from the entry point, as the configuration would find it."""

    def service(self) -> Service:
        return ToyBox()

    def provider(self, base_url: str) -> Provider:
        return provider_class("toy").from_settings("toy", {"shelf": SHELF, "base_url": base_url})


@pytest.mark.usefixtures("installed")
def test_a_plug_in_is_an_entry_point() -> None:
    """Installed, it is known by its name; nothing of recvault names it."""
    assert [each.value for each in entry_points(group=GROUP) if each.name == "toy"] == ["recvault_toy:Toy"]
    assert registry()["toy"].name == "toy"


def test_without_the_plug_in_there_is_no_such_provider() -> None:
    """Not installed, its name is a configuration error that lists the others."""
    with pytest.raises(ConfigError, match="no provider is called 'toy'"):
        provider_class("toy")


@pytest.mark.usefixtures("installed")
def test_a_plug_in_archives_end_to_end(rig: Rig) -> None:
    """`provider = "toy"` in the configuration is all it takes: media and sidecars are in the bucket, once."""
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
