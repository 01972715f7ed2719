"""The ledger's tables, as migrations that each run once, in order. A migration is never changed, only followed."""

from __future__ import annotations

from recvault.ledger.call_lists import SCHEMA as _CALL_LISTS
from recvault.ledger.custody_records import SCHEMA as _LISTED_RECORDS
from recvault.ledger.custody_records import TOMBSTONES as _TOMBSTONES
from recvault.ledger.database import Database, Migrations
from recvault.ledger.editions import SCHEMA as _EDITIONS
from recvault.ledger.hours import SCHEMA as _HOURS
from recvault.ledger.pruned import SCHEMA as _PRUNED
from recvault.ledger.uncatalogued import SCHEMA as _UNCATALOGUED

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
    # With the state, so that a feed's oldest is found quickly, however many are not ready.
    "DROP INDEX recordings_waiting",
    """
    CREATE INDEX recordings_waiting ON recordings (source, account_id, state, created_at)
        WHERE next_attempt_at IS NOT NULL
    """,
    # The next due recording of an account is found without reading through another account's backlog.
    """
    CREATE INDEX recordings_next ON recordings (source, account_id, next_attempt_at)
        WHERE next_attempt_at IS NOT NULL
    """,
    "ALTER TABLE feeds ADD COLUMN scan_started_at TEXT",  # of a scan that is running
    "ALTER TABLE feeds ADD COLUMN closed_at TEXT",  # of a closed sub-account, which is not polled
    "ALTER TABLE feeds ADD COLUMN scan_seconds REAL",  # of the last scan, complete or not
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
    """Add recordings, their tallies, feeds with their watermarks, the quarantine, and facts."""
    for statement in _FIRST:
        db.execute(statement)


@migrations()
def second(db: Database) -> None:
    """Add how long scans take, and what was archived on each day."""
    for statement in _SECOND:
        db.execute(statement)


@migrations()
def third(db: Database) -> None:
    """Add the intervals that a backfill has read completely."""
    db.execute(
        """
        CREATE TABLE slices (
            source TEXT, account_id TEXT, list TEXT, since TEXT, until TEXT NOT NULL,
            PRIMARY KEY (source, account_id, list, since)
        ) WITHOUT ROWID
        """
    )


