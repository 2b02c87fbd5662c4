//! Tests with payloads captured from real forges, if available: the directory in `PURGEHOOK_TEST_PAYLOADS` contains
//! them, with an `index.json` of the expected facts.

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::gitea::Gitea;
use super::gitee::{Gitee, Mode};
use super::github::{Access, GitHub};
use super::gitlab::{GitLab, Trust};
use super::scripted::unplugged;
use super::{Forge, Verified, gitea, gitee, github, gitlab};
use crate::changes::{ChangeKind, ChangeSet, FilePath};
use crate::event::{CommitId, CommitRef, Deployed, Event, GitRef, Push, Signal, is_zero_id};

#[derive(Deserialize)]
struct Captured {
    file: String,
    forge: String,
    event: String,
    facts: Facts,
}

#[derive(Deserialize)]
struct Facts {
    repo: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    before: Option<String>,
    after: Option<String>,
    checkout_sha: Option<String>,
    forced: Option<bool>,
    commits: Option<usize>,
    files: Option<BTreeMap<String, Vec<String>>>,
    sha: Option<String>,
    commit: Option<String>,
    head_sha: Option<String>,
    environment: Option<String>,
    path: Option<String>,
    status: Option<String>,
    tag: Option<serde_json::Value>,
}

fn forge(kind: &str) -> Option<Box<dyn Forge>> {
    let secret = || vec![SecretString::from("a secret".to_owned())];
    let api_url = Url::parse("http://127.0.0.1:1").unwrap();
    match kind {
        "github" => Some(Box::new(GitHub::new(
            github::Settings {
                secrets: secret(),
                access: Access::Anonymous,
                api_url,
            },
            unplugged(),
        ))),
        "gitlab" => Some(Box::new(GitLab::new(
            gitlab::Settings {
                trust: Trust::Secret(secret()),
                token: None,
                api_url,
            },
            unplugged(),
        ))),
        "gitea" | "forgejo" => Some(Box::new(Gitea::new(
            gitea::Settings {
                secrets: secret(),
                token: None,
                api_url,
            },
            unplugged(),
        ))),
        "gitee" => Some(Box::new(Gitee::new(
            gitee::Settings {
                secrets: secret(),
                mode: Mode::Sign,
                token: None,
                api_url,
            },
            unplugged(),
        ))),
        _ => None,
    }
}

#[test]
fn captured_payloads_say_what_is_known_of_them() {
    let Some(directory) = std::env::var_os("PURGEHOOK_TEST_PAYLOADS") else {
        return;
    };
    let directory = Path::new(&directory);
    let index = std::fs::read(directory.join("index.json")).unwrap();
    let index: Vec<Captured> = serde_json::from_slice(&index).unwrap();

    for captured in index {
        let Some(forge) = forge(&captured.forge) else {
            continue;
        };
        let body = std::fs::read(directory.join(&captured.file)).unwrap();
        let verified = Verified {
            delivery_id: None,
            event: captured.event.clone(),
        };

        let event = forge.understand(&verified, "application/json", &body);

        let Facts { repo, .. } = &captured.facts;
        match (captured.event.as_str(), event) {
            ("ping", Ok(Event::Ping)) => {}
            ("push" | "Push Hook" | "Tag Push Hook", Ok(Event::Push(push))) => {
                check_push(&captured, &push);
            }
            (_, Ok(Event::Deployed(deployed))) => check_deployed(&captured, &deployed),
            // What no forge sent is not understood.
            ("push", Err(_)) if repo.is_none() => {}
            (_, Ok(Event::Other { repo: found, .. })) => {
                assert!(!says_deployed(&captured.file), "{}", captured.file);
                let found = found.map(|repo| repo.to_string());
                assert_eq!(&found, repo, "{}", captured.file);
            }
            (_, other) => panic!("{}: {other:?}", captured.file),
        }
    }
}

/// Payloads that say that something was deployed, as those of a forge are named.
const DEPLOYED: &[&str] = &[
    "deployment_status.success",
    "workflow_run.completed.success",
    "page_build",
    "release.published",
    "deployment.success",
    "pipeline",
    "pipeline.success",
    "release.create",
    "release",
];

fn check_deployed(captured: &Captured, deployed: &Deployed) {
    let Captured { file, facts, .. } = captured;
    assert!(says_deployed(file), "{file}: {deployed:?}");
    assert_eq!(Some(deployed.repo.as_str()), facts.repo.as_deref());
    let id = facts.sha.as_ref().or(facts.commit.as_ref());
    let id = id.or(facts.head_sha.as_ref());
    let commit = match (id, facts.tag.as_ref().and_then(|tag| tag.as_str())) {
        (Some(id), _) => CommitRef::Id(CommitId::parse(id).unwrap()),
        (None, Some(tag)) => CommitRef::Unresolved(tag.to_owned()),
        (None, None) => panic!("{file}"),
    };
    assert_eq!(deployed.commit, commit, "{file}");
    match &deployed.signal {
        Signal::Deployment { environment } => {
            assert_eq!(Some(environment), facts.environment.as_ref(), "{file}");
        }
        Signal::Workflow { file: name } => {
            assert!(facts.path.as_ref().unwrap().ends_with(name), "{file}");
        }
        Signal::Pipeline { status } => assert_eq!(Some(status), facts.status.as_ref(), "{file}"),
        Signal::Release { tag } => assert_eq!(facts.tag, Some(tag.as_str().into()), "{file}"),
        Signal::PageBuild => {}
    }
}

/// Whether a file's name is one of [`DEPLOYED`].
fn says_deployed(file: &str) -> bool {
    let name = file.split_once('/').map_or(file, |(_, name)| name);
    name.strip_suffix(".json")
        .is_some_and(|name| DEPLOYED.contains(&name))
}

fn check_push(captured: &Captured, push: &Push) {
    let Captured { file, facts, .. } = captured;
    let id = |text: &Option<String>| {
        let text = text.as_deref().filter(|text| !is_zero_id(text))?;
        Some(CommitId::parse(text).unwrap())
    };
    assert_eq!(Some(push.repo.as_str()), facts.repo.as_deref(), "{file}");
    assert_eq!(Some(push.git_ref.to_string()), facts.git_ref, "{file}");
    assert_eq!(push.before, id(&facts.before), "{file}");
    assert_eq!(push.after, id(&facts.after), "{file}");
    assert_eq!(push.forced, facts.forced.unwrap_or(false), "{file}");
    let commit = match push.git_ref {
        GitRef::Tag(_) => id(&facts.checkout_sha).or(id(&facts.after)),
        GitRef::Branch(_) | GitRef::Other(_) => id(&facts.after),
    };
    assert_eq!(push.commit, commit, "{file}");

    let provable = captured.forge == "github"
        && facts.commits == Some(1)
        && push.before.is_some()
        && !push.forced;
    let ChangeSet::Complete { files, .. } = &push.listed else {
        assert!(!provable, "{file}");
        return;
    };
    assert!(provable, "{file}");
    let mut expected = BTreeMap::new();
    for (list, paths) in facts.files.iter().flatten() {
        let kind = match list.as_str() {
            "added" => ChangeKind::Added,
            "modified" => ChangeKind::Modified,
            "removed" => ChangeKind::Removed,
            other => panic!("{file}: {other}"),
        };
        expected.extend(paths.iter().map(|p| (FilePath::new(p.as_str()), kind)));
    }
    assert_eq!(*files, expected, "{file}");
}
