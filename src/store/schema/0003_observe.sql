-- Whether a run only found out what it would purge, and what else it has to say about its plan (a JSON list of sentences).
ALTER TABLE runs ADD COLUMN observed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN notes TEXT NOT NULL DEFAULT '[]';
