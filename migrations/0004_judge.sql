-- A judge's grades of answers stand among the feedback, and are told apart from what clients say.

-- The judge that gave it: an expert with the version of its prompt (`gpt answer-v1`); NULL: a client. What compares two
-- answers names in `expert` the one whose answer was better, and in `comment` the outcome that it was compared with.
ALTER TABLE feedback ADD COLUMN judged_by TEXT;
