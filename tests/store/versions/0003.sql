-- What a database of version 3 may hold: a run that ended, one that failed, and one under way.

INSERT INTO deliveries (id, forge, forge_delivery, event, ordering_key, dedup_key, content_type, body, dedup_hash,
    digest, source, received_at)
VALUES ('D0001', 'github', 'one', 'push', 'acme/website refs/heads/main', 'a..b', 'application/json',
    {bytes 02000000207b7d}, 1, {bytes 00112233445566778899aabbccddeeff}, 'webhook', 1800000000000);
INSERT INTO newest_deliveries (forge, ordering_key, delivery, dedup_key, commit_id, received_at, confirmed)
VALUES ('github', 'acme/website refs/heads/main', 'D0001', 'a..b',
    'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 1800000000000, 0);

INSERT INTO runs (id, site, forge, repo, git_ref, before_id, commit_id, delivery, origin, covered_by, bases,
    held_version, state, step, summary, proof, problems, notes, dry_run, wait_reason, revision, created_at,
    deadline, ended_at, arrival)
VALUES
    ('R0000', 'www', 'github', 'acme/website', 'refs/heads/main', NULL, 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee',
     NULL, 'by hand', NULL, '[]', NULL, 'succeeded', 'ended', 'Nothing to purge', 'trees', '[]', '[]', 0, NULL, 1,
     1799800000000, 1799803600000, 1799800010000, 'in_order'),
    ('R0001', 'www', 'github', 'acme/website', 'refs/heads/main', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
     'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'D0001', 'push', NULL,
     '["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","unknown"]', 1, 'succeeded', 'ended', 'Purged 1 URL', 'payload',
     '[]', '["a note"]', 0, NULL, 3, 1800000000000, 1800003600000, 1800000010000, 'in_order'),
    ('R0002', 'www', 'github', 'acme/website', 'refs/heads/main', NULL,
     'cccccccccccccccccccccccccccccccccccccccc', NULL, 'by hand', NULL, '[]', 2, 'failed', 'ended',
     'Purged 0 of 1 URL', 'compare', '["a problem"]', '[]', 0, NULL, 3, 1800000020000, 1800003620000, 1800000030000, 'in_order'),
    ('R0003', 'www', 'github', 'acme/website', 'refs/heads/main', NULL,
     'dddddddddddddddddddddddddddddddddddddddd', NULL, 'by hand', NULL, '[]', NULL, 'pending', 'changes',
     'Finding out what changed', NULL, '[]', '[]', 0, 'circuit 1800000000000 an account', 0, 1800000040000,
     1800003640000, NULL, 'out_of_order');
INSERT INTO newest_runs (site, git_ref, run) VALUES ('www', 'refs/heads/main', 'R0003');
INSERT INTO run_changes (run, files, links) VALUES ('R0001', '[["M","content/a.md"]]',
    '[["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","payload",1]]');

INSERT INTO purges (run, seq, cdn, account, kind, mode, target, rule, path, state, task, error, attempts, given_up, batch_cap)
VALUES
    ('R0001', 1, 'tencent', 'an account', 'url', NULL, 'https://www.example.com/a/', 'pages', 'content/a.md',
     'done', 'T0001', NULL, 1, NULL, NULL),
    ('R0002', 1, 'tencent', 'an account', 'directory', 'delete', 'https://www.example.com/c/', 'pages', NULL,
     'failed', NULL, 'refused', 2, NULL, 1),
    ('R0002', 2, 'tencent', NULL, 'url', NULL, 'https://www.example.com/d/', 'pages', NULL,
     'dry_run', NULL, NULL, 0, NULL, NULL);
INSERT INTO given_up (site, cdn, kind, target, run, commit_id)
VALUES ('www', 'tencent', 'url', 'https://www.example.com/e/', 'R0002', 'cccccccccccccccccccccccccccccccccccccccc');
INSERT INTO tasks (id, account, cdn, kind, mode, state, vendor_id, error, size, submitted_at, deadline, ended_at)
VALUES ('T0001', 'an account', 'tencent', 'url', NULL, 'ended', 'v-1', NULL, 1, 1800000001000, 1800001800000,
    1800000009000);
INSERT INTO statuses (run, seq, state, description, wanted_at, posted_at, error, refused)
VALUES ('R0001', 1, 'success', 'Purged 1 URL', 1800000010000, 1800000010500, NULL, 0),
    ('R0002', 1, 'failure', 'Purged 0 of 1 URL', 1800000030000, NULL, 'no such token', 1);

INSERT INTO held (site, dry_run, commit_id, added_at, version, until)
VALUES
    ('www', 0, 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 1800000000000, 1, NULL),
    ('www', 0, 'unknown', 1800000000000, 1, 1900000000000),
    ('www', 1, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 1800000000000, 1, NULL);
INSERT INTO held_versions (site, dry_run, version, planner) VALUES ('www', 0, 2, NULL), ('www', 1, 1, NULL);

INSERT INTO work (kind, subject, purge_kind, site, concurrency_key, due_at, attempts, firm, requests, lease, lease_until)
VALUES ('run', 'R0003', '', 'www', 'forge github', 1800000040000, 0, 0, 1, NULL, NULL);
INSERT INTO outages (upstream, failures, since, until, probing, error)
VALUES ('cdn an account', 5, 1800000000000, 1800000060000, 0, 'it did not answer');
INSERT INTO rates (name, next_at) VALUES ('query an account', 1800000000000000);
INSERT INTO body_blocks (delivery, seq, block) VALUES ('D0009', 0, {bytes 02000000207b7d});
INSERT INTO unfinished_bodies (delivery) VALUES ('D0009');
INSERT INTO removals (run) VALUES ('Q0001');

INSERT INTO denials (forge, repo, access, denial, since, error)
VALUES ('github', 'acme/website', 'read', 'token', 1800000000000, 'GitHub answered 401');
INSERT INTO purged_for_denial (forge, repo, site, run) VALUES ('github', 'acme/website', 'www', 'R0001');
INSERT INTO repositories (forge, repo, repo_id, renamed_to) VALUES ('github', 'acme/website', 1000, NULL);
