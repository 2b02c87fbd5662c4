use serde_json::Value;

use super::*;
use crate::changes::{ChangeKind, FilePath, Proof};

fn entry(path: &str, mode: &str, sha: &str) -> Value {
    json!({"path": path, "mode": mode, "type": "blob", "sha": sha, "size": 1})
}

fn page(entries: Value, truncated: bool, total: usize) -> Reply {
    Reply::json(
        200,
        json!({"sha": "t", "tree": entries, "truncated": truncated, "page": 1, "total_count": total}),
    )
}

async fn changes(api: &Scripted) -> Result<ChangeSet, ForgeError> {
    gitea(&api.url, None)
        .changes(&repo("acme/website"), &id('1'), &id('2'))
        .await
}

#[actix_web::test]
async fn the_difference_is_that_of_the_trees_page_by_page() {
    let api = Scripted::new(|asked| {
        let target = asked
            .target
            .strip_prefix("/api/repos/acme/website/git/trees/")
            .unwrap()
            .replace("&per_page=1000", "");
        match target.as_str() {
            t if t == format!("{}?page=1", id('1')) => {
                page(json!([entry("a", "100644", "a1")]), true, 3)
            }
            t if t == format!("{}?page=2", id('1')) => page(
                json!([entry("docs", "040000", "d1"), entry("same", "040000", "s1")]),
                false,
                3,
            ),
            t if t == format!("{}?page=1", id('2')) => page(
                json!([
                    entry("a", "100644", "a2"),
                    entry("docs", "040000", "d2"),
                    entry("new", "040000", "n1"),
                    entry("same", "040000", "s1"),
                ]),
                false,
                4,
            ),
            "d1?page=1" => page(json!([entry("old.md", "100644", "o1")]), false, 1),
            // An empty directory, which git does not have, but a fake may.
            "d2?page=1" => page(Value::Null, false, 0),
            "n1?page=1&recursive=true" => page(
                json!([
                    entry("deep", "040000", "n2"),
                    entry("deep/x", "100644", "x1")
                ]),
                false,
                2,
            ),
            other => panic!("{other}"),
        }
    });

    let changes = changes(&api).await.unwrap();

    let files = [
        ("a", ChangeKind::Modified),
        ("docs/old.md", ChangeKind::Removed),
        ("new/deep/x", ChangeKind::Added),
    ];
    assert_eq!(
        changes,
        ChangeSet::Complete {
            proof: Proof::Trees,
            files: files.map(|(p, k)| (FilePath::new(p), k)).into(),
        }
    );
}

#[actix_web::test]
async fn a_listing_that_is_not_whole_proves_nothing() {
    for reply in [
        page(json!([entry("a", "100644", "a1")]), false, 2),
        page(json!([]), true, 2),
        page(json!([entry("a", "644", "a1")]), false, 1),
    ] {
        let api = Scripted::new(move |_| reply.clone());

        let changes = changes(&api).await.unwrap();

        assert!(matches!(changes, ChangeSet::Unknown { .. }), "{changes:?}");
    }
}

#[actix_web::test]
async fn the_same_commit_twice_needs_no_request() {
    let api = Scripted::new(|_| Reply::text(500, ""));

    let changes = gitea(&api.url, None)
        .changes(&repo("acme/website"), &id('1'), &id('1'))
        .await;

    assert!(matches!(changes, Ok(ChangeSet::Complete { files, .. }) if files.is_empty()));
    assert!(api.asked().is_empty());
}
