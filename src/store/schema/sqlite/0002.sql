-- Which commits brought what a run found changed.

-- A JSON list of [from, to, proof, how many of `files`], newest first: `files` are in this order. Empty where it is not
-- known.
ALTER TABLE run_changes ADD COLUMN links TEXT NOT NULL DEFAULT '[]';

-- Of a status with an error: 1 if the forge refused it, 0 if it was kept back.
ALTER TABLE statuses ADD COLUMN refused BIGINT NOT NULL DEFAULT 0;
