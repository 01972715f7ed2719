"""Parts made from the configuration: lines to a source's accounts, and whatever else is not plain data.

A source's secrets are resolved here: into its session's `Authorization` header, and the set that the logs mask.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recvault import config
from recvault.app.connections import Connections
from recvault.config import SecretRef, proxies
from recvault.config.settings import DaemonSettings, PrivateKeyRef, TransferSettings
from recvault.config.source_tables import names_its_account
from recvault.errors import ConfigError
from recvault.http import AddressRule, Budget, Clients, Ping, Timing, tokens_of
from recvault.log.masking import hide
from recvault.log.meter import Waits
from recvault.media.assess import Proof
from recvault.providers import provider_class
from recvault.providers.base import token_request_of
from recvault.shutdown import Stop
from recvault.transport import Proxy

if TYPE_CHECKING:
    from recvault.media.decryptor import PrivateKeys

_AHEAD = 3  # jobs per thread of a worker process, including the current one


def names_account(source: config.SourceSettings) -> bool:
    """Whether the configuration, not the provider, names the account."""
    return names_its_account(provider_class(source.provider), source.settings)


def lines(
    source: config.SourceSettings, transfer: TransferSettings, stop: Stop, budget: Budget, waits: Waits
) -> Connections:
    """Make the lines to a source's accounts. ConfigError if a secret is not available."""
    values = source.resolve_secrets()
    for key in source.secrets:
        hide(values[key])
    asked = provider_class(source.provider).from_settings(source.identity, source.settings)
    request = token_request_of(asked, values)
    authorization = request.login if request else asked.authorization(values)
    hide(authorization)
    if not (authorization.isascii() and authorization.isprintable()):
        raise ConfigError(
            f"{source.name}: its credentials contain characters that HTTP headers cannot carry", "check each of them"
        )
    stall_seconds = transfer.stall_timeout.total_seconds()
    timing = Timing(min_rate=transfer.min_rate, stall_timeout=stall_seconds)
    clients = Clients(
        AddressRule.of(asked.base_url, source.media_hosts),
        stall_seconds,
        least_rate=transfer.min_rate,
        transport=transfer.transport,
        proxy=proxy(source.proxy),
    )
    return Connections(
        provider=asked,
        authorization=tokens_of(request, clients, timing, stop) if request else authorization,
        clients=clients,
        limits=budget,
        timing=timing,
        formats=source.formats,
        stop=stop,
        proof=proof(source, transfer),
        waits=waits,
        max_attempts=transfer.max_attempts,
        give_up_after=source.give_up_after,
        call_facts=source.call_facts,
    )


def proxy(written: str | SecretRef | None) -> Proxy | None:
    """Resolve a configured proxy, and mask its password in logs. ConfigError if its secret is not available."""
    found, secret = proxies.resolve(written)
    if found is not None and secret:
        hide(secret)
        hide(found.password)
        hide(base64.b64encode(f"{found.user}:{found.password}".encode()).decode())  # as in its header
    return found


def ping(daemon: DaemonSettings) -> Ping:
    """Make the monitor to ping. A missing proxy makes pings fail, but does not prevent archiving."""
    return Ping(daemon.ping_url, proxy=lambda: proxy(daemon.ping_proxy))


def proof(source: config.SourceSettings, transfer: TransferSettings) -> Proof:
    """Return how a source's media are checked. ConfigError if an extra is not installed or a key is missing."""
    check_media_proof(transfer)
    wav_rate, _ = provider_class(source.provider).bytes_per_second.get("wav", (None, None))
    packets = transfer.media_proof == "full"
    return Proof(keys=private_keys(source.private_keys), packets=packets, wav_rate=wav_rate)


def check_media_proof(transfer: TransferSettings) -> None:
    """Raise ConfigError if the configured media_proof is not installed."""
    if transfer.media_proof == "full":
        _needs("av", "verify", 'transfer.media_proof = "full"')


def private_keys(written: Sequence[PrivateKeyRef]) -> PrivateKeys | None:
    """Make the decryptor; None without private keys. Raises one ConfigError for all missing keys."""
    if not written:
        return None
    _needs("cryptography", "crypto", "a private key")
    from recvault.media.decryptor import PrivateKeys, private_key
    from recvault.providers.twilio_account import wrapped_key

    keys, problems = [], []
    for each in written:
        try:
            keys.append(private_key(each.secret.resolve(lines=True), each.secret.owner, each.public_key_sid))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return PrivateKeys(tuple(keys), wrapped_key)


def _needs(library: str, extra: str, wanted_by: str) -> None:
    try:
        importlib.import_module(library)
    except ImportError as error:
        message = f"{wanted_by} needs {library}, which cannot be imported: {error}"
        raise ConfigError(message, f"pip install 'recvault[{extra}]'") from error


def places(workers: int, processes: int, least: int = 0) -> int:
    """Return how many jobs may be started: worker processes queue some, so that outcomes are sent in batches.

    `least`: at least so many per process, if sending takes long.
    """
    ahead = _AHEAD if processes > 1 or least else 1
    return max(workers * ahead, least) * processes
