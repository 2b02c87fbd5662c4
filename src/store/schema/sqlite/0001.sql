-- What is kept. Times are milliseconds since 1970; ids are ULIDs, which sort by time.

-- Webhook requests that passed verification.
CREATE TABLE deliveries (
    id             TEXT PRIMARY KEY,
    forge          TEXT NOT NULL,
    forge_delivery TEXT,
    event          TEXT NOT NULL,
    -- Repository and ref: deliveries of one key are in order.
    ordering_key   TEXT NOT NULL,
    -- What it says about them: the same twice is the same push.
    dedup_key      TEXT NOT NULL,
    content_type   TEXT NOT NULL,
    -- Compressed: its size as four bytes (little-endian), and an LZ4 block. Of a large one its size
    -- alone; the rest is in body_blocks.
    body           BLOB NOT NULL,
    -- Deliveries that say the same of the same ref, and among them those that have the same bytes: a part of a
    -- SHA-256 of what they say, and of the body as it is kept.
    dedup_hash     BIGINT NOT NULL,
    digest         BLOB NOT NULL,
    -- How it reached purgehook: as a 'webhook', whose signature fitted the body, or out of the
    -- forge's own 'log', over an authenticated connection.
    source         TEXT NOT NULL,
    received_at    BIGINT NOT NULL
);
CREATE UNIQUE INDEX deliveries_by_forge_id ON deliveries (forge, forge_delivery);
CREATE INDEX deliveries_by_dedup_hash ON deliveries (dedup_hash, id);

-- What the newest delivery of each ordering key said. It is small, so that keeping it costs less than an index
-- of all deliveries would.
CREATE TABLE newest_deliveries (
    forge        TEXT NOT NULL,
    ordering_key TEXT NOT NULL,
    delivery     TEXT NOT NULL,
    dedup_key    TEXT NOT NULL,
    -- The commit of its first run.
    commit_id    TEXT NOT NULL,
    received_at  BIGINT NOT NULL,
    PRIMARY KEY (forge, ordering_key)
) WITHOUT ROWID;

-- Large bodies, in blocks that are each compressed as a small one is.
CREATE TABLE body_blocks (
    delivery TEXT NOT NULL,
    seq      BIGINT NOT NULL,
    block    BLOB NOT NULL,
    PRIMARY KEY (delivery, seq)
);

-- Deliveries that are not stored yet, though blocks of their bodies are.
CREATE TABLE unfinished_bodies (
    delivery TEXT PRIMARY KEY
);

CREATE TABLE runs (
    id         TEXT PRIMARY KEY,
    site       TEXT NOT NULL,
    forge      TEXT NOT NULL,
    repo       TEXT NOT NULL,
    git_ref    TEXT NOT NULL,
    before_id  TEXT,
    commit_id  TEXT NOT NULL,
    delivery   TEXT,
    origin     TEXT NOT NULL,
    covered_by TEXT,
    -- A JSON list of commits.
    bases      TEXT NOT NULL,
    held_version BIGINT,
    state      TEXT NOT NULL,
    step       TEXT NOT NULL,
    summary    TEXT NOT NULL,
    proof      TEXT,
    -- A JSON list of sentences.
    problems   TEXT NOT NULL,
    -- A JSON list of sentences: what else there is to know about its plan.
    notes      TEXT NOT NULL,
    -- Whether the run only found out what it would purge.
    dry_run    BIGINT NOT NULL,
    -- What it waits for outside of purgehook, as its commit shows.
    wait_reason TEXT,
    -- Counts the changes to the row: an update is only made to what was read.
    revision   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    deadline   BIGINT NOT NULL,
    ended_at   BIGINT
);
-- A new run costs few indexes. It comes into those that pages read when it ends, often along with others of its site.
CREATE INDEX runs_pending ON runs (site, id) WHERE state = 'pending';
CREATE INDEX runs_ended ON runs (site, id) WHERE state <> 'pending';
CREATE INDEX runs_by_state ON runs (state, id) WHERE state <> 'pending';
CREATE INDEX runs_by_commit ON runs (commit_id, id);
CREATE INDEX runs_by_delivery ON runs (delivery) WHERE delivery IS NOT NULL;
CREATE INDEX runs_by_cover ON runs (covered_by) WHERE covered_by IS NOT NULL;
-- What is over, by when it ended: what is old enough is found without a look at the rest.
CREATE INDEX runs_by_end ON runs (ended_at) WHERE ended_at IS NOT NULL;

-- The newest run of each site at each ref.
CREATE TABLE newest_runs (
    site    TEXT NOT NULL,
    git_ref TEXT NOT NULL,
    run     TEXT NOT NULL,
    PRIMARY KEY (site, git_ref)
) WITHOUT ROWID;

-- Per site: the commits whose content a cache may still hold, and, once a run
-- has purged what they differ in, until when they are counted all the same.
CREATE TABLE held (
    site       TEXT NOT NULL,
    -- 1: what they would hold, had the site's dry runs purged.
    dry_run    BIGINT NOT NULL,
    commit_id  TEXT NOT NULL,
    added_at   BIGINT NOT NULL,
    -- The site's version at which it was held last.
    version    BIGINT NOT NULL,
    until      BIGINT,
    PRIMARY KEY (site, dry_run, commit_id)
) WITHOUT ROWID;

