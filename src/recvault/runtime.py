"""The composition root: a configuration becomes clients, once per process.

Secrets are resolved here and nowhere else: into a session's `Authorization` header and the set that the logs hide.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from io import BytesIO
from types import TracebackType
from typing import Any, Self

from recvault import archive, config
from recvault.archive import KeyTemplate
from recvault.errors import ConfigError, RecvaultError, StoreRefused, StoreUnavailable, UnknownName
from recvault.fetch import Line
from recvault.http import AddressRule, Clients, Limits, Session, Timing
from recvault.ledger import Feed, FeedStatus, Ledger, Policy
from recvault.observe import get_logger, hide
from recvault.presence import Presence
from recvault.providers import provider_class
from recvault.providers.base import Provider
from recvault.report import Report
from recvault.spool import SpoolPlace
from recvault.stopping import Stop
from recvault.store import Put, S3Store, StoreFacts, WriteOptions
from recvault.store.s3 import make_client
from recvault.sync import Pass, Source
from recvault.transfer import Transfer

log = get_logger("recvault.runtime")

_STALE_UPLOAD = timedelta(days=1)


@dataclass(slots=True)
class Lines:
    """One source's ways to its accounts: sessions of their own, limits and clients shared."""

    provider: Provider
    authorization: str = field(repr=False)
    clients: Clients
    limits: Limits
    timing: Timing
    formats: tuple[str, ...]
    stop: Stop
    _made: dict[str, Line] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, account_id: str) -> Line:
        """The line to an account, made on first use."""
        with self._lock:
            if account_id not in self._made:
                self._made[account_id] = self._make(account_id)
            return self._made[account_id]

    def _make(self, account_id: str) -> Line:
        session = Session(self.provider.base_url, self.authorization, self.clients, self.limits, self.stop, self.timing)
        return Line(replace(self.provider, account_id=account_id), session, self.formats)  # type: ignore[type-var]

    def close(self) -> None:
        """Close every connection."""
        self.clients.close()
        self.limits.close()


