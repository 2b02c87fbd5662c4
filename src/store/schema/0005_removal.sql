-- Runs that were removed and whose purges still have to follow, some at a time.
CREATE TABLE removals (
    run TEXT PRIMARY KEY
);

-- What is over, by when it ended: what is old enough is found without a look at the rest.
CREATE INDEX runs_by_end ON runs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX tasks_by_end ON tasks (ended_at) WHERE ended_at IS NOT NULL;
