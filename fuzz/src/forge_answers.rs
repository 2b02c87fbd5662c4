//! What a forge's API may answer: the first byte picks the forge, the second the call; the rest are answers.

use purgehook::changes::ChangeSet;
use purgehook::event::{CommitId, RepoPath};
use purgehook::forge::{Forge, ForgeError, StatusPost};
use purgehook::run::StatusState;

use super::answering::Answering;
use super::surroundings::check_words;

/// Each with what its requests about the repository start with.
const FORGES: [(&str, &str); 4] = [
    ("github", "/github/repos/acme/website/"),
    ("gitlab", "/gitlab/projects/acme%2Fwebsite/"),
    ("gitea", "/gitea/repos/acme/website/"),
    ("gitee", "/gitee/repos/acme/website/"),
];

thread_local! {
    static API: Answering = Answering::new();
}

pub fn run(data: &[u8]) {
    let [which, call, answers @ ..] = data else {
        return;
    };
    let (name, _) = FORGES[usize::from(*which) % FORGES.len()];
    API.with(|api| {
        let ((), asked) = api.during(answers, async |config| {
            make(config.forges[name].as_ref(), *call).await;
        });
        for line in asked {
            let target = line.split_once(' ').map_or("", |(_, target)| target);
            let path = target.split('?').next().unwrap_or_default();
            // A request that an earlier call gave up on may arrive only now: any forge's place is good.
            let in_its_place = FORGES.iter().any(|(_, start)| path.starts_with(start));
            let good = in_its_place && !path.split('/').any(|part| part == "..");
            assert!(good, "{name} was asked {line:?}");
        }
    });
}

async fn make(forge: &dyn Forge, call: u8) {
    let repo = RepoPath::parse("acme/website").expect("a repository");
    let id = |digit: &str| CommitId::parse(&digit.repeat(40)).expect("an id");
    match call % 5 {
        0 | 1 => match forge.changes(&repo, &id("1"), &id("2")).await {
            Ok(ChangeSet::Complete { files, .. }) => {
                for path in files.keys() {
                    let text = path.to_string();
                    assert!(!text.contains('\u{fffd}'), "a path that was lost: {text}");
                }
            }
            Ok(ChangeSet::Unknown { why }) => check_words(&why),
            Err(error) => check_error(&error),
        },
        2 => match forge.resolve(&repo, "v1.0/../x?y#z").await {
            Ok(_) => {}
            Err(error) => check_error(&error),
        },
        3 => match forge.environment_head(&repo, "production/../x?y#z").await {
            Ok(_) => {}
            Err(error) => check_error(&error),
        },
        _ => {
            let status = StatusPost {
                state: StatusState::Success,
                context: "cdn/purge".to_owned(),
                description: "Purged".to_owned(),
                target_url: None,
                ref_name: "main".to_owned(),
                pending_before: 0,
            };
            match forge.post_status(&repo, &id("2"), &status).await {
                Ok(_) => {}
                Err(error) => check_error(&error),
            }
        }
    }
}

fn check_error(error: &ForgeError) {
    check_words(&error.to_string());
}