class Runtime:
    """What the commands work with. A context that closes all it opened."""

    def __init__(self, settings: config.Config, *, clock: Callable[[], datetime], stop: Stop | None = None) -> None:
        self.settings = settings
        self.clock = clock
        self.stop = stop or Stop()
        self.keys = KeyTemplate(settings.archive.key_template, settings.archive.prefix)
        self._open = ExitStack()
        self._ledger: Ledger | None = None
        self._store: S3Store | None = None
        self._lines: dict[str, Lines] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def ledger(self) -> Ledger:
        """The ledger, opened on first use."""
        if self._ledger is None:
            self._ledger = Ledger.open(self.settings.ledger.path, self.clock())
            self._open.callback(self._ledger.close)
        return self._ledger

    @property
    def store(self) -> S3Store:
        """The bucket, not yet asked what it enforces: `prepare_store` does."""
        if self._store is None:
            self._store = S3Store(self._client(), self.settings.archive.bucket, options=_write_options(self.settings))
        return self._store

    def lines(self, name: str) -> Lines:
        """The ways to a source's accounts, its secrets resolved on first use. ConfigError where one cannot be had."""
        if name not in self._lines:
            self._lines[name] = self._make_lines(self.source(name))
            self._open.callback(self._lines[name].close)
        return self._lines[name]

    def source(self, name: str) -> config.Source:
        """A source of the configuration by its name. UnknownName where there is none."""
        for source in self.settings.sources:
            if source.name == name:
                return source
        known = ", ".join(source.name for source in self.settings.sources)
        raise UnknownName(f"no source is named {name}", f"the configuration has {known}")

    def provider(self, name: str) -> Provider:
        """A source's provider, from its plain settings: no secret is needed."""
        source = self.source(name)
        return provider_class(source.provider).from_settings(name, source.settings)

    @property
    def has_ledger(self) -> bool:
        """Whether a ledger was ever made: questions alone do not make one."""
        return self.settings.ledger.path.exists()

    def feeds(self) -> list[FeedStatus]:
        """Every feed of the ledger, and every configured source that has none yet."""
        known = self.ledger.ask.feeds() if self.has_ledger else []
        met = {status.feed.source for status in known}
        for source in self.settings.sources:
            if source.name not in met:
                provider = self.provider(source.name)
                known.append(FeedStatus(feed=Feed(source.name, provider.provider, provider.account_id)))
        return known

    def find(self, text: str) -> list[dict[str, Any]]:
        """The ledger's rows for `ID` or `SOURCE:ID`. UnknownName where there is none."""
        source, colon, rest = text.partition(":")
        named = bool(colon) and any(each.name == source for each in self.settings.sources)
        recording_id, source_name = (rest, source) if named else (text, None)
        rows = self.ledger.ask.find(recording_id, source_name) if self.has_ledger else []
        if not rows:
            raise UnknownName(f"no recording {text} is in the ledger", "`recvault sync` registers what is listed")
        return rows

    def prepare_store(self, *, ask_again: bool = False) -> StoreFacts:
        """Put the sidecar's schema in place and learn what the store enforces: asked once, remembered in the ledger."""
        body = archive.schema_bytes()
        sha256 = hashlib.sha256(body).hexdigest()
        where = self.settings.archive
        name = f"store:{where.endpoint_url}|{where.bucket}|{where.prefix}|{sha256[:16]}"
        remembered = None if ask_again else self.ledger.fact(name)
        if remembered:
            facts = StoreFacts.from_json(remembered)
        else:
            facts = self.store.ask_facts(
                Put(
                    key=self.keys.schema_key,
                    body=BytesIO(body),
                    bytes=len(body),
                    sha256=sha256,
                    content_type="application/schema+json",
                    metadata={"sha256": sha256, "schema": archive.SCHEMA},
                )
            )
            self.ledger.remember(name, facts.to_json())
            log.info("store.facts", proof=facts.proof, conditional_put=facts.conditional)
        self.store.facts = facts
        return facts

    def sync(
        self, command: str, names: Iterable[str], on_change: Callable[[Report], None] = lambda report: None
    ) -> Report:
        """One pass over these sources. One that cannot even be set up is reported, the others go on."""
        report = Report(command=command, started_at=self.clock())
        ledger = self.ledger
        sources = [source for name in names if (source := self._reported_source(name, report)) is not None]
        store_error = self._store_error()
        workers = self.settings.transfer.workers
        if self.settings.transfer.processes > 1:
            log.warning("transfer.processes_unused", hint="this version transfers in one process, whatever is set")
        with (
            ThreadPoolExecutor(max(1, len(sources)), thread_name_prefix="discover") as listers,
            ThreadPoolExecutor(workers, thread_name_prefix="transfer") as executor,
        ):
            return Pass(
                sources=sources,
                ledger=ledger,
                listers=listers,
                executor=executor,
                transfer=self.transfer(),
                workers=workers,
                stop=self.stop,
                drain_timeout=self.settings.daemon.drain_timeout,
                clock=self.clock,
                report=report,
                store_error=store_error,
                on_change=on_change,
            ).run()

    def transfer(self) -> Transfer:
        """What carries out a job in this process."""
        settings = self.settings.transfer
        return Transfer(
            store=self.store,
            keys=self.keys,
            line=lambda source, account_id: self.lines(source)(account_id),
            place=SpoolPlace(
                directory=settings.spool_dir, memory=settings.spool_memory, min_free_disk=settings.min_free_disk
            ),
            clock=self.clock,
            presence=Presence(self.store),
        )

    def _reported_source(self, name: str, report: Report) -> Source | None:
        try:
            return self._pass_source(name)
        except ConfigError as error:
            provider = self.provider(name)
            report.failed(name, provider.provider, provider.account_id, str(error), error.exit_code)
            log.error("source.unusable", source=name, error=str(error))
            return None

    def _store_error(self) -> RecvaultError | None:
        """Make the bucket ready; what stands in the way, so that sources are still listed and registered."""
        try:
            self.prepare_store()
            self._abort_stale_uploads()
        except (StoreUnavailable, StoreRefused, ConfigError) as error:
            return error
        return None

    def _pass_source(self, name: str) -> Source:
        source, lines = self.source(name), self.lines(name)
        transfer = self.settings.transfer
        return Source(
            name=name,
            line=lines,
            account_id=lines.provider.account_id,
            subaccounts=source.subaccounts,
            start_from=source.start_from,
            lookback=source.lookback,
            policy=Policy(
                max_attempts=transfer.max_attempts,
                retry_base=transfer.retry_base,
                retry_max=transfer.retry_max,
                recheck_every=source.recheck_every,
                give_up_after=source.give_up_after,
            ),
        )

    def _make_lines(self, source: config.Source) -> Lines:
        values = source.resolve_secrets()
        for key in source.secrets:
            hide(values[key])
        provider = self.provider(source.name)
        authorization = provider.authorization(values)
        hide(authorization)
        transfer = self.settings.transfer
        return Lines(
            provider=provider,
            authorization=authorization,
            clients=Clients(
                AddressRule.of(provider.base_url, source.media_hosts), transfer.stall_timeout.total_seconds()
            ),
            limits=Limits(source.requests_per_second, source.max_concurrency),
            timing=Timing(min_rate=transfer.min_rate, stall_timeout=transfer.stall_timeout.total_seconds()),
            formats=source.formats,
            stop=self.stop,
        )

    def _client(self) -> Any:
        where = self.settings.archive
        client = make_client(
            region=where.region,
            endpoint_url=where.endpoint_url,
            addressing_style=where.addressing_style,
            pool=self.settings.transfer.workers + 4,
        )
        self._open.callback(client.close)
        return client

    def _abort_stale_uploads(self) -> None:
        """What a kill left of multipart uploads costs money unseen. Without the right to list them, a rule must do."""
        try:
            aborted = self.store.abort_stale_uploads(self.keys.root, self.clock() - _STALE_UPLOAD)
        except StoreRefused:
            log.debug("store.uploads_not_listed", hint="a lifecycle rule can abort unfinished uploads")
            return
        if aborted:
            log.info("store.uploads_aborted", count=aborted)


def _write_options(settings: config.Config) -> WriteOptions:
    where = settings.archive
    return WriteOptions(
        storage_class=where.storage_class,
        sse=where.sse,
        kms_key_id=where.kms_key_id,
        lock_mode=where.object_lock.mode,
        lock_days=where.object_lock.days or 0,
        legal_hold=where.object_lock.legal_hold,
        tags=where.tags,
    )
