-- Denials, the forges' ids of repositories, and pushes that arrive out of order.

-- What forges deny until a person changes something: a row for each kind of request while the denial lasts.
CREATE TABLE denials (
    forge  TEXT NOT NULL,
    -- The repository's path, in lower case.
    repo   TEXT NOT NULL,
    -- 'read' or 'post_status'
    access TEXT NOT NULL,
    -- What has to be changed: 'token', 'permission' or 'repository'
    denial TEXT NOT NULL,
    since  BIGINT NOT NULL,
    -- The forge's first error.
    error  TEXT NOT NULL,
    PRIMARY KEY (forge, repo, access)
) WITHOUT ROWID;

-- Sites for which everything was purged once, because a forge denies read requests.
CREATE TABLE purged_for_denial (
    forge TEXT NOT NULL,
    repo  TEXT NOT NULL,
    site  TEXT NOT NULL,
    -- The run that did so.
    run   TEXT NOT NULL,
    PRIMARY KEY (forge, repo, site)
) WITHOUT ROWID;

-- How a run's delivery compared with the newest one of its branch: 'in_order', 'out_of_order' or 'repeated'
ALTER TABLE runs ADD COLUMN arrival TEXT NOT NULL DEFAULT 'in_order';

-- The repositories of sites, with the forge's ids for them, which identify renamed repositories.
CREATE TABLE repositories (
    forge      TEXT NOT NULL,
    -- The path that a site uses, in lower case.
    repo       TEXT NOT NULL,
    repo_id    BIGINT NOT NULL,
    -- The path in the newest delivery, if it is another one.
    renamed_to TEXT,
    PRIMARY KEY (forge, repo)
) WITHOUT ROWID;

-- 1 if the delivery began where the confirmed one before it ended, or the forge has confirmed since that its commit is
-- the head of the branch.
ALTER TABLE newest_deliveries ADD COLUMN confirmed BIGINT NOT NULL DEFAULT 1;
