"""The models of the configuration, with their defaults: one per table, frozen, with attributes named like the keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from recvault.archive import DEFAULT_TEMPLATE, KeyTemplate
from recvault.config import checks, prices, proxies
from recvault.config.places import LEDGER
from recvault.config.secret import SecretRef
from recvault.config.units import parse_duration, parse_rate, parse_size, parse_time
from recvault.errors import ConfigError


def _longer_than_nothing(duration: timedelta) -> timedelta:
    if duration <= timedelta():
        raise ValueError("must be greater than 0s")
    return duration


def _template(text: str) -> str:
    KeyTemplate(text)
    return text


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _path(value: Any) -> Any:
    if value == "":
        raise ValueError("must not be empty")
    return Path(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Period = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_longer_than_nothing)]
Size = Annotated[int, BeforeValidator(parse_size)]
Rate = Annotated[int, BeforeValidator(parse_rate)]
FilePath = Annotated[Path, BeforeValidator(_path)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Start = Annotated[datetime | None, BeforeValidator(lambda value: None if value in ("", None) else parse_time(value))]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_listed)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class ObjectLock(_Table):
    """`archive.object_lock`: how long the store must refuse to delete what is archived."""

    mode: Literal["none", "GOVERNANCE", "COMPLIANCE"] = "none"
    days: Count | None = None
    legal_hold: bool = False

    @model_validator(mode="after")
    def _days_go_with_a_mode(self) -> Self:
        if (self.mode == "none") != (self.days is None):
            raise ValueError("days requires a mode other than none, and the other way round")
        return self


_OF_ANY_STORE = {"bucket", "prefix", "key_template"}


class ArchiveSettings(_Table):
    """`[archive]`: the bucket, and how objects are stored in it."""

    bucket: Annotated[str, AfterValidator(checks.bucket)]
    prefix: Annotated[str, AfterValidator(checks.prefix)] = ""
    region: Text = "us-east-1"
    endpoint_url: Annotated[str, AfterValidator(checks.endpoint)] | None = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    sender: Literal["fast", "boto3"] = "fast"
    key_template: Annotated[str, AfterValidator(_template)] = DEFAULT_TEMPLATE
    storage_class: Annotated[str, Field(pattern=r"^[A-Z0-9_]+$")] = "STANDARD"
    sse: Literal["none", "AES256", "aws:kms"] = "none"
    kms_key_id: Text | None = None
    object_lock: ObjectLock = ObjectLock()
    acl: (
        Literal[
            "private",
            "public-read",
            "public-read-write",
            "authenticated-read",
            "aws-exec-read",
            "bucket-owner-read",
            "bucket-owner-full-control",
        ]
        | None
    ) = None
    request_payer: bool = False
    checksums: Literal["auto", "sha256", "md5", "none"] = "auto"
    tags: Annotated[Mapping[str, str], AfterValidator(checks.tags)] = Field(default_factory=dict)

    @property
    def directory(self) -> Path | None:
        """The directory of the archive; None if it is an S3 bucket."""
        path = self.bucket.removeprefix(checks.DIRECTORY)
        return Path(unquote(path)) if path != self.bucket else None

    @model_validator(mode="after")
    def _a_directory_takes_no_options_of_s3(self) -> Self:
        others = sorted(self.model_fields_set - _OF_ANY_STORE)
        if self.directory is not None and others:
            raise ValueError(f'{", ".join(others)} cannot be combined with bucket = "file://…": they are of S3 alone')
        return self

    @model_validator(mode="after")
    def _key_goes_with_kms(self) -> Self:
        if (self.sse == "aws:kms") != (self.kms_key_id is not None):
            raise ValueError('sse = "aws:kms" requires kms_key_id, and the other way round')
        return self


class LedgerSettings(_Table):
    """`[ledger]`: the local database."""

    path: FilePath = LEDGER


class ClusterTLS(_Table):
    """`transfer.cluster_tls`: who may speak to the cluster, and who we are there."""

    ca: FilePath
    cert: FilePath
    key: FilePath


class TransferSettings(_Table):
    """`[transfer]`: how recordings are transferred."""

    workers: Count = 16
    processes: Count = 1
    spool_dir: FilePath = Path("/var/lib/recvault/spool")
    spool_memory: Size = 8 << 20
    min_free_disk: Size = 1 << 30
    max_attempts: Count = 12
    retry_base: Period = timedelta(seconds=30)
    retry_max: Period = timedelta(hours=6)
    cluster: Annotated[str, AfterValidator(checks.cluster)] = ""
    cluster_tls: ClusterTLS | None = None
    transport: Literal["curl", "plain"] = "curl"
    min_rate: Rate = 1 << 10
    stall_timeout: Period = timedelta(seconds=60)
    media_proof: Literal["basic", "full"] = "basic"

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        if self.retry_max < self.retry_base:
            raise ValueError("retry_max must not be shorter than retry_base")
        return self

    @model_validator(mode="after")
    def _one_way_to_carry(self) -> Self:
        if self.cluster and self.processes > 1:
            raise ValueError("cluster cannot be combined with processes: a cluster's workers are its processes")
        if self.cluster.startswith("tls:") and self.cluster_tls is None:
            raise ValueError('cluster = "tls://…" requires cluster_tls, with the files of ca, cert and key')
        return self


class DaemonSettings(_Table):
    """`[daemon]`: what only `run` needs."""

    metrics_listen: Annotated[str, AfterValidator(checks.listen)] = "127.0.0.1:9464"
    drain_timeout: Duration = timedelta(seconds=60)
    ping_url: Annotated[str, AfterValidator(checks.ping)] = ""
    ping_proxy: Annotated[
        str | SecretRef | None, BeforeValidator(lambda value: proxies.from_toml(value, "daemon: ping_proxy"))
    ] = None
    stale_after: Period = timedelta(hours=24)
    hints_listen: Annotated[str, AfterValidator(checks.listen)] = ""
    hints_url: Annotated[str, AfterValidator(checks.hints_url)] = ""

    @model_validator(mode="after")
    def _hints_have_an_address(self) -> Self:
        if self.hints_listen and not self.hints_url:
            raise ValueError("hints_listen requires hints_url, the public URL that providers send webhooks to")
        return self


def _secret(value: Any) -> Any:
    return None if value in ("", None) else SecretRef.from_toml(value, "notify: webhook_secret")


def _targets(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError('must be a list such as [{ env = "NTFY_URL" }]')
    return tuple(SecretRef.from_toml(each, f"notify: targets[{place}]") for place, each in enumerate(value))


Kind = Literal["stale", "trouble", "quiet", "dead", "quarantined", "suspect", "recovered", "summary"]


class NotifySettings(_Table):
    """`[notify]`: who is notified of what."""

    command: Annotated[Texts, AfterValidator(checks.command)] = ()
    command_timeout: Annotated[Period, AfterValidator(checks.command_timeout)] = timedelta(seconds=30)
    webhook: Annotated[str, AfterValidator(checks.webhook)] = ""
    webhook_secret: Annotated[SecretRef | None, BeforeValidator(_secret)] = None
    webhook_proxy: Annotated[
        str | SecretRef | None, BeforeValidator(lambda value: proxies.from_toml(value, "notify: webhook_proxy"))
    ] = None
    targets: Annotated[tuple[SecretRef, ...], BeforeValidator(_targets)] = ()
    events: Annotated[tuple[Kind, ...], BeforeValidator(_listed)] = get_args(Kind)
    trouble_after: Duration = timedelta(minutes=15)

    @model_validator(mode="after")
    def _a_webhook_is_signed(self) -> Self:
        if bool(self.webhook) != (self.webhook_secret is not None):
            raise ValueError("webhook requires webhook_secret, which signs it, and the other way round")
        return self


def _numbers_key(value: Any) -> Any:
    return None if value in ("", None) else SecretRef.from_toml(value, "catalog: numbers_key")


class CatalogSettings(_Table):
    """`[catalog]`: Parquet files of what the sidecars say, written daily."""

    enabled: bool = False
    bucket: Annotated[str, AfterValidator(lambda text: text and checks.bucket(text))] = ""
    retention_days: Annotated[Count | None, BeforeValidator(lambda value: value or None)] = None
    numbers: Literal["plain", "hmac", "none"] = "plain"
    numbers_key: Annotated[SecretRef | None, BeforeValidator(_numbers_key)] = None

    @model_validator(mode="after")
    def _hashes_have_a_key(self) -> Self:
        if (self.numbers == "hmac") != (self.numbers_key is not None):
            raise ValueError('numbers = "hmac" requires numbers_key, and the other way round')
        return self


def _with(known: Mapping[str, float]) -> BeforeValidator:
    """Let the configuration add to known prices, or replace one."""
    return BeforeValidator(lambda value: {**known, **value} if isinstance(value, dict) else value)


Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CostSettings(_Table):
    """`[cost]`: what storage costs a month."""

    currency: Text = prices.CURRENCY
    per_minute: Annotated[Mapping[str, Price], _with(prices.PER_MINUTE)] = Field(
        default_factory=lambda: dict(prices.PER_MINUTE)
    )
    free_minutes: Annotated[Mapping[str, Price], _with(prices.FREE_MINUTES)] = Field(
        default_factory=lambda: dict(prices.FREE_MINUTES)
    )
    bucket_per_gb: Price = prices.BUCKET_PER_GB


class PrivateKeyRef(_Table):
    """One of `private_keys`: where the key is, and optionally the id of its public key."""

    secret: SecretRef
    public_key_sid: Text | None = None


class GapsSettings(_Table):
    """`gaps` of a source: which of its calls ought to have a recording, and how far a length may be off."""

    direction: Literal["any", "inbound", "outbound"] = "any"
    numbers: Texts = ()
    min_seconds: Annotated[int, Field(ge=0)] = 10
    tolerance: Duration = timedelta(seconds=10)
    late_start: Duration = timedelta(seconds=30)


class SourceSettings(_Table):
    """One `[[sources]]` entry. `settings` are its provider's plain keys, including `base_url` if set."""

    name: Annotated[str, AfterValidator(checks.source_name)]
    provider: Text
    base_url: Annotated[str, AfterValidator(checks.base_url)] | None = None
    account: Annotated[str, AfterValidator(checks.account)] | None = None  # where the provider has no id for it
    settings: Mapping[str, str] = Field(default_factory=dict)
    secrets: Mapping[str, SecretRef] = Field(default_factory=dict)
    subaccounts: bool = False
    call_facts: bool = True
    formats: Annotated[Texts, AfterValidator(checks.distinct)]
    poll_every: Period = timedelta(minutes=5)
    lookback: Duration
    start_from: Start = None
    reconcile_every: Period = timedelta(hours=24)
    reconcile_window: Period = timedelta(days=7)
    recheck_every: Period = timedelta(minutes=2)
    give_up_after: Period = timedelta(days=3)
    quiet_after: Annotated[Period | None, BeforeValidator(lambda value: None if value == "" else value)] = None
    prune_after: Annotated[Period | None, BeforeValidator(lambda value: None if value == "" else value)] = None
    gaps: GapsSettings = GapsSettings()
    requests_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20
    max_concurrency: Count = 32
    media_hosts: Annotated[Texts, AfterValidator(checks.hosts)] = ()
    proxy: str | SecretRef | None = None  # as `proxies.from_toml` reads it
    private_keys: Annotated[tuple[PrivateKeyRef, ...], BeforeValidator(_listed)] = ()

    @property
    def identity(self) -> str:
        """What identifies the account if the provider has no account id."""
        return self.account or self.name

    def resolve_secrets(self) -> dict[str, str]:
        """Return settings and secrets as they are now. ConfigError names every secret that is not available."""
        values, problems = dict(self.settings), []
        for key, secret in self.secrets.items():
            try:
                values[key] = secret.resolve()
            except ConfigError as error:
                problems.append(str(error))
        if problems:
            raise ConfigError("\n".join(problems))
        return values


class Config(_Table):
    """The whole configuration."""

    archive: ArchiveSettings
    ledger: LedgerSettings = LedgerSettings()
    transfer: TransferSettings = TransferSettings()
    daemon: DaemonSettings = DaemonSettings()
    catalog: CatalogSettings = CatalogSettings()
    cost: CostSettings = CostSettings()
    notify: NotifySettings = NotifySettings()
    sources: Annotated[tuple[SourceSettings, ...], BeforeValidator(_listed), Field(min_length=1)]

    def secret_refs(self) -> Iterator[tuple[str, SecretRef, bool]]:
        """Yield each secret of a source: its path, its place, and whether it may have several lines."""
        for source in self.sources:
            proxy = {"proxy": source.proxy} if isinstance(source.proxy, SecretRef) else {}
            for key, secret in {**source.secrets, **proxy}.items():
                yield f"sources.{source.name}.{key}", secret, False
            for place, each in enumerate(source.private_keys):
                yield f"sources.{source.name}.private_keys[{place}]", each.secret, True
