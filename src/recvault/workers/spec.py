"""What a planner tells each carrier of itself: its configuration, and how a carrier knows that it is equal.

Invariant: no secret is in it. Of each there is an HMAC with the run's nonce: it says whether a carrier's is the same.
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
from recvault.config import Config, DaemonSettings
from recvault.errors import ConfigError
from recvault.store import StoreFacts


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Spec:
    """Plain values alone, so that another version can read it and tell that it is another one."""

    version: str
    run: str  # the planner's, and the nonce of its prints
    config: str  # its hash
    prints: Mapping[str, str]  # of each secret that the planner has
    packed: bytes  # settings, and what the store enforces

    def __repr__(self) -> str:
        return f"<run {self.run[:8]}>"

    @classmethod
    def of(cls, settings: Config, facts: StoreFacts) -> Self:
        """A new run's."""
        carried = settings.model_copy(update={"daemon": DaemonSettings()})  # a ping's address is a key of sorts
        run = secrets.token_hex(16)
        return cls(
            version=__version__,
            run=run,
            config=config_hash(carried),
            prints=_prints(carried, run),
            packed=pickle.dumps((carried, facts)),
        )

    def unpacked(self) -> tuple[Config, StoreFacts]:
        """The configuration, and what is known of the store."""
        found = pickle.loads(self.packed)  # noqa: S301 - of our planner, by a link that only it may use
        return cast("tuple[Config, StoreFacts]", found)

    def check(self, version: str, theirs: Mapping[str, str]) -> None:
        """ConfigError where a carrier is not the planner's equal. `theirs`: the prints of the secrets that it has."""
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
    """Of the secrets that this process has; none where it is of another version and cannot read the configuration."""
    return _prints(spec.unpacked()[0], spec.run) if spec.version == __version__ else {}


def config_hash(settings: Config) -> str:
    """The same for equal configurations, as this version reads them."""
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
