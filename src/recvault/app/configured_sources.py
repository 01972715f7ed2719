"""The configured sources by name, and their providers, without any secret."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from recvault import config
from recvault.archive import KeyTemplate
from recvault.errors import UnknownName
from recvault.log.masking import hide
from recvault.providers import provider_class
from recvault.providers.base import Provider
from recvault.shutdown import Stop


class Configured:
    """The configuration in use. A context that closes everything opened in it."""

    def __init__(self, settings: config.Config, *, clock: Callable[[], datetime], stop: Stop | None = None) -> None:
        for url in (settings.daemon.ping_url, settings.notify.webhook):
            hide(urlsplit(url).path)  # a secret of sorts: anyone who knows the URL can send to it
        self.settings = settings
        self.clock = clock
        self.stop = stop or Stop()
        self.keys = KeyTemplate(settings.archive.key_template, settings.archive.prefix)
        self._open = ExitStack()
        self._providers: dict[str, Provider] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def source(self, name: str) -> config.SourceSettings:
        """Return a source of the configuration by name. UnknownName if there is none."""
        for source in self.settings.sources:
            if source.name == name:
                return source
        known = ", ".join(source.name for source in self.settings.sources)
        raise UnknownName(f"there is no source named {name}", f"the configuration has {known}")

    def provider(self, name: str) -> Provider:
        """Make a source's provider from its plain settings; this needs no secret."""
        if name not in self._providers:
            source = self.source(name)
            asked = provider_class(source.provider)
            self._providers[name] = asked.from_settings(source.identity, source.settings)
        return self._providers[name]
