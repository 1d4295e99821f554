-- Second factors. The secret is sealed before it comes here.
CREATE TABLE factors (
    name          TEXT    PRIMARY KEY,
    sealed        TEXT    NOT NULL,
    key_id        TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    confirmed_at  INTEGER NOT NULL,
    last_step     INTEGER NOT NULL,
    failures      INTEGER NOT NULL,
    failed_at     INTEGER NOT NULL,
    locked_until  INTEGER NOT NULL,
    invitation    TEXT    NOT NULL,
    invited_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