_FOURTH = (
    # Existing values stay in their rows and are read there: to move them would take minutes.
    "CREATE TABLE listed (id INTEGER PRIMARY KEY, recording TEXT NOT NULL)",  # id: of the row in recordings
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
    """Store a recording's listed facts apart from its row; an archived row's media are stored in short form."""
    for statement in _FOURTH:
        db.execute(statement)


_FIFTH = (
    "CREATE TABLE unlisted (id INTEGER PRIMARY KEY)",  # id: of an archived row that no manifest lists yet
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
    """Add what no manifest lists yet, and how far each account's chain of manifests has come."""
    for statement in _FIFTH:
        db.execute(statement)


@migrations()
def sidecar_sums(db: Database) -> None:
    """Add the SHA-256 of each archived recording's sidecar, so that a rewritten one is detected."""
    db.execute("ALTER TABLE recordings ADD COLUMN sidecar_sha256 TEXT")  # hex; null if archived by an earlier version


@migrations()
def quarantine_by_recording(db: Database) -> None:
    """Index the quarantine by recording: thousands are looked up at each poll."""
    db.execute("CREATE INDEX quarantine_recording ON quarantine (source, account_id, recording_id)")


@migrations()
def looked_for_in_vain(db: Database) -> None:
    """Add since when a listed recording is not found: it is gone only if it is still not found hours later."""
    db.execute("ALTER TABLE recordings ADD COLUMN missing_since TEXT")


_SUSPECTS = (
    # How often in a row a recording was being transferred when its process died.
    "CREATE TABLE suspects (id INTEGER PRIMARY KEY, deaths INTEGER NOT NULL)",
    "CREATE VIEW lone AS SELECT id FROM suspects WHERE deaths >= 2",  # must run alone
    """
    CREATE TRIGGER suspects_update AFTER UPDATE OF state ON recordings WHEN new.state = 'archived'
    BEGIN DELETE FROM suspects WHERE id = new.id; END
    """,
)


@migrations()
def process_deaths(db: Database) -> None:
    """Add which recordings were being transferred when their process died: one of them may be the cause."""
    for statement in _SUSPECTS:
        db.execute(statement)


@migrations()
def whose_failure(db: Database) -> None:
    """Add whether a failure may be its service's, and whether it is proven to be the recording's own."""
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
    """Index accounts by id: the names under which one is known are found however many accounts there are."""
    db.execute("CREATE INDEX tallies_account ON tallies (account_id)")
    db.execute("CREATE INDEX feeds_account ON feeds (account_id)")


@migrations()
def editions(db: Database) -> None:
    """Add earlier editions, whether an attempt may have put something, and what was seen of incomplete media."""
    for statement in _EDITIONS:
        db.execute(statement)


@migrations()
def how_long_in_doubt(db: Database) -> None:
    """Add since when a failure may be its service's, and since when a list has been answered without a longer gap."""
    db.execute("ALTER TABLE recordings ADD COLUMN in_doubt_since TEXT")
    db.execute("ALTER TABLE feeds ADD COLUMN answered_since TEXT")


_NOTICES = (
    """
    CREATE TABLE notice_states (
        topic TEXT, subject TEXT,
        since TEXT NOT NULL,                -- when it was first seen so
        told TEXT NOT NULL,                 -- what of it was told last; empty: nothing
        told_at TEXT,
        PRIMARY KEY (topic, subject)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE notices (                  -- what a channel has not accepted yet
        id INTEGER PRIMARY KEY,
        channel TEXT NOT NULL,
        body TEXT NOT NULL,
        noted_at TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_attempt_at TEXT NOT NULL
    )
    """,
    "CREATE INDEX notices_due ON notices (channel, next_attempt_at)",
)


@migrations()
def notices(db: Database) -> None:
    """What was told of each state, and which notices wait."""
    for statement in _NOTICES:
        db.execute(statement)


_CALLS = (
    "ALTER TABLE recordings ADD COLUMN call_id TEXT",  # null where the provider names none
    "CREATE INDEX recordings_call ON recordings (call_id, created_at) WHERE call_id IS NOT NULL",
    """
    UPDATE recordings SET call_id = (
        SELECT json_extract(recording, '$.call_id') FROM told WHERE told.id = recordings.id
    ) WHERE state <> 'archived'
    """,
    # Of what was archived before, only the sidecars know it.
    "INSERT OR IGNORE INTO facts SELECT 'calls.incomplete', 'yes' WHERE EXISTS "
    "(SELECT 1 FROM tallies WHERE state = 'archived' AND count > 0)",
)


@migrations()
def calls(db: Database) -> None:
    """Add each recording's call, by which recordings are found."""
    for statement in _CALLS:
        db.execute(statement)


_UNCALLED = (
    """
    CREATE TABLE uncalled (
        id INTEGER PRIMARY KEY,             -- of the recording's row
        misses INTEGER NOT NULL DEFAULT 0,  -- how often the list of calls was read without it
        next_at TEXT NOT NULL
    )
    """,
    "CREATE INDEX uncalled_due ON uncalled (next_at)",
)


@migrations()
def call_facts(db: Database) -> None:
    """Add which archived recordings have a sidecar without the facts of their call."""
    for statement in _UNCALLED:
        db.execute(statement)


@migrations()
def uncatalogued(db: Database) -> None:
    """Add what the catalog lacks."""
    for statement in _UNCATALOGUED:
        db.execute(statement)


@migrations()
def failing_call_lists(db: Database) -> None:
    """Add which lists of calls fail, and how often that kept a recording from its call."""
    db.execute(_CALL_LISTS)
    db.execute("ALTER TABLE uncalled ADD COLUMN failures INTEGER NOT NULL DEFAULT 0")


@migrations()
def listed_records(db: Database) -> None:
    """Add which of custody's records manifests list."""
    db.execute(_LISTED_RECORDS)


@migrations()
def pruned(db: Database) -> None:
    """Add which archived recordings were deleted at their provider."""
    for statement in _PRUNED:
        db.execute(statement)


@migrations()
def hours(db: Database) -> None:
    """Add in which hours of the last weeks each account had recordings."""
    for statement in _HOURS:
        db.execute(statement)


@migrations()
def tombstones(db: Database) -> None:
    """Add which recordings are erased: no list brings them back."""
    for statement in _TOMBSTONES:
        db.execute(statement)


_LATER = (
    *(sidecar_sums, quarantine_by_recording, looked_for_in_vain, process_deaths, whose_failure, accounts_by_id),
    *(editions, how_long_in_doubt, notices, calls, call_facts, uncatalogued, failing_call_lists, listed_records),
    *(pruned, hours, tombstones),
)
KNOWN = frozenset(each.__name__ for each in (first, second, third, fourth, fifth, *_LATER))
