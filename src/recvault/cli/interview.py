"""The questions of `recvault init`: for whom, which account, its secrets, and the bucket. Answers become a draft."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.asking import Asker
from recvault.config import SecretRef, checks
from recvault.errors import ConfigError
from recvault.log.masking import hide
from recvault.providers import provider_class, registry
from recvault.setup.draft import BucketKey, Draft, Kept, variable_name
from recvault.setup.home import Home, shown

if TYPE_CHECKING:
    from recvault.providers.base import Provider

_KNOWN = {
    "twilio": "Twilio Voice",
    "twilio-legacy": "Twilio Voice through its XML API of 2008",
    "twilio-video": "Twilio Video: tracks of rooms",
    "telnyx": "Telnyx",
    "signalwire": "SignalWire",
    "plivo": "Plivo",
    "bandwidth": "Bandwidth",
    "ringcentral": "RingCentral",
}
_SHORT = {"api_token": "token"}  # names of the unit's credentials
_COPY, _TYPE, _FOUND = "copy", "type", "found"
_REGION = "us-east-1"


@dataclass(slots=True, kw_only=True)
class Flags:
    """Answers from the command line; each is used once, so that a question can be asked again."""

    provider: str | None = None
    name: str | None = None
    settings: tuple[str, ...] = ()
    login: str | None = None
    secrets: tuple[str, ...] = ()
    typed: str | None = field(default=None, repr=False)  # the secret, from stdin
    bucket: str | None = None
    region: str | None = None
    endpoint: str | None = None
    bucket_credentials: str | None = None

    def take(self, name: str) -> Any:
        """Return a flag's value the first time, then none."""
        found = getattr(self, name)
        setattr(self, name, () if isinstance(found, tuple) else None)
        return found


