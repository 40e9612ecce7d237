-- Outcomes and the feedback on them: everything that Coterie remembers of its traffic, and all that it learns from.
--
-- One row of `outcomes` is one question that got a decision: what was asked, where it was sent and why, what the experts
-- did, and how it ended. A row is written once, after the end, and never changed. What people say of it later is added
-- to `feedback`.
--
-- How the columns are chosen
--   * What is counted, filtered or averaged is a column. What is only looked at whole is JSON (SQLite reads into it:
--     `scores ->> '$[0].category'`).
--   * Units are in the names. Times of day are milliseconds since 1970-01-01 UTC, durations are microseconds.
--   * NULL means unknown or absent; no number stands for "none".
--   * CHECKs hold ranges and forms. Words (`reason`, `ending`, `error`) have none: a later version of Coterie may know
--     more of them, SQLite cannot change a CHECK without copying the table, and a row that is refused is a question
--     that goes unrecorded.
--   * STRICT, because SQLite would otherwise store a text in a REAL column without a word.
--
-- Released migrations are never edited. A change is a new file with the next number.

CREATE TABLE outcomes (
    -- UUID version 7, so ids sort by time. It is the `x-coterie-outcome` header that the client got.
    id                TEXT    NOT NULL PRIMARY KEY CHECK (id <> ''),
    -- When the question arrived.
    asked_at_ms       INTEGER NOT NULL,

    -- The ask -------------------------------------------------------------------------------------------------------
    -- The name of the API key; NULL where the server has no keys. Never the key.
    key_name          TEXT,
    -- The model name that the client sent: `coterie`, an expert's id, `coterie/<category>`.
    model             TEXT    NOT NULL,
    -- Whether the client asked for a stream.
    streamed          INTEGER NOT NULL CHECK (streamed IN (0, 1)),
    -- The text that was classified, as `store.content` lets it be kept; NULL under `none`.
    question          TEXT,

    -- The decision --------------------------------------------------------------------------------------------------
    -- The category acted on, `out_of_domain` where the router was unsure; NULL where the client named an expert.
    category          TEXT,
    -- Probability of the likeliest category; NULL only if the router gave no number (a fault of the router).
    confidence        REAL    CHECK (confidence BETWEEN 0 AND 1),
    -- [{"category", "probability"}], likeliest first; [] where nothing was classified.
    scores            TEXT    NOT NULL CHECK (json_type(scores) = 'array'),
    -- The router that decided: a digest of everything that it was fitted from.
    router            TEXT    NOT NULL,
    -- Why it went there, in one word: routed, unsure, empty, router_failed, category_named, expert_named.
    reason            TEXT    NOT NULL CHECK (reason <> ''),
    -- The same with its facts: {"kind": "unsure", "best": …, "confidence_min": …}.
    reason_detail     TEXT    NOT NULL CHECK (json_type(reason_detail) = 'object'),
    -- The expert that was chosen, and who was to be asked if it failed, in order: ["expert", …].
    expert            TEXT    NOT NULL,
    fallbacks         TEXT    NOT NULL CHECK (json_type(fallbacks) = 'array'),
    -- Probability with which this expert was chosen for this question: what off-policy estimates divide by.
    propensity        REAL    CHECK (propensity BETWEEN 0 AND 1),
    -- Time from the question to the decision.
    decision_us       INTEGER NOT NULL CHECK (decision_us >= 0),

    -- What happened -------------------------------------------------------------------------------------------------
    -- [{"expert", "took_us", "error"}], in the order in which they were asked; `error` is null where it began to answer.
    attempts          TEXT    NOT NULL CHECK (json_type(attempts) = 'array'),
    -- The expert that began to answer; NULL if none did. Differs from `expert` after a failover.
    answered_by       TEXT,
    -- From the question to the first token towards the client; NULL if none came.
    first_token_us    INTEGER CHECK (first_token_us >= 0),
    -- From the question to the end.
    total_us          INTEGER NOT NULL CHECK (total_us >= 0),
    -- As counted by the expert that answered; NULL if nobody counted.
    prompt_tokens     INTEGER CHECK (prompt_tokens >= 0),
    completion_tokens INTEGER CHECK (completion_tokens >= 0),
    -- From the tokens and that expert's prices at the time; NULL if either is unknown.
    cost_usd          REAL    CHECK (cost_usd >= 0),
    -- completed, client_left, expert_failed, timed_out, shutdown.
    ending            TEXT    NOT NULL CHECK (ending <> ''),
    -- The kind of the error that ended it; NULL where none did.
    error             TEXT,
    -- The answer's text, as `store.content` lets it be kept; what had come by then if it did not complete.
    answer            TEXT
) STRICT;

-- Retention deletes from the old end, and every report reads a span of time.
CREATE INDEX outcomes_by_time ON outcomes (asked_at_ms);
-- The learning loop reads one category at a time, newest first.
CREATE INDEX outcomes_by_category ON outcomes (category, asked_at_ms);

-- What somebody said of an outcome. Any number may be given for one outcome: a person's verdict and a judge's stand side
-- by side, and whoever reads decides which counts.
CREATE TABLE feedback (
    id          INTEGER PRIMARY KEY,
    -- Retention takes the feedback with its outcome.
    outcome_id  TEXT    NOT NULL REFERENCES outcomes (id) ON DELETE CASCADE,
    given_at_ms INTEGER NOT NULL,
    -- How good the answer was, 0 (useless) to 1 (as good as can be).
    score       REAL    CHECK (score BETWEEN 0 AND 1),
    -- What the question was really about: a label for training.
    category    TEXT,
    -- Who should have answered it.
    expert      TEXT,
    -- In words, as `store.content` lets it be kept.
    comment     TEXT
) STRICT;

-- For the join with `outcomes`, and for the cascade, which would otherwise read the whole table for each row deleted.
CREATE INDEX feedback_by_outcome ON feedback (outcome_id);
