use serde_json::Value;

use super::*;
use crate::changes::{ChangeKind, FilePath, Proof};

fn entry(path: &str, mode: &str, sha: &str) -> Value {
    json!({"path": path, "mode": mode, "type": "blob", "sha": sha, "size": 1})
}

fn tree(entries: Value, truncated: bool) -> Reply {
    Reply::json(
        200,
        json!({"sha": "t", "tree": entries, "truncated": truncated}),
    )
}

#[actix_web::test]
async fn the_difference_is_that_of_the_trees_one_directory_at_a_time() {
    let api = Scripted::new(|asked| {
        let target = asked.target.as_str();
        match target
            .strip_prefix("/api/repos/acme/website/git/trees/")
            .unwrap()
        {
            t if t == id('1').as_str() => tree(
                json!([entry("a", "100644", "a1"), entry("same", "040000", "s1")]),
                false,
            ),
            t if t == id('2').as_str() => tree(
                json!([
                    entry("a", "100644", "a1"),
                    entry("new", "040000", "n1"),
                    entry("same", "040000", "s1")
                ]),
                false,
            ),
            "n1" => tree(
                json!([entry("deep", "040000", "n2"), entry("x", "100644", "x1")]),
                false,
            ),
            "n2" => tree(json!([entry("文.md", "100644", "y1")]), false),
            other => panic!("{other}"),
        }
    });

    let changes = gitee(&api.url, None)
        .changes(&repo("acme/website"), &id('1'), &id('2'))
        .await
        .unwrap();

    let files = [
        ("new/x", ChangeKind::Added),
        ("new/deep/文.md", ChangeKind::Added),
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
        tree(json!([entry("a", "100644", "a1")]), true),
        tree(json!([entry("a", "file", "a1")]), false),
    ] {
        let api = Scripted::new(move |_| reply.clone());

        let changes = gitee(&api.url, None)
            .changes(&repo("acme/website"), &id('1'), &id('2'))
            .await
            .unwrap();

        assert!(matches!(changes, ChangeSet::Unknown { .. }), "{changes:?}");
    }
}
