-- What a judge was asked and did not settle: its reply had not the form that it was asked for, contradicted itself, or it
-- refused. It is asked again after everything that it was not asked yet; without this it would begin each run with what it
-- stopped at in vain, and come to nothing older.
CREATE TABLE unsettled (
    outcome_id  TEXT    NOT NULL REFERENCES outcomes (id) ON DELETE CASCADE,
    -- The judge: an expert with the version of its prompt, as in `labels.given_by` and `feedback.judged_by`.
    judged_by   TEXT    NOT NULL CHECK (judged_by <> ''),
    -- When it was asked last.
    asked_at_ms INTEGER NOT NULL,
    PRIMARY KEY (outcome_id, judged_by)
) STRICT, WITHOUT ROWID;
