-- What makes places in the log last: numbers of rows that are never given twice, how far the watch for drift has read, and an
-- index for pages of one category and one expert.

-- Whoever follows the log (the watch for drift, a canary's) remembers the number of the last row that it read. SQLite gives a
-- new row the next number after the greatest there is; where the row with the greatest was deleted, its number would be given
-- again, and the new row taken for one that was read. So the greatest number that a deleted row had is kept here, and a row
-- that would get none beyond it gets the next one.
CREATE TABLE last_numbers (
    -- outcomes (their rowid), feedback (its id).
    log    TEXT    NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO last_numbers (log, number) VALUES ('outcomes', 0), ('feedback', 0);

CREATE TRIGGER outcomes_keep_last_number AFTER DELETE ON outcomes
WHEN NOT EXISTS (SELECT 1 FROM outcomes WHERE rowid > old.rowid)
BEGIN
    UPDATE last_numbers SET number = max(number, old.rowid) WHERE log = 'outcomes';
END;

CREATE TRIGGER outcomes_go_on_from_last_number AFTER INSERT ON outcomes
WHEN new.rowid <= (SELECT number FROM last_numbers WHERE log = 'outcomes')
BEGIN
    UPDATE outcomes SET rowid = (SELECT number + 1 FROM last_numbers WHERE log = 'outcomes') WHERE rowid = new.rowid;
END;

CREATE TRIGGER feedback_keep_last_number AFTER DELETE ON feedback
WHEN NOT EXISTS (SELECT 1 FROM feedback WHERE id > old.id)
BEGIN
    UPDATE last_numbers SET number = max(number, old.id) WHERE log = 'feedback';
END;

CREATE TRIGGER feedback_go_on_from_last_number AFTER INSERT ON feedback
WHEN new.id <= (SELECT number FROM last_numbers WHERE log = 'feedback')
BEGIN
    UPDATE feedback SET id = (SELECT number + 1 FROM last_numbers WHERE log = 'feedback') WHERE id = new.id;
END;

-- The tests for drift of a running server, in the middle of their work, so that the next one goes on with them: a reference
-- that were begun anew at each start would be another each time, and so would the rate of false alarms.
CREATE TABLE drift_watch (
    -- There is one.
    number      INTEGER PRIMARY KEY CHECK (number = 1),
    saved_at_ms INTEGER NOT NULL,
    -- Figures and digests, no text. What a later version cannot read it begins anew.
    state       TEXT    NOT NULL CHECK (json_valid(state))
) STRICT;

-- A page of one category and one expert. By either index alone, a rare expert's page in a large category reads the whole
-- category. A write pays for a fifth tree.
CREATE INDEX outcomes_by_category_and_expert ON outcomes (category, answered_by, asked_at_ms);
