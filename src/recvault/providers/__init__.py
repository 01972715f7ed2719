"""The registry: the built-in providers and those of plug-ins, by name."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from recvault.errors import ConfigError
from recvault.providers.base import Provider

GROUP = "recvault.providers"
BUILT_IN: Mapping[str, str] = {  # class by name, in the module of that name; imported when it is first asked for
    "twilio": "Twilio",
    "twilio-legacy": "TwilioLegacy",
    "twilio-video": "TwilioVideo",
    "telnyx": "Telnyx",
    "signalwire": "SignalWire",
    "plivo": "Plivo",
    "bandwidth": "Bandwidth",
    "ringcentral": "RingCentral",
}
VERBS = tuple(name for name in (*Provider.__annotations__, *vars(Provider)) if not name.startswith("_"))
FIELDS = {"base_url", "account_id"}  # set on each instance, so the class need not have them


class Registry(Mapping[str, type[Provider]]):
    """Providers by name. A plug-in is imported on first use; a broken one raises ConfigError then."""

    def __init__(self, plugins: tuple[EntryPoint, ...]) -> None:
        self._plugins = plugins

    def __getitem__(self, name: str) -> type[Provider]:
        claims = {each.value: each for each in self._plugins if each.name == name}
        if not claims:
            return _built_in(name, BUILT_IN[name])
        if len(claims) > 1 or name in BUILT_IN:
            owners = ", ".join(sorted(claims) + ["recvault itself"] * (name in BUILT_IN))
            raise ConfigError(f"provider {name!r} is claimed more than once: {owners}", "uninstall or rename a plug-in")
        return _load(*claims.values())

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*BUILT_IN, *(each.name for each in self._plugins)]))

    def __len__(self) -> int:
        return len(list(iter(self)))


@functools.cache
def installed() -> tuple[EntryPoint, ...]:
    """Return the plug-ins of the entry-point group `recvault.providers`. The first call takes 30 ms."""
    return tuple(entry_points(group=GROUP))


def registry() -> Mapping[str, type[Provider]]:
    """Return all providers: the built-in ones and the plug-ins."""
    return Registry(installed())


def provider_class(name: str) -> type[Provider]:
    """Return the provider of that name. Raises ConfigError, with the known names, if there is none."""
    if name not in list(known := registry()):
        installed.cache_clear()  # it may have been installed since the last call
        known = registry()
    if name not in list(known):
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"there is no provider called {name!r}", f"{hint}known: {', '.join(known)}")
    return known[name]


def _built_in(name: str, kind: str) -> type[Provider]:
    found: type[Provider] = getattr(import_module(f"{__name__}.{name.replace('-', '_')}"), kind)
    return found


def _load(plugin: EntryPoint) -> type[Provider]:
    try:
        found: Any = plugin.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"the plug-in of provider {plugin.name!r} ({plugin.value}) does not load: {reason}"
        ) from error
    declared = [name for base in getattr(found, "__mro__", ()) for name in vars(base).get("__annotations__", ())]
    lacking = [name for name in dict.fromkeys([*VERBS, *declared]) if name not in FIELDS and not hasattr(found, name)]
    if lacking:
        raise ConfigError(f"the plug-in of provider {plugin.name!r} ({plugin.value}) lacks {', '.join(lacking)}")
    if found.name != plugin.name:
        raise ConfigError(f"the plug-in of provider {plugin.name!r} ({plugin.value}) calls itself {found.name!r}")
    provider: type[Provider] = found
    return provider
