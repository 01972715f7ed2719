"""The ledger's tables, as migrations that run once each, in order. A migration is never changed, only followed."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from recvault.ledger.editions import SCHEMA as _EDITIONS

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
        watched_since TEXT NOT NULL,        -- how long its finishing is waited for; a retry starts over
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


_SECOND = (
    # By state, so that a feed's oldest is found quickly, however many wait for their provider.
    "DROP INDEX recordings_waiting",
    """
    CREATE INDEX recordings_waiting ON recordings (source, account_id, state, created_at)
        WHERE next_attempt_at IS NOT NULL
    """,
    # An account with little to do beside one with a backlog: its next is found without walking the other's.
    """
    CREATE INDEX recordings_next ON recordings (source, account_id, next_attempt_at)
        WHERE next_attempt_at IS NOT NULL
    """,
    "ALTER TABLE feeds ADD COLUMN scan_started_at TEXT",  # of a scan that has not ended
    "ALTER TABLE feeds ADD COLUMN closed_at TEXT",  # of a closed sub-account: it is not polled
    "ALTER TABLE feeds ADD COLUMN scan_seconds REAL",  # how long the last one took, however it ended
    """
    CREATE TABLE days (
        source TEXT, account_id TEXT,
        day TEXT,                           -- in UTC, on which these were archived
        recordings INTEGER NOT NULL, bytes INTEGER NOT NULL,
        last_at TEXT NOT NULL,
        PRIMARY KEY (source, account_id, day)
    ) WITHOUT ROWID
    """,
    """
    INSERT INTO days
    SELECT source, account_id, substr(settled_at, 1, 10) AS day, count(*), sum(coalesce(bytes, 0)), max(settled_at)
    FROM recordings WHERE state = 'archived' GROUP BY source, account_id, day
    """,
    """
    CREATE TRIGGER day_update AFTER UPDATE OF state ON recordings
    WHEN new.state = 'archived' AND old.state <> 'archived'
    BEGIN
        INSERT INTO days VALUES (
            new.source, new.account_id, substr(new.settled_at, 1, 10), 1, coalesce(new.bytes, 0), new.settled_at
        )
        ON CONFLICT (source, account_id, day) DO UPDATE SET
            recordings = recordings + 1, bytes = bytes + excluded.bytes, last_at = max(last_at, excluded.last_at);
    END
    """,
)


@migrations()
def first(db: Database) -> None:
    """Recordings, their tallies, feeds with their watermarks, quarantine, and facts that are remembered."""
    for statement in _FIRST:
        db.execute(statement)


@migrations()
def second(db: Database) -> None:
    """How long scans take, and what was archived on each day."""
    for statement in _SECOND:
        db.execute(statement)


@migrations()
def third(db: Database) -> None:
    """What a backfill has read completely."""
    db.execute(
        """
        CREATE TABLE slices (
            source TEXT, account_id TEXT, list TEXT, since TEXT, until TEXT NOT NULL,
            PRIMARY KEY (source, account_id, list, since)
        ) WITHOUT ROWID
        """
    )


_FOURTH = (
    # What was written down before stays where it is, and is read there: to move it would take minutes.
    "CREATE TABLE listed (id INTEGER PRIMARY KEY, recording TEXT NOT NULL)",  # by the id of its row in recordings
    """
    CREATE TRIGGER listed_update AFTER UPDATE OF state ON recordings WHEN new.state = 'archived'
    BEGIN DELETE FROM listed WHERE id = new.id; END
    """,
    """
    CREATE VIEW told AS
    SELECT id, coalesce(listed.recording, recordings.recording) AS recording FROM recordings LEFT JOIN listed USING (id)
    """,
)


@migrations()
def fourth(db: Database) -> None:
    """Listed facts of a recording are stored apart from its row; an archived row's media are stored shorter."""
    for statement in _FOURTH:
        db.execute(statement)