@dataclass(slots=True, kw_only=True)
class Interview:
    """The answers so far."""

    ask: Asker
    flags: Flags
    home: Home
    existing: str | None
    taken: tuple[str, ...]  # names of configured sources
    source: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, Kept] = field(default_factory=dict)
    archive: dict[str, Any] = field(default_factory=dict)
    bucket_key: BucketKey | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))  # before anything is set in it

    @property
    def draft(self) -> Draft:
        return Draft(
            home=self.home,
            source=self.source,
            secrets=self.secrets,
            archive=self.archive,
            bucket_key=self.bucket_key,
            existing=self.existing,
        )

    # -- the account ---------------------------------------------------------------------------------------------------

    def account(self) -> None:
        """Ask for provider, account, name of the source, and its secrets."""
        options = [(name, _KNOWN.get(name, "a plug-in")) for name in registry()]
        name = self.ask.choice(
            self.flags.take("provider"),
            "Where are the recordings?",
            "--provider NAME",
            options,
            self.source.get("provider"),
        )
        if not name:
            self.ask.missing += ["--set KEY=VALUE for the account, as the provider needs it", "--secret WAY[:NAME]"]
            return
        try:
            provider = provider_class(name)
        except ConfigError as error:
            raise click.UsageError(str(error)) from error
        given, again = self._settings(provider), bool(self.source)
        plain, secret = self._login(provider, given)
        before = {**given, **(self.source if self.source.get("provider") == name else {})}
        answers = {key: self._setting(provider, key, {} if again else given, before.get(key)) for key in plain}
        called = self.ask.text(
            self.flags.take("name"),
            "A name for it, in logs and reports",
            "--name NAME",
            before.get("name") or self._free(name),
            self._name,
        )
        others = {key: value for key, value in given.items() if key not in answers}
        answers = {key: value for key, value in answers.items() if value != ""}
        self.source = {"name": called, "provider": name, **answers, **others}
        self.secrets = {key: self._secret(provider, key, called) for key in secret}

    def _settings(self, provider: type[Provider]) -> dict[str, Any]:
        """Return the values of --set: text for the provider's own keys, TOML for the others."""
        found: dict[str, Any] = {}
        for each in self.flags.settings:
            key, equals, value = each.partition("=")
            if not equals or not key:
                raise click.UsageError(f"--set takes KEY=VALUE, such as account_sid=AC…, not {each!r}")
            if key in provider.settings and provider.settings[key].secret:
                raise click.UsageError(f"{key} is a secret: use --secret to say where it is, never its value")
            found[key] = value if key in provider.settings else _toml_value(value)
        return found

    def _login(self, provider: type[Provider], given: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Return the plain keys and the secret ones of the credentials to use."""
        ways = {_secret_keys(provider, keys)[-1]: keys for keys in provider.credentials}
        named = [way for way, keys in ways.items() if set(keys) & set(given) - _common_keys(provider)]
        options = [(way, _doc(provider, way)) for way in ways]
        default = self.flags.take("login") or (named[0] if len(named) == 1 else None)
        way = self.ask.choice(default, "How does recvault sign in?", "--login KEY", options, options[0][0])
        keys = ways[way or options[0][0]]
        others = {key for each in provider.credentials for key in each} - set(keys)
        plain = [key for key, setting in provider.settings.items() if not setting.secret and key not in others]
        return plain, _secret_keys(provider, keys)

    def _setting(self, provider: type[Provider], key: str, given: Mapping[str, Any], before: str | None) -> str:
        question, flag = f"{key}: {_doc(provider, key)}", f"--set {key}=VALUE"
        if any(key in keys for keys in provider.credentials):
            return self.ask.text(given.get(key), question, flag, before, _not_empty)
        if "base_url" in self._settings(provider):
            return before or ""  # e.g. a space, which base_url replaces
        return self.ask.text(given.get(key), question, flag, before or "")

    def _name(self, text: str) -> str:
        if text in self.taken:
            raise ValueError(f"is already a source's; others are {', '.join(self.taken)}")
        return checks.source_name(text)

    def _free(self, name: str) -> str:
        """Return a name like the provider's that no other source has."""
        numbered = (f"{name}-{number}" for number in range(2, 1000))
        return next(each for each in (name, *numbered) if each not in self.taken)

    # -- its secrets ---------------------------------------------------------------------------------------------------

    def _secret(self, provider: type[Provider], key: str, called: str) -> Kept:
        way, name = self._place(provider, key, called)
        if not way:
            return Kept(way="env", name="")
        kept = Kept(way=way, name=name)
        if typed := self.flags.take("typed"):
            kept = replace(kept, value=typed, is_new=True)
        elif (found := self._already(kept)) is not None:
            click.echo(f"{name} holds {key} already: it is used.")
            kept = found
        else:
            question = key if len(provider.credentials) > 1 else f"{key}: {_doc(provider, key)}"
            value = self.ask.secret(question, f"--secret-stdin, or {key} in {name}")
            kept = replace(kept, value=value, is_new=True)
        hide(kept.value)
        if way == "env":
            os.environ[name] = kept.value  # for the tests, and the first sync
        return kept

    def _place(self, provider: type[Provider], key: str, called: str) -> tuple[str, str]:
        given = _of_key(self.flags.secrets, key)
        way, _, name = (given or "").partition(":")
        variable = name if way == "env" and name else f"{called}-{key}".upper().replace("-", "_").replace(".", "_")
        variable = variable if variable[0].isalpha() else f"RECVAULT_{variable}"
        places = {
            "file": str(self.home.secret(called, key)),
            "env": variable,
            "credential": f"{called}-{_SHORT.get(key, key)}".replace("_", "-"),
        }
        way = self.ask.choice(
            way or None,
            f"Where is {key} kept?",
            "--secret WAY[:NAME]",
            self._ways(places),
            next(iter(self._ways(places)))[0],
        )
        place = name or places.get(way, "")
        try:
            place = variable_name(place) if way == "env" else place
        except ValueError as error:
            raise click.UsageError(f"--secret {way}:{place} {error}") from None
        return way, str(Path(place).expanduser().absolute()) if way == "file" else place

    def _ways(self, places: Mapping[str, str]) -> list[tuple[str, str]]:
        file, variable = places["file"], places["env"]
        if not self.home.is_system:
            return [
                ("file", f"{shown(Path(file))}, which only you can read"),
                ("env", f"the environment variable {variable}, which you set yourself"),
            ]
        credential = self.home.credential(places["credential"])
        return [
            ("credential", f"{credential}, which only root can read; systemd hands it to the service"),
            ("env", f"{variable} in {self.home.environment}, which only root can read"),
            ("file", "a file that you make readable for the service's user"),
        ]

    def _already(self, kept: Kept) -> Kept | None:
        """Return the secret with its existing value; None if there is none."""
        if kept.way == "env":
            value = self.environment.get(kept.name, "")
            return replace(kept, value=value, is_new=self.home.is_system) if value else None
        path = kept.file(self.home)
        if path is None or not path.exists():
            return None
        return replace(kept, value=SecretRef(file=str(path), owner=kept.name).resolve())

    # -- the bucket ----------------------------------------------------------------------------------------------------

    def bucket(self) -> None:
        """Ask for bucket or directory, and its credentials; not if a source is added to a configuration."""
        if self.existing is not None:
            return
        before = self.archive
        bucket = self.ask.text(
            self.flags.take("bucket"),
            "\nBucket for the archive (or a directory, such as /srv/recordings)",
            "--bucket NAME",
            before.get("bucket"),
            _bucket,
        )
        if not bucket or bucket.startswith(checks.DIRECTORY):
            self.archive, self.bucket_key = {"bucket": bucket}, None
            return
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _REGION
        self.archive = {
            "bucket": bucket,
            "region": self.ask.text(
                self.flags.take("region"), "Region", "--region NAME", before.get("region") or region, _not_empty
            ),
        }
        endpoint = self.ask.text(
            self.flags.take("endpoint"),
            "Endpoint URL of an S3-compatible store (empty: AWS)",
            "--endpoint-url URL",
            before.get("endpoint_url") or "",
            lambda text: checks.endpoint(text) if text else "",
        )
        if endpoint:
            self.archive["endpoint_url"] = endpoint
        self.bucket_key = self._bucket_key()

    def _bucket_key(self) -> BucketKey | None:
        """Return an access key to store, if recvault would not find one by itself."""
        given, place = self.flags.take("bucket_credentials"), self.home.aws
        ours = self.environment.get("AWS_ACCESS_KEY_ID", "")
        is_found = place.exists() or (bool(ours or self.environment.get("AWS_PROFILE")) and not self.home.is_system)
        if given == _COPY and (place.exists() or not ours):
            why = f"{place} exists already, and is used" if place.exists() else "AWS_ACCESS_KEY_ID is not set"
            raise click.UsageError(f"--bucket-credentials copy: {why}")
        if given is None and is_found:
            return None
        where = f"{shown(place)}, which only {'root' if self.home.is_system else 'you'} can read"
        lasting = bool(ours) and not self.environment.get("AWS_SESSION_TOKEN")
        options = [(_COPY, f"{ours} from this environment, copied to {where}")] if lasting else []
        if self.ask.interactive:
            options += [(_TYPE, f"an access key that you type now, kept in {where}")]
        options += [(_FOUND, "an instance role, or whatever else AWS tools find here")]
        way = self.ask.choice(
            given, "Which credentials open the bucket?", "--bucket-credentials WAY", options, options[0][0]
        )
        if way == _COPY:
            return _key(ours, self.environment.get("AWS_SECRET_ACCESS_KEY", ""))
        if way == _TYPE:
            access_key = self.ask.text(None, "Access key id", "-", None, _not_empty)
            return _key(access_key, self.ask.secret("Secret access key", "-"))
        return None


def _key(access_key: str, secret_key: str) -> BucketKey:
    hide(secret_key)
    os.environ.update(AWS_ACCESS_KEY_ID=access_key, AWS_SECRET_ACCESS_KEY=secret_key)  # for the tests
    return BucketKey(access_key=access_key, secret_key=secret_key)


def _bucket(text: str) -> str:
    """Read the usual forms: a name, s3://NAME, a path, or file:///PATH."""
    text = text.strip().removeprefix("s3://").rstrip("/") or text
    if text.startswith(("/", "~")):
        text = checks.DIRECTORY + str(Path(text).expanduser())
    return checks.bucket(text)


def _not_empty(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("must be text, not empty")
    return text


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _of_key(given: tuple[str, ...], key: str) -> str | None:
    """Return what --secret says about a key: KEY=WAY:NAME, or without a key for any."""
    for each in given:
        named, equals, rest = each.partition("=")
        if equals and named == key:
            return rest
    return next((each for each in given if "=" not in each.partition(":")[0]), None)


def _secret_keys(provider: type[Provider], keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if provider.settings[key].secret]


def _common_keys(provider: type[Provider]) -> set[str]:
    """Return the keys that belong to every set of credentials."""
    return set.intersection(*(set(keys) for keys in provider.credentials))


def _doc(provider: type[Provider], key: str) -> str:
    return provider.settings[key].doc or key
