"""Sort a `[[sources]]` table by its provider: common keys, plain settings, secrets; say what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from recvault.config import proxies
from recvault.config.checks import choice
from recvault.config.locate import ConfigProblem
from recvault.config.secret import WAYS, SecretRef
from recvault.config.settings import PrivateKeyRef, SourceSettings
from recvault.errors import ConfigError
from recvault.providers import provider_class
from recvault.providers.base import Provider, deletes, requests_per_second

COMMON = frozenset(SourceSettings.model_fields) - {"settings", "secrets"}
_NOBODY = "a-name-that-is-no-account"


def sort_source(index: int, table: Mapping[str, Any]) -> tuple[dict[str, Any], list[ConfigProblem]]:
    """Turn a table into input of `SourceSettings`, with the provider's defaults, and list its problems."""
    at = ("sources", index)
    shaped = {key: value for key, value in table.items() if key in COMMON}
    provider, problems = _provider(at, table.get("provider"))
    if provider is None:
        return {"lookback": timedelta(), "formats": ("wav",), **shaped}, problems
    shaped = {key: value for key, value in shaped.items() if key in _common(provider)}
    shaped.setdefault("lookback", provider.default_lookback)
    if pace := requests_per_second(provider):
        shaped.setdefault("requests_per_second", pace)
    if provider.one_format:  # whatever is configured, it has one format
        shaped["formats"] = provider.formats
    else:
        shaped.setdefault("formats", ("wav",) if "wav" in provider.formats else provider.formats)
        problems += _formats(at, provider, shaped["formats"])
    problems += _unknown(at, provider, table)
    if table.get("prune_after") and not deletes(provider):
        problems.append(
            ConfigProblem((*at, "prune_after"), f"{provider.name} cannot delete recordings: remove this key")
        )
    owner = table["name"] if isinstance(table.get("name"), str) else f"sources[{index}]"
    shaped["secrets"], secret_problems = _secrets(at, provider, table, owner)
    shaped["settings"], setting_problems = _settings(at, provider, table)
    shaped["private_keys"], key_problems = _private_keys(at, table.get("private_keys", []), owner)
    problems += key_problems
    try:
        shaped["proxy"] = proxies.from_toml(table.get("proxy"), f"{owner}: proxy")
    except ValueError as error:
        shaped["proxy"] = None
        problems.append(ConfigProblem((*at, "proxy"), str(error)))
    misfits = [*secret_problems, *setting_problems]
    return shaped, [*problems, *misfits, *_credentials(at, provider, table, built=not misfits, owner=owner)]


def _common(provider: type[Provider]) -> frozenset[str]:
    """Return the common keys; a provider with its own `account` keeps that key."""
    return COMMON - ({"account"} & set(provider.settings))


def _provider(at: tuple[str, int], name: Any) -> tuple[type[Provider] | None, list[ConfigProblem]]:
    if not isinstance(name, str):
        return None, []  # the model reports it
    try:
        return provider_class(name), []
    except ConfigError as error:
        return None, [ConfigProblem((*at, "provider"), str(error))]


def _formats(at: tuple[str, int], provider: type[Provider], formats: Any) -> Iterator[ConfigProblem]:
    for place, name in enumerate(formats if isinstance(formats, list) else ()):
        if isinstance(name, str) and name not in provider.formats:
            yield ConfigProblem((*at, "formats", place), f"{provider.name} serves {choice(provider.formats)}")


def _unknown(at: tuple[str, int], provider: type[Provider], table: Mapping[str, Any]) -> Iterator[ConfigProblem]:
    known = [*provider.settings, *sorted(COMMON)]
    for key in table:
        if key not in known:
            yield ConfigProblem.unknown((*at, key), known)


def _secrets(
    at: tuple[str, int], provider: type[Provider], table: Mapping[str, Any], owner: str
) -> tuple[dict[str, SecretRef], list[ConfigProblem]]:
    secrets, problems = {}, []
    for key, setting in provider.settings.items():
        if setting.secret and key in table and key not in _common(provider):
            try:
                secrets[key] = SecretRef.from_toml(table[key], f"{owner}: {key}")
            except ValueError as error:
                problems.append(ConfigProblem((*at, key), str(error)))
    return secrets, problems


