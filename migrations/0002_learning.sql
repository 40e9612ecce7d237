-- What learning from the traffic needs beside the outcomes: which conversation a question belonged to, labels of people
-- and of models, and the registry of trained routers.

-- Questions of one conversation have the same; NULL where nothing tells it. A keyed digest whose key is forgotten with the
-- process, so that it tells nothing of what was asked.
ALTER TABLE outcomes ADD COLUMN session TEXT;
-- The router's own out-of-domain score, the higher the stranger; comparable between questions of one router. NULL where
-- nothing was classified.
ALTER TABLE outcomes ADD COLUMN strangeness REAL;

-- The name of the key that gave it; NULL where the server has no keys. One client must not decide what is learnt.
ALTER TABLE feedback ADD COLUMN key_name TEXT;

-- What a question was really about, by people or models who were asked to say so. Any number may be given for one outcome;
-- which of them counts is decided by whoever learns (`docs/learning.md`).
CREATE TABLE labels (
    id          INTEGER PRIMARY KEY,
    outcome_id  TEXT    NOT NULL REFERENCES outcomes (id) ON DELETE CASCADE,
    given_at_ms INTEGER NOT NULL,
    -- A category, or `out_of_domain`.
    category    TEXT    NOT NULL CHECK (category <> ''),
    -- What kind of source: person, judge, neighbours, imported. No CHECK, as for all words.
    origin      TEXT    NOT NULL CHECK (origin <> ''),
    -- Who exactly: a person's name, or a judge's expert with the version of its prompt.
    given_by    TEXT    NOT NULL CHECK (given_by <> '')
) STRICT;
-- For the join with `outcomes`, and for the cascade.
CREATE INDEX labels_by_outcome ON labels (outcome_id);

-- Every trained router that was ever judged. The artefact itself lies in its folder; a row is written once it is whole.
CREATE TABLE routers (
    -- A digest of everything that it was trained from; the artefact's manifest has the same.
    id               TEXT    NOT NULL PRIMARY KEY CHECK (id <> ''),
    -- Where the artefact lies.
    folder           TEXT    NOT NULL CHECK (folder <> ''),
    -- The router that was in force when it was trained, which it was compared with; NULL if that is not known.
    parent           TEXT,
    registered_at_ms INTEGER NOT NULL,
    -- SHA-256 over all texts that it was trained on, with their categories.
    data_sha256      TEXT    NOT NULL,
    -- What the comparison found: {"passed", "checks", …}; NULL where there was none.
    judgement        TEXT    CHECK (judgement IS NULL OR json_valid(judgement))
) STRICT;

-- Which router is in force: what the last row says. Rows are only ever added, so that this is also the history.
CREATE TABLE promotions (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms       INTEGER NOT NULL,
    -- NULL: the router that needs no registry, made from the routes' examples or named by the configuration.
    router      TEXT    REFERENCES routers (id),
    -- promote, rollback. No CHECK, as for all words.
    kind        TEXT    NOT NULL CHECK (kind <> ''),
    -- The promotion to which a rollback of this one goes back; NULL: to what needs no registry.
    replaces    INTEGER REFERENCES promotions (number),
    -- Who did it: a person's name, or what did it by itself (`retrain`, `canary`).
    promoted_by TEXT    NOT NULL CHECK (promoted_by <> ''),
    -- Why, in words for people.
    why         TEXT
) STRICT;

-- Reports ask for a span of time of one expert, as they do for one category.
CREATE INDEX outcomes_by_expert ON outcomes (answered_by, asked_at_ms);
