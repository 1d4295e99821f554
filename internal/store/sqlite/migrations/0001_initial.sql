-- Times are microseconds since 1970-01-01 UTC.

CREATE TABLE events (
    pk               INTEGER PRIMARY KEY,
    id               TEXT    NOT NULL UNIQUE,
    invoker          TEXT    NOT NULL,
    requested_by     TEXT    NOT NULL,
    profile          TEXT    NOT NULL,
    reason_code      TEXT    NOT NULL,
    justification    TEXT    NOT NULL,
    ticket           TEXT    NOT NULL,
    duration_seconds INTEGER NOT NULL,
    status           TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    closed_at        INTEGER NOT NULL, -- 0: not closed
    closed_by        TEXT    NOT NULL,
    closed_reason    TEXT    NOT NULL,
    request_id       TEXT    NOT NULL,
    policy_rule      TEXT    NOT NULL,
    escalated        INTEGER NOT NULL
) STRICT;

-- Every listing is newest first, so each index ends with the listing's order.
CREATE INDEX events_created         ON events (created_at, id);
CREATE INDEX events_invoker         ON events (invoker, created_at, id);
CREATE INDEX events_profile         ON events (profile, created_at, id);
CREATE INDEX events_invoker_profile ON events (invoker, profile, created_at, id);
CREATE INDEX events_reason          ON events (reason_code, created_at, id);
CREATE INDEX events_status          ON events (status, created_at, id);

-- The second line of defence for "one active event per invoker and profile";
-- the first is the check inside the transaction.
CREATE UNIQUE INDEX events_active ON events (invoker, profile) WHERE status = 'active';
CREATE INDEX events_expiry ON events (expires_at, id) WHERE status = 'active';

CREATE TABLE entries (
    seq         INTEGER PRIMARY KEY, -- 1, 2, 3, … without a gap
    event       TEXT    NOT NULL,
    invoker     TEXT    NOT NULL,
    profile     TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,    -- the entry's timestamp
    -- The highest timestamp up to here. It never falls as seq rises, even when
    -- the clock was set back, so "since" is found by bisection over seq.
    high_water  INTEGER NOT NULL,
    body        TEXT    NOT NULL,    -- the canonical bytes that hash covers: the entry as JSON without "hash"
    hash        TEXT    NOT NULL
) STRICT;

CREATE INDEX entries_event   ON entries (event);
CREATE INDEX entries_invoker ON entries (invoker);
CREATE INDEX entries_profile ON entries (profile);

CREATE TABLE deliveries (
    seq          INTEGER NOT NULL REFERENCES entries (seq),
    sink         TEXT    NOT NULL,
    next_attempt INTEGER NOT NULL,   -- 0 or 1: at once, 0 first
    attempts     INTEGER NOT NULL,
    dead         INTEGER NOT NULL,
    last_error   TEXT    NOT NULL,
    event        TEXT    NOT NULL,   -- the event right after the change as JSON, or empty
    PRIMARY KEY (seq, sink)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_due  ON deliveries (sink, next_attempt, seq) WHERE dead = 0;
CREATE INDEX deliveries_dead ON deliveries (sink, seq) WHERE dead = 1;

CREATE TABLE idempotency (
    caller      TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    event_id    TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_created ON idempotency (created_at);

-- Written by the readiness check, to prove that the disk takes more.
CREATE TABLE probe (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
