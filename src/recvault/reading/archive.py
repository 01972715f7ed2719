"""The archive as its readers see it: recordings, their bytes, and tables."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
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
    was archived since, say False.
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
        threads: int = 16,
        stop: Stop | None = None,
    ) -> None:
        stop = stop or Stop()
        store, prefix = opened(
            url,
            endpoint_url=endpoint_url,
            profile=profile,
            region=region,
            addressing_style=addressing_style,
            threads=threads,
            stop=stop,
        )
        try:
            keys = KeyTemplate(key_template, prefix)
        except ValueError as error:
            raise ConfigError(f"key_template {error}") from error
        self._begin(store, keys, catalog, threads, stop)

    @classmethod
    def over(cls, store: Bucket, keys: KeyTemplate, *, catalog: bool = True, threads: int = 16, stop: Stop) -> Self:
        """Return the archive in a store that is open already; closing it closes the store."""
        archive = cls.__new__(cls)
        archive._begin(store, keys, catalog, threads, stop)
        return archive

    def _begin(self, store: Bucket, keys: KeyTemplate, catalog: bool, threads: int, stop: Stop) -> None:
        self.access = Access(store, store.reader(), stop)
        self.keys = keys
        self._threads = threads
        self._uses_catalog = catalog and importlib.util.find_spec("duckdb") is not None
        self.catalog = CatalogRows(store, self.access.reader, keys)
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
        self.access.store.close()

    def recordings(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        number: str | None = None,
        source: str | None = None,
        recording_id: str | None = None,
    ) -> Iterator[ArchivedRecording]:
        """Yield the recordings created from `since` until before `until`, lazily.

        A number is found by its digits, in any leg of the call. Raises ValueError if a value cannot be understood.
        From a catalog they come by creation, from sidecars by key.
        """
        selection = Selection.of(since, until, number, source, recording_id)
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
        if found is not None:
            return found
        return sidecar_rows(self.access.reader, self.keys, selection, self._threads, self.unreadable.append)
