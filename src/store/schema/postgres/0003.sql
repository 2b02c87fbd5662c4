-- What forges deny, repositories by their numbers, and pushes that come out of order.

-- What forges deny until a person changes something: one row while it lasts.
CREATE TABLE denials (
    forge  TEXT NOT NULL,
    -- The repository's path, in lower case.
    repo   TEXT NOT NULL,
    -- 'read' or 'post_status'
    access TEXT NOT NULL,
    -- What has to be changed: 'token', 'permission' or 'repository'
    denial TEXT NOT NULL,
    since  BIGINT NOT NULL,
    -- What the forge said first.
    error  TEXT NOT NULL,
    PRIMARY KEY (forge, repo, access)
);

-- Sites of which everything was purged once, since a forge denies to say what changed.
CREATE TABLE purged_for_denial (
    forge TEXT NOT NULL,
    repo  TEXT NOT NULL,
    site  TEXT NOT NULL,
    -- The run that did so.
    run   TEXT NOT NULL,
    PRIMARY KEY (forge, repo, site)
);

-- How a run's delivery stood to the newest one of its branch: 'in_order', 'out_of_order' or 'repeated'
ALTER TABLE runs ADD COLUMN arrival TEXT NOT NULL DEFAULT 'in_order';

-- The repositories that sites follow, with the forge's own numbers for them, by which they are known under other names.
CREATE TABLE repositories (
    forge      TEXT NOT NULL,
    -- The path that a site follows, in lower case.
    repo       TEXT NOT NULL,
    repo_id    BIGINT NOT NULL,
    -- The path under which the newest delivery came, where it is another one.
    renamed_to TEXT,
    PRIMARY KEY (forge, repo)
);

-- 1 if the delivery followed on from the one before it, or the forge has said since that the branch is there. One that
-- begins where another ends is in order only if that one is confirmed.
ALTER TABLE newest_deliveries ADD COLUMN confirmed BIGINT NOT NULL DEFAULT 1;
