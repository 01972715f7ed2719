"""The registry of providers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from providers.bodies import NAMES
from recvault import providers
from recvault.errors import ConfigError
from recvault.providers import BUILT_IN, GROUP, provider_class, registry
from recvault.providers.rest import Rest
from recvault.providers.telnyx import Telnyx


class Ours(Telnyx):
    name = "ours"


class Half:
    name = "half"


@pytest.fixture
def reread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read installed packages again in this test and the next."""
    module = ModuleType("acme_plugin")
    vars(module).update(Ours=Ours, Half=Half, Unfinished=Unfinished)
    monkeypatch.setitem(sys.modules, "acme_plugin", module)
    providers.installed.cache_clear()
    yield
    providers.installed.cache_clear()


class Unfinished(Rest):
    name = "unfinished"


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch, reread: None) -> None:
    """Plug-ins as installed packages: a valid one, broken ones, and one with a built-in's name."""
    claims = {
        "ours": "Ours",
        "other": "Ours",
        "half": "Half",
        "unfinished": "Unfinished",
        "missing": "Nothing",
        "telnyx": "Ours",
    }
    entries = [EntryPoint(name, f"acme_plugin:{value}", GROUP) for name, value in claims.items()]
    entries += [EntryPoint("absent", "no_such_module:X", GROUP), EntryPoint("ours", "acme_plugin:Ours", GROUP)]
    monkeypatch.setattr(providers, "entry_points", lambda group: entries if group == GROUP else [])


def test_built_ins_come_by_name() -> None:
    """The built-in providers are found by their configured names."""
    assert set(NAMES) <= set(registry())
    assert {name: registry()[name].name for name in NAMES} == {name: name for name in NAMES}


def test_an_unknown_name_lists_the_known_ones() -> None:
    """An unknown name is an error with the nearest name and all known ones."""
    with pytest.raises(ConfigError, match="did you mean 'twilio-video'") as caught:
        provider_class("twilio-vido")
    assert all(name in str(caught.value) for name in NAMES)
    with pytest.raises(KeyError):
        registry()["twilio-vido"]


@pytest.mark.usefixtures("plugins")
def test_a_plug_in_is_found_by_its_name() -> None:
    """A plug-in's provider is found like a built-in one."""
    assert Ours is provider_class("ours")
    assert len(registry()) == len(list(registry())) == len(BUILT_IN) + 6


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "ModuleNotFoundError"),
        ("missing", "AttributeError"),
        ("half", "lacks .*list_request"),
        ("unfinished", "lacks provider, .*authorization.*, lists, bounds, paging, rows, instance, fields$"),
        ("other", "'ours'"),
    ],
)
def test_a_broken_plug_in_is_told_when_it_is_asked_for(name: str, reason: str) -> None:
    """A broken plug-in affects no other, and is an error for whoever configures it."""
    assert provider_class("twilio").name == "twilio"
    with pytest.raises(ConfigError, match=reason):
        provider_class(name)


@pytest.mark.usefixtures("plugins")
def test_a_built_in_cannot_be_shadowed_in_silence() -> None:
    """A plug-in with a built-in's name makes that name an error."""
    with pytest.raises(ConfigError, match="claimed more than once"):
        provider_class("telnyx")


@pytest.mark.usefixtures("reread")
def test_a_plug_in_that_comes_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed packages are read once, and again for an unknown name, so that a daemon needs no restart."""
    with pytest.raises(ConfigError, match="there is no provider called 'ours'"):
        provider_class("ours")
    claim = EntryPoint("ours", "acme_plugin:Ours", GROUP)
    monkeypatch.setattr(providers, "entry_points", lambda group: [claim])
    assert provider_class("ours") is Ours