_FIFTH = (
    "CREATE TABLE unlisted (id INTEGER PRIMARY KEY)",  # of an archived row that no manifest lists yet
    "INSERT INTO unlisted SELECT id FROM recordings WHERE state = 'archived'",
    """
    CREATE TRIGGER unlisted_update AFTER UPDATE OF state ON recordings
    WHEN new.state = 'archived' AND old.state <> 'archived'
    BEGIN INSERT OR IGNORE INTO unlisted VALUES (new.id); END
    """,
    """
    CREATE TRIGGER unlisted_insert AFTER INSERT ON recordings WHEN new.state = 'archived'
    BEGIN INSERT OR IGNORE INTO unlisted VALUES (new.id); END
    """,
    """
    CREATE TABLE chains (               -- the newest manifest of an account that this ledger wrote or took over
        provider TEXT, account_id TEXT, number INTEGER NOT NULL, sha256 TEXT NOT NULL, through TEXT NOT NULL,
        PRIMARY KEY (provider, account_id)
    ) WITHOUT ROWID
    """,
)


@migrations()
def fifth(db: Database) -> None:
    """What no manifest lists yet, and how far each account's chain of manifests has come."""
    for statement in _FIFTH:
        db.execute(statement)


@migrations()
def sidecar_sums(db: Database) -> None:
    """The SHA-256 of each archived recording's sidecar, so that a rewritten one is detected."""
    db.execute("ALTER TABLE recordings ADD COLUMN sidecar_sha256 TEXT")  # hex; null where an earlier version archived


@migrations()
def quarantine_by_recording(db: Database) -> None:
    """A row in quarantine is found by its recording: thousands are looked for at each poll."""
    db.execute("CREATE INDEX quarantine_recording ON quarantine (source, account_id, recording_id)")


@migrations()
def looked_for_in_vain(db: Database) -> None:
    """Since when a recording that was listed is not found: it is gone only if it is not found hours later either."""
    db.execute("ALTER TABLE recordings ADD COLUMN missing_since TEXT")


_SUSPECTS = (
    # Of a recording that was under way when its process died: how often in a row.
    "CREATE TABLE suspects (id INTEGER PRIMARY KEY, deaths INTEGER NOT NULL)",
    "CREATE VIEW lone AS SELECT id FROM suspects WHERE deaths >= 2",  # must run alone
    """
    CREATE TRIGGER suspects_update AFTER UPDATE OF state ON recordings WHEN new.state = 'archived'
    BEGIN DELETE FROM suspects WHERE id = new.id; END
    """,
)


@migrations()
def process_deaths(db: Database) -> None:
    """Which recordings were under way when their process died: one of them may be why."""
    for statement in _SUSPECTS:
        db.execute(statement)


@migrations()
def whose_failure(db: Database) -> None:
    """Whether a failure may be its service's, and whether it was seen to be the recording's own."""
    db.execute("ALTER TABLE recordings ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE recordings ADD COLUMN is_proven INTEGER NOT NULL DEFAULT 0")
    db.execute(
        """
        CREATE INDEX recordings_in_doubt ON recordings (source, reason) WHERE in_doubt AND NOT is_proven
            AND state = 'failing'
        """
    )


@migrations()
def accounts_by_id(db: Database) -> None:
    """Under which names an account is known is found by its id, however many accounts there are."""
    db.execute("CREATE INDEX tallies_account ON tallies (account_id)")
    db.execute("CREATE INDEX feeds_account ON feeds (account_id)")


@migrations()
def editions(db: Database) -> None:
    """Earlier editions; whether an attempt may have put something; what was seen of media."""
    for statement in _EDITIONS:
        db.execute(statement)


@migrations()
def how_long_in_doubt(db: Database) -> None:
    """Since when a failure may be its service's, and since when a list has been answered without a longer gap."""
    db.execute("ALTER TABLE recordings ADD COLUMN in_doubt_since TEXT")
    db.execute("ALTER TABLE feeds ADD COLUMN answered_since TEXT")


_LATER = (
    *(sidecar_sums, quarantine_by_recording, looked_for_in_vain, process_deaths, whose_failure, accounts_by_id),
    *(editions, how_long_in_doubt),
)
KNOWN = frozenset(each.__name__ for each in (first, second, third, fourth, fifth, *_LATER))
