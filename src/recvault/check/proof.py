"""How media will be checked: by our parsers alone or with FFmpeg, and which sources decrypt recordings."""

from __future__ import annotations

from collections.abc import Iterator

from recvault.app import wiring
from recvault.app.runtime import Runtime
from recvault.check.probe import Probe, probe
from recvault.config import SourceSettings

_OF = {
    "basic": "basic: containers are parsed completely",
    "full": "full: containers are parsed completely, then FFmpeg parses each packet",
}


def proof(runtime: Runtime) -> Iterator[Probe]:
    """Test whether the library for `transfer.media_proof` is installed, and every private key is readable."""
    yield probe("media proof", _media, runtime)
    for source in runtime.settings.sources:
        if source.private_keys:
            yield probe(f"source {source.name}: private keys", _keys, source)


def _media(runtime: Runtime) -> str:
    wiring.check_media_proof(runtime.settings.transfer)
    return _OF[runtime.settings.transfer.media_proof]


def _keys(source: SourceSettings) -> str:
    keys = wiring.private_keys(source.private_keys)
    count = len(keys.keys) if keys else 0
    return f"{count} to decrypt and verify encrypted recordings"
