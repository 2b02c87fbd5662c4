-- The run that is finding out what changed for a site, while others of the site leave it in peace.
ALTER TABLE held_versions ADD COLUMN planner TEXT;
