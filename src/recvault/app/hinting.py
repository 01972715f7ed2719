"""Which sources take hints, and how these are verified."""

from __future__ import annotations

from datetime import datetime

from recvault.app.source_status import Inquiry
from recvault.config import SourceSettings
from recvault.errors import ConfigError
from recvault.ledger import Ledger
from recvault.log.masking import hide
from recvault.models import stamp, unstamp
from recvault.providers.hints import HintingProvider, check_public_key

_ARRIVED = "hints:{source}:arrived"


def lacking(inquiry: Inquiry, source: SourceSettings) -> str | None:
    """Return why a source takes no hints; None if it does."""
    asked = inquiry.provider(source.name)
    if not isinstance(asked, HintingProvider):
        return f"{source.provider} has no webhooks that can be verified"
    unset = [key for key in asked.hint_settings if key not in source.settings and key not in source.secrets]
    return f"{', '.join(unset)} is not set, which verifies webhooks" if unset else None


def verifier(inquiry: Inquiry, source: SourceSettings) -> tuple[HintingProvider, dict[str, str]]:
    """Return the provider of a source that takes hints, and the settings that verify its webhooks.

    ConfigError if a secret or a library is not available, or a key is invalid.
    """
    asked = inquiry.provider(source.name)
    assert isinstance(asked, HintingProvider)  # noqa: S101 - nothing is lacking
    values = {key: source.settings[key] for key in asked.hint_settings if key in source.settings}
    for key in asked.hint_settings:
        if key in source.secrets:
            values[key] = source.secrets[key].resolve()
            hide(values[key])
    _check_key(source.name, values)
    return asked, values


def _check_key(name: str, values: dict[str, str]) -> None:
    """Check a public key now, so that `check` can say what is wrong with it."""
    if "webhook_public_key" not in values:
        return
    try:
        check_public_key(values["webhook_public_key"])
    except ImportError as error:
        message = f"webhooks of {name} need cryptography, which cannot be imported: {error}"
        raise ConfigError(message, "pip install 'recvault[crypto]'") from error
    except ValueError as error:
        raise ConfigError(
            f"{name}: webhook_public_key is not an Ed25519 public key in base64", "copy it from the provider's portal"
        ) from error


def note_arrival(ledger: Ledger, source: str, now: datetime) -> None:
    """Remember that a verified hint arrived."""
    ledger.remember(_ARRIVED.format(source=source), stamp(now))


def last_arrival(ledger: Ledger, source: str) -> datetime | None:
    """Return when a verified hint last arrived, to the minute; None if none did."""
    told = ledger.fact(_ARRIVED.format(source=source))
    return unstamp(told) if told else None
