"""What a planner sends each carrier: its configuration, and how a carrier recognises that it matches.

Invariant: it contains no secret, only an HMAC of each with the run's nonce, to show whether a carrier's is the same.
"""

from __future__ import annotations

import hashlib
import hmac
import pickle
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, cast

from recvault import __version__
from recvault.config import Config, DaemonSettings, NotifySettings
from recvault.errors import ConfigError
from recvault.store import StoreFacts


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Spec:
    """Only plain values, so that another version can read it and notice the difference."""

    version: str
    run: str  # a random id of the run, also the nonce of its prints
    config: str  # its hash
    prints: Mapping[str, str]  # by path, of each secret that the planner has
    packed: bytes  # configuration, and what the store enforces

    def __repr__(self) -> str:
        return f"<run {self.run[:8]}>"

    @classmethod
    def of(cls, settings: Config, facts: StoreFacts) -> Self:
        """Make a new run's spec."""
        unused = {"daemon": DaemonSettings(), "notify": NotifySettings()}  # a ping or webhook URL is a secret of sorts
        carried = settings.model_copy(update=unused)
        run = secrets.token_hex(16)
        return cls(
            version=__version__,
            run=run,
            config=config_hash(carried),
            prints=_prints(carried, run),
            packed=pickle.dumps((carried, facts)),
        )

    def unpacked(self) -> tuple[Config, StoreFacts]:
        """Return the configuration, and what the store enforces."""
        found = pickle.loads(self.packed)  # noqa: S301 - of our planner, by a link that only it may use
        return cast("tuple[Config, StoreFacts]", found)

    def check(self, version: str, theirs: Mapping[str, str]) -> None:
        """Raise ConfigError if a carrier differs from the planner. `theirs`: the prints of its secrets."""
        if version != self.version:
            raise ConfigError(
                f"it runs recvault {version}, and the command {self.version}", "install the same version on both"
            )
        others = sorted(name for name, each in self.prints.items() if theirs.get(name) != each)
        if others:
            missing = [name for name in others if name not in theirs]
            what = "does not have the secret" if missing else "has another secret for"
            raise ConfigError(
                f"it {what} {', '.join(missing or others)}", "give it the same secrets by its environment or files"
            )


def prints(spec: Spec) -> dict[str, str]:
    """Return the prints of this process's secrets; none if it has another version, so cannot read the configuration."""
    return _prints(spec.unpacked()[0], spec.run) if spec.version == __version__ else {}


def config_hash(settings: Config) -> str:
    """Hash a configuration, as this version reads it."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]


def _prints(settings: Config, nonce: str) -> dict[str, str]:
    found = {}
    for path, secret, lines in settings.secret_refs():
        try:
            value = secret.resolve(lines=lines)
        except ConfigError:
            continue
        found[path] = hmac.digest(value.encode(), nonce.encode(), "sha256").hex()
    return found
