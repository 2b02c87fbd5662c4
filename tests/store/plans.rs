//! How PostgreSQL goes about statements where much is kept.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};

use crate::databases::{Opened, main_branch};

/// Runs of one site at one ref, and statistics that know of no others.
const PAST: &str = "
    INSERT INTO runs
        (id, site, forge, repo, git_ref, commit_id, origin, bases, state, step, summary, problems, notes, dry_run, revision,
         created_at, deadline, ended_at)
    SELECT 'R' || lpad(n::text, 9, '0'), 'www', 'github', 'acme/website', 'refs/heads/old', md5(n::text),
        'push', '[]', 'succeeded', 'ended', '', '[]', '[]', 0, 0, n, n, n
    FROM generate_series(1, 20000) AS n;
    ANALYZE;
    SELECT pg_stat_reset();";

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_planned_for_what_is_asked_however_often_it_was_asked_before() {
    const LOOKS: i64 = 12;
    let opened = Opened::postgres().await;
    let mut connection = PgConnection::connect(&opened.address).await.unwrap();
    connection.execute(PAST).await.unwrap();

    let read = loop {
        let main = main_branch();
        let newest = opened.store.newest_run("www", Some(&main));
        assert!(newest.await.unwrap().is_none());
        let (looks, read): (i64, i64) = sqlx::query_as(
            "SELECT seq_scan + idx_scan, seq_tup_read + idx_tup_fetch
             FROM pg_stat_user_tables WHERE relname = 'runs'",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        if looks >= LOOKS {
            break read;
        }
        // The server counts with a delay.
        tokio::time::sleep(Duration::from_millis(50)).await;
    };

    assert_eq!(read, 0, "rows that were not asked for");
}
