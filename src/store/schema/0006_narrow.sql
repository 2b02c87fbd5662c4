-- What is asked for at each step is found without a look at all that is kept of a site or an account:
-- the newest run at a ref, and the tasks of one kind that are not over.
CREATE INDEX runs_by_ref ON runs (site, git_ref, id);
CREATE INDEX tasks_by_state ON tasks (account, kind, state, id);
DROP INDEX tasks_by_account;
