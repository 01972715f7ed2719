"""The archive as its readers see it: recordings, their bytes, and tables."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from recvault.archive import DEFAULT_TEMPLATE, KeyTemplate
from recvault.errors import ConfigError
from recvault.models import JSON
from recvault.reading.catalog_rows import CatalogRows
from recvault.reading.opening import opened
from recvault.reading.recordings import Access, ArchivedRecording, recording_of
from recvault.reading.selection import Moment, Selection
from recvault.reading.sidecar_rows import UnreadSidecar, sidecar_rows
from recvault.shutdown import Stop
from recvault.store import Bucket

if TYPE_CHECKING:
    import duckdb

_DUCKDB = "install it: pip install 'recvault[catalog]'"


class Archive:
    """An archive, to be read. Makes no request until it is asked something; close it, or use it in a `with` block.

        with Archive("s3://acme-recordings/prefix") as archive:
            for recording in archive.recordings(since="2026-10-01", until="2026-11-01", number="+15551234567"):
                recording.download(f"{recording.recording_id}.{recording.media[0].media_format}")

    `url`: s3://BUCKET, s3://BUCKET/PREFIX or file:///DIRECTORY. Credentials are found as boto3 finds them; they need
    s3:GetObject and s3:ListBucket. `key_template`: as in [archive]; another one than the archive's is only slower.
    `catalog`: read the catalog where there is one and duckdb is installed. It is as new as its last run: to see what
    was archived since, say False. `catalog_url`: where the catalog is if not beside the archive: s3://BUCKET or
    file:///DIRECTORY.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint_url: str | None = None,
        profile: str | None = None,
        region: str | None = None,
        addressing_style: Literal["auto", "path", "virtual"] = "auto",
        key_template: str = DEFAULT_TEMPLATE,
        catalog: bool = True,
        catalog_url: str | None = None,
        threads: int = 16,
        stop: Stop | None = None,
    ) -> None:
        stop = stop or Stop()
        open_store = partial(
            opened,
            endpoint_url=endpoint_url,
            profile=profile,
            region=region,
            addressing_style=addressing_style,
            threads=threads,
            stop=stop,
        )
        store, prefix = open_store(url)
        try:
            keys = KeyTemplate(key_template, prefix)
        except ValueError as error:
            raise ConfigError(f"key_template {error}") from error
        catalog_store = None if catalog_url is None else open_store(catalog_url)[0]
        self._begin(store, keys, catalog, catalog_store, threads, stop)

    @classmethod
    def over(
        cls,
        store: Bucket,
        keys: KeyTemplate,
        *,
        catalog: bool = True,
        catalog_store: Bucket | None = None,
        threads: int = 16,
        stop: Stop,
    ) -> Self:
        """Return the archive in a store that is open already; closing it closes the store, and the catalog's."""
        archive = cls.__new__(cls)
        archive._begin(store, keys, catalog, catalog_store, threads, stop)
        return archive

    def _begin(
        self, store: Bucket, keys: KeyTemplate, catalog: bool, catalog_store: Bucket | None, threads: int, stop: Stop
    ) -> None:
        self.access = Access(store, store.reader(), stop)
        self.keys = keys
        self._threads = threads
        self._uses_catalog = catalog and importlib.util.find_spec("duckdb") is not None
        self._catalog_store = catalog_store
        self.catalog = CatalogRows(catalog_store or store, keys)
        self.read_from: Literal["catalog", "sidecars"] | None = None
        """What the last `recordings` were read from, once the first of them was asked for."""
        self.unreadable: list[UnreadSidecar] = []
        """Sidecars that could not be read, so that their recordings are missing in what was returned."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections, and remove copies of the catalog."""
        self.catalog.close()
        if self._catalog_store is not None:
            self._catalog_store.close()
        self.access.store.close()

    def recordings(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        number: str | None = None,
        source: str | None = None,
        recording_id: str | None = None,
        call_id: str | None = None,
    ) -> Iterator[ArchivedRecording]:
        """Yield the recordings created from `since` until before `until`, lazily.

        A number is found by its digits, in any leg of the call. Raises ValueError if a value cannot be understood.
        From a catalog they come by creation, from sidecars by key.
        """
        selection = Selection.of(since, until, number, source, recording_id, call_id)
        return self._recordings(selection)

    def table(
        self, name: Literal["recordings", "days"], since: Moment | None = None, until: Moment | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Return a table of the catalog as a DuckDB relation. It reads local copies, which `close` removes.

        Raises LookupError if the archive has no catalog, ImportError without duckdb.
        """
        if importlib.util.find_spec("duckdb") is None:
            raise ImportError(f"tables need duckdb: {_DUCKDB}")
        return self.catalog.table(name, Selection.of(since, until))

    def _recordings(self, selection: Selection) -> Iterator[ArchivedRecording]:
        for row in self._rows(selection):
            try:
                yield recording_of(row, self.access)
            except ValueError as error:
                self.unreadable.append(UnreadSidecar(str(row["sidecar_key"]), str(error)))

    def _rows(self, selection: Selection) -> Iterator[JSON]:
        found = self.catalog.rows(selection) if self._uses_catalog else None
        self.read_from = "sidecars" if found is None else "catalog"
        if found is not None:
            return found
        return sidecar_rows(self.access.reader, self.keys, selection, self._threads, self.unreadable.append)
