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
