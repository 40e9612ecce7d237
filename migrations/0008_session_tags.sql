-- The key of the digests in `outcomes.session`, one for each store: with it a conversation keeps its tag through restarts, and
-- on every server of the store. Who has the file can tell by it whether a conversation that is known is among the outcomes.
CREATE TABLE session_tags (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key BLOB    NOT NULL CHECK (length(key) = 32)
) STRICT;

INSERT INTO session_tags (one, key) VALUES (1, randomblob(32));
