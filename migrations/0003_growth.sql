-- What a million outcomes need beside the indexes that there are.
--
-- What an index costs: each is one more tree that a write must find its place in and that a prune must be taken out of. An
-- outcome pays for four (its id, `outcomes_by_time`, `outcomes_by_category`, `outcomes_by_expert`), which serve every span of
-- time, of one category and of one expert; no more are added to it. `docs/benchmarks.md` has the rate of writing.

-- Pruning asks of every old outcome whether somebody said what it was about, and learning reads all that was said: both
-- would otherwise read each feedback that is a mere score. Only feedback that names a category pays for it.
CREATE INDEX feedback_by_outcome_named ON feedback (outcome_id) WHERE category IS NOT NULL;
