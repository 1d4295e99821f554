-- What the override chain keeps: more about events, and access requests.

ALTER TABLE events ADD COLUMN sessions   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN extensions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN warn_at    INTEGER NOT NULL DEFAULT 0; -- 0: nothing to announce
-- When something has to be done about an active event: Event.DueAt.
ALTER TABLE events ADD COLUMN due_at     INTEGER NOT NULL AS (iif(warn_at = 0, expires_at, warn_at)) VIRTUAL;

DROP INDEX events_expiry;
CREATE INDEX events_due ON events (due_at, id) WHERE status = 'active';

CREATE TABLE access_requests (
    pk                 INTEGER PRIMARY KEY,
    id                 TEXT    NOT NULL UNIQUE,
    requester          TEXT    NOT NULL,
    profile            TEXT    NOT NULL,
    justification      TEXT    NOT NULL,
    ticket             TEXT    NOT NULL,
    duration_seconds   INTEGER NOT NULL,
    status             TEXT    NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    expires_at         INTEGER NOT NULL,
    approval_rule      TEXT    NOT NULL,
    approvals_required INTEGER NOT NULL,
    approvals          TEXT    NOT NULL, -- as JSON
    auto_approved      INTEGER NOT NULL,
    approved_at        INTEGER NOT NULL, -- 0: not approved
    ended_at           INTEGER NOT NULL, -- 0: neither denied nor cancelled
    ended_by           TEXT    NOT NULL,
    ended_reason       TEXT    NOT NULL,
    sessions           INTEGER NOT NULL,
    correlation_id     TEXT    NOT NULL
) STRICT;

-- Every listing is newest first, so each index ends with the listing's order.
CREATE INDEX access_requests_created           ON access_requests (created_at, id);
CREATE INDEX access_requests_requester         ON access_requests (requester, created_at, id);
CREATE INDEX access_requests_profile           ON access_requests (profile, created_at, id);
CREATE INDEX access_requests_requester_profile ON access_requests (requester, profile, created_at, id);
CREATE INDEX access_requests_status            ON access_requests (status, created_at, id);

-- The second line of defence for "one pending and one approved request per
-- requester and profile".
CREATE UNIQUE INDEX access_requests_open ON access_requests (requester, profile, status) WHERE status IN ('pending', 'approved');
CREATE INDEX access_requests_due ON access_requests (expires_at, id) WHERE status IN ('pending', 'approved');
