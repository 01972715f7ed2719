"""The ledger's tables, as migrations that run once each, in order. A migration is never changed, only followed."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("recvault")

_TALLY = """
    INSERT INTO tallies (source, account_id, state, count) VALUES ({row}.source, {row}.account_id, {row}.state, {step})
    ON CONFLICT (source, account_id, state) DO UPDATE SET count = count + {step};
"""


_FIRST = (
    """
    CREATE TABLE recordings (
        id INTEGER PRIMARY KEY,
        provider TEXT NOT NULL,
        account_id TEXT NOT NULL,
        recording_id TEXT NOT NULL,
        source TEXT NOT NULL,               -- that registered it first
        api TEXT NOT NULL,
        created_at TEXT NOT NULL,
        registered_at TEXT NOT NULL,
        watched_since TEXT NOT NULL,        -- how long its finishing is waited for; a retry starts anew
        state TEXT NOT NULL,                -- pending, failing, not_ready, archived, gone, external, dead
        attempts INTEGER NOT NULL DEFAULT 0,
        faults INTEGER NOT NULL DEFAULT 0,  -- attempts that failed by its own fault
        next_attempt_at TEXT,               -- null where nothing is left to do; the end of the lease while leased
        lease TEXT,                         -- the process that works on it
        failing_since TEXT,
        verdict TEXT,
        reason TEXT,
        message TEXT,
        settled_at TEXT,
        sidecar_key TEXT,
        bytes INTEGER,
        media TEXT,                         -- JSON of the receipt's media
        recording TEXT                      -- the whole Recording; null once its sidecar holds it
    )
    """,
    "CREATE UNIQUE INDEX recordings_identity ON recordings (recording_id, account_id, provider)",
    "CREATE INDEX recordings_due ON recordings (source, next_attempt_at) WHERE next_attempt_at IS NOT NULL",
    """
    CREATE INDEX recordings_waiting ON recordings (source, account_id, created_at, next_attempt_at)
        WHERE next_attempt_at IS NOT NULL
    """,
    "CREATE INDEX recordings_leased ON recordings (lease) WHERE lease IS NOT NULL",
    "CREATE INDEX recordings_failing ON recordings (failing_since) WHERE failing_since IS NOT NULL",
    """
    CREATE TABLE tallies (
        source TEXT, account_id TEXT, state TEXT, count INTEGER NOT NULL,
        PRIMARY KEY (source, account_id, state)
    ) WITHOUT ROWID
    """,
    f"CREATE TRIGGER tally_insert AFTER INSERT ON recordings BEGIN {_TALLY.format(row='new', step='1')} END",
    f"""
    CREATE TRIGGER tally_update AFTER UPDATE OF state, source ON recordings
    WHEN old.state <> new.state OR old.source <> new.source
    BEGIN {_TALLY.format(row="old", step="-1")} {_TALLY.format(row="new", step="1")} END
    """,
    """
    CREATE TABLE feeds (
        source TEXT, account_id TEXT, list TEXT,
        provider TEXT NOT NULL,
        watermark TEXT,                     -- everything the provider lists as older is registered
        last_success_at TEXT,
        error TEXT, error_at TEXT,          -- of the last scan, where it failed
        PRIMARY KEY (source, account_id, list)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE quarantine (
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL, account_id TEXT NOT NULL, recording_id TEXT,
        digest TEXT NOT NULL, body TEXT NOT NULL, reason TEXT NOT NULL,
        first_seen_at TEXT NOT NULL, last_seen_at TEXT NOT NULL,
        UNIQUE (source, account_id, digest)
    )
    """,
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)


@migrations()
def first(db: Database) -> None:
    """Recordings, their tallies, feeds with their watermarks, quarantine, and facts that are remembered."""
    for statement in _FIRST:
        db.execute(statement)
