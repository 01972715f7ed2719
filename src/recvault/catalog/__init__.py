"""The catalog: Parquet files in the bucket that hold what the sidecars say, one row a recording.

    catalog/recordings/month=2026-10/recordings.parquet     month of created_at; sorted by created_at
    catalog/days.parquet                                    recordings, seconds and bytes a day, account and source
    catalog/datapackage.json                                what each column is

Invariant: the catalog is derived. Each row follows from a sidecar, and from call facts beside it, as they are in the
bucket: whoever may LIST and GET can make it again. This room does that part which needs no bucket: from the bytes of
sidecars to rows (`flatten`), from rows to files (`merging`, the only module that uses DuckDB, in a child process of
limited memory that `spawned` starts).
"""