-- Counts the changes to what a site holds, so that two runs can't plan on the same knowledge.
CREATE TABLE held_versions (
    site    TEXT NOT NULL,
    -- As in held.
    dry_run BIGINT NOT NULL,
    version BIGINT NOT NULL,
    -- The run that is finding out what changed for the site, while the site's others wait.
    planner TEXT,
    PRIMARY KEY (site, dry_run)
);

-- A run's change set, as a JSON list of [kind, path].
CREATE TABLE run_changes (
    run   TEXT PRIMARY KEY,
    files TEXT NOT NULL
);

CREATE TABLE purges (
    run      TEXT NOT NULL,
    seq      BIGINT NOT NULL,
    cdn      TEXT NOT NULL,
    -- Null where nobody is to be sent it: a dry run planned it.
    account  TEXT,
    kind     TEXT NOT NULL,
    mode     TEXT,
    target   TEXT NOT NULL,
    rule     TEXT NOT NULL,
    path     TEXT,
    state    TEXT NOT NULL,
    task     TEXT,
    error    TEXT,
    attempts BIGINT NOT NULL,
    -- Of one that failed: whether the CDN 'refused' it for good, or a person 'skipped' it.
    given_up TEXT,
    -- The largest batch it may be sent in, while a bad one among others is being found.
    batch_cap BIGINT,
    PRIMARY KEY (run, seq)
);
CREATE INDEX purges_to_submit ON purges (account, kind, state, run, seq);
CREATE INDEX purges_by_task ON purges (task);

-- What is not asked for again, though it was never purged, until its path changes or someone retries it.
CREATE TABLE given_up (
    site      TEXT NOT NULL,
    cdn       TEXT NOT NULL,
    kind      TEXT NOT NULL,
    target    TEXT NOT NULL,
    -- The run that gave it up, and its commit.
    run       TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    PRIMARY KEY (site, cdn, kind, target)
) WITHOUT ROWID;
CREATE INDEX given_up_by_run ON given_up (run);

-- Batches that were handed to a CDN, or were about to be.
CREATE TABLE tasks (
    id           TEXT PRIMARY KEY,
    account      TEXT NOT NULL,
    cdn          TEXT NOT NULL,
    kind         TEXT NOT NULL,
    mode         TEXT,
    state        TEXT NOT NULL,
    vendor_id    TEXT,
    error        TEXT,
    -- How many targets were handed over.
    size         BIGINT NOT NULL,
    submitted_at BIGINT NOT NULL,
    deadline     BIGINT NOT NULL,
    ended_at     BIGINT
);
CREATE INDEX tasks_by_state ON tasks (account, kind, state, id);
CREATE INDEX tasks_by_end ON tasks (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX tasks_by_day ON tasks (account, kind, submitted_at);

-- What commits should show, and what they were told.
CREATE TABLE statuses (
    run         TEXT NOT NULL,
    seq         BIGINT NOT NULL,
    state       TEXT NOT NULL,
    description TEXT NOT NULL,
    wanted_at   BIGINT NOT NULL,
    posted_at   BIGINT,
    error       TEXT,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;

-- What is to be done next, and when. One row a subject; the row's life is the queue.
CREATE TABLE work (
    -- run, status, submit, follow, reconcile, confirm_heads, remove
    kind            TEXT NOT NULL,
    -- A run's id, an account or a site; empty where there is only one row of the kind.
    subject         TEXT NOT NULL,
    -- Of submit and follow: each kind of purge is an action of its own.
    purge_kind      TEXT NOT NULL,
    -- What shares the work fairly: a site, or an account.
    site            TEXT NOT NULL,
    -- Only so many rows with one key are worked on at once; null: not limited.
    concurrency_key TEXT,
    due_at          BIGINT NOT NULL,
    attempts        BIGINT NOT NULL,
    -- 1: due_at stands whatever is requested meanwhile.
    firm            BIGINT NOT NULL DEFAULT 0,
    -- Counts the times it was asked for, so that a request while it is running is not lost.
    requests        BIGINT NOT NULL,
    lease           TEXT,
    lease_until     BIGINT,
    PRIMARY KEY (kind, subject, purge_kind)
) WITHOUT ROWID;
CREATE INDEX work_by_due ON work (due_at);
CREATE INDEX work_by_site ON work (site, due_at);
CREATE INDEX work_leased ON work (lease_until) WHERE lease IS NOT NULL;

-- Upstreams (accounts with CDNs, forges) that have not answered since: one row while it lasts.
CREATE TABLE outages (
    upstream TEXT PRIMARY KEY,
    -- Requests in a row that came to nothing.
    failures BIGINT NOT NULL,
    since    BIGINT NOT NULL,
    -- Nothing is asked of it before this moment.
    until    BIGINT,
    -- Whether somebody is trying whether it answers again; `until` is when that counts as failed.
    probing  BIGINT NOT NULL DEFAULT 0,
    error    TEXT NOT NULL
);

-- When the next request of a kind may go out, in microseconds since 1970: all processes share one rate.
CREATE TABLE rates (
    name    TEXT PRIMARY KEY,
    next_at BIGINT NOT NULL
);

-- Runs that were removed and whose purges still have to follow, some at a time.
CREATE TABLE removals (
    run TEXT PRIMARY KEY
);