def _private_keys(at: tuple[str, int], written: Any, owner: str) -> tuple[Any, list[ConfigProblem]]:
    """Read the private keys: each is a secret's table that may also name its public key."""
    if not isinstance(written, list):
        return (), [ConfigProblem((*at, "private_keys"), f"must be a list of {WAYS}")]
    keys, problems = [], []
    for place, each in enumerate(written):
        where = dict(each) if isinstance(each, dict) else each
        sid = where.pop("public_key_sid", None) if isinstance(where, dict) else None
        try:
            if sid is not None and not (isinstance(sid, str) and sid.isascii() and sid.isalnum()):
                raise ValueError("public_key_sid must be text such as CR0123, letters and digits alone")
            secret = SecretRef.from_toml(where, f"{owner}: private_keys[{place}]")
            keys.append(PrivateKeyRef(secret=secret, public_key_sid=sid))
        except ValueError as error:
            problems.append(ConfigProblem((*at, "private_keys", place), str(error)))
    return tuple(keys), problems


def _settings(
    at: tuple[str, int], provider: type[Provider], table: Mapping[str, Any]
) -> tuple[dict[str, str], list[ConfigProblem]]:
    settings, problems = {}, []
    for key, setting in provider.settings.items():
        if not setting.secret and key in table and key not in _common(provider):
            value = table[key]
            if isinstance(value, str) and value and value.isprintable() and value == value.strip():
                settings[key] = value
            else:
                problems.append(ConfigProblem((*at, key), "must be text, not empty, without spaces around it"))
    base_url = table.get("base_url")
    if isinstance(base_url, str):
        settings["base_url"] = base_url.rstrip("/")
    return settings, problems


def _credentials(
    at: tuple[str, int], provider: type[Provider], table: Mapping[str, Any], *, built: bool, owner: str
) -> Iterator[ConfigProblem]:
    """Demand exactly one complete set; sub-accounts only if these credentials reach them; then the provider's own
    check."""
    ways = "; or ".join(", ".join(keys) for keys in provider.credentials)
    whole = [keys for keys in provider.credentials if all(key in table for key in keys)]
    if len(whole) != 1:
        stray = "incomplete credentials: set" if not whole else "more than one set of credentials: keep one of"
        yield ConfigProblem(at, f"{stray} {ways}")
        return
    others = {key for keys in provider.credentials for key in keys} - set(whole[0])
    for key in sorted(others & set(table)):
        yield ConfigProblem((*at, key), f"belongs to another set of credentials; keep one of: {ways}")
    if table.get("subaccounts") is True:
        if not provider.has_subaccounts:
            yield ConfigProblem(
                (*at, "subaccounts"), f"{provider.name} cannot list sub-accounts: add a source for each account"
            )
        for key in whole[0]:
            if not provider.settings[key].reaches_subaccounts:
                reach = "; or ".join(", ".join(keys) for keys in provider.credentials if key not in keys)
                yield ConfigProblem(
                    (*at, "subaccounts"), f"credentials with {key} do not reach sub-accounts: use {reach}"
                )
    if built:
        yield from _refused(at, provider, table, owner)


def _refused(
    at: tuple[str, int], provider: type[Provider], table: Mapping[str, Any], owner: str
) -> Iterator[ConfigProblem]:
    settings, _ = _settings(at, provider, table)
    try:
        provider.from_settings(owner, settings)
        named = names_its_account(provider, settings)
    except (ConfigError, ValueError) as error:
        yield ConfigProblem(at, str(error))
    else:
        if not named and "account" in table and "account" not in provider.settings:
            yield ConfigProblem((*at, "account"), f"{provider.name} has its own account id: remove this key")


def names_its_account(provider: type[Provider], settings: Mapping[str, str]) -> bool:
    """Whether the configuration names the account, because the provider has no id for it."""
    return provider.from_settings(_NOBODY, settings).account_id == _NOBODY
