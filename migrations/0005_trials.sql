-- Trials: registered routers that are tried on live traffic before anybody promotes them.

-- One row is one trial. It is written when the trial begins and changed once, when it ends.
CREATE TABLE trials (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The router that is tried.
    router          TEXT    NOT NULL REFERENCES routers (id),
    -- shadow: it decides beside the router in force, and nobody acts on it. canary: it decides for a share of the sessions.
    -- No CHECK, as for all words.
    kind            TEXT    NOT NULL CHECK (kind <> ''),
    -- The canary's share of the sessions; NULL for a shadow.
    share           REAL    CHECK (share > 0 AND share < 1),
    -- The router that was in force when it began; NULL: the one that needs no registry.
    champion        TEXT    REFERENCES routers (id),
    started_at_ms   INTEGER NOT NULL,
    started_by      TEXT    NOT NULL CHECK (started_by <> ''),
    why             TEXT,
    -- The last rowid of `outcomes` and the last id of `feedback` before it began: where whoever judges it begins to read.
    outcomes_before INTEGER NOT NULL,
    feedback_before INTEGER NOT NULL,
    -- NULL while it is under way.
    ended_at_ms     INTEGER,
    ended_by        TEXT,
    -- stopped, promoted (it is in force now), overtaken (the router in force became another one), worse (it was judged so).
    ending          TEXT,
    -- In words for people.
    ended_why       TEXT,
    CHECK ((ended_at_ms IS NULL) = (ending IS NULL) AND (ended_at_ms IS NULL) = (ended_by IS NULL))
) STRICT;

-- At most one of a kind is under way.
CREATE UNIQUE INDEX trials_open ON trials (kind) WHERE ended_at_ms IS NULL;

-- What routers in shadow would have decided. No text lies here: the question is the outcome's.
CREATE TABLE shadow_decisions (
    router        TEXT    NOT NULL CHECK (router <> ''),
    -- Not a foreign key: an outcome is written when the answer has ended, which is later.
    outcome_id    TEXT    NOT NULL CHECK (outcome_id <> ''),
    decided_at_ms INTEGER NOT NULL,
    -- As in `outcomes`.
    scores        TEXT    NOT NULL CHECK (json_type(scores) = 'array'),
    -- routed, unsure, out_of_domain, empty.
    reason        TEXT    NOT NULL CHECK (reason <> ''),
    strangeness   REAL,
    -- Time that classifying took.
    took_us       INTEGER NOT NULL CHECK (took_us >= 0),
    PRIMARY KEY (router, outcome_id)
) STRICT, WITHOUT ROWID;

-- Retention deletes from the old end.
CREATE INDEX shadow_decisions_by_time ON shadow_decisions (decided_at_ms);
