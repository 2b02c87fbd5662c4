//! What a CDN's API may answer: the first byte picks the kind, the second the call; the rest are answers.

use std::collections::BTreeSet;

use jiff::Timestamp;
use purgehook::cdn::{Batch, Cdn, CdnError, InFlight, Pace, TargetState};
use purgehook::purge::{Mode, PurgeKind, TaskIds};

use super::answering::Answering;
use super::surroundings::{NOW, check_words, clock};

const KINDS: [&str; 4] = ["tencent-cdn", "tencent-ecdn", "qcloud", "huawei-cdn"];
const TARGETS: [&str; 2] = ["https://www.example.com/a", "https://www.example.com/b"];

thread_local! {
    static API: Answering = Answering::new();
}

pub fn run(data: &[u8]) {
    let [which, call, answers @ ..] = data else {
        return;
    };
    let kind = KINDS[usize::from(*which) % KINDS.len()];
    API.with(|api| {
        let ((), asked) = api.during(answers, async |config| {
            make(config.cdns[kind].as_ref(), *call).await;
        });
        for line in asked {
            check_asked(kind, &line);
        }
    });
}

async fn make(cdn: &dyn Cdn, call: u8) {
    let pace = Pace::new(clock(), 1_000);
    let tasks = [
        in_flight(PurgeKind::Url, Some("1001")),
        in_flight(PurgeKind::Url, Some("1002")),
        in_flight(PurgeKind::Url, Some("1003")),
        in_flight(PurgeKind::Prefetch, Some("1004")),
    ];
    match call % 6 {
        0 => check_id(cdn.submit(&batch(PurgeKind::Url)).await),
        1 => check_id(cdn.submit(&batch(PurgeKind::Directory)).await),
        2 => check_follow(cdn, &tasks[..1], &pace).await,
        3 => check_follow(cdn, &tasks, &pace).await,
        4 => check_id(
            cdn.find(&in_flight(PurgeKind::Url, None), &BTreeSet::new(), &pace)
                .await,
        ),
        _ => match cdn.quota().await {
            Ok(_) => {}
            Err(error) => check_error(&error),
        },
    }
}

fn batch(kind: PurgeKind) -> Batch {
    Batch {
        kind,
        mode: (kind == PurgeKind::Directory).then_some(Mode::Delete),
        targets: TARGETS.map(str::to_owned).to_vec(),
    }
}

fn in_flight(kind: PurgeKind, task: Option<&str>) -> InFlight {
    InFlight {
        task: task.and_then(TaskIds::parse),
        submitted_at: Timestamp::from_second(NOW).expect("a moment of this century"),
        batch: batch(kind),
    }
}

async fn check_follow(cdn: &dyn Cdn, tasks: &[InFlight], pace: &Pace) {
    let reports = match cdn.follow(tasks, pace).await {
        Ok(reports) => reports,
        Err(error) => return check_error(&error),
    };
    assert_eq!(reports.len(), tasks.len(), "one report a task");
    for (target, state) in reports.iter().flat_map(|report| &report.targets) {
        assert!(TARGETS.contains(&target.as_str()), "nobody sent {target:?}");
        match state {
            TargetState::Running(percent) => assert!(percent.is_none_or(|it| it <= 100)),
            TargetState::Done => {}
            TargetState::Failed(why) | TargetState::Invalid(why) | TargetState::Unknown(why) => {
                check_words(why);
            }
        }
    }
}

fn check_id(answered: Result<Option<TaskIds>, CdnError>) {
    match answered {
        Ok(Some(ids)) => check_words(&ids.to_string()),
        Ok(None) => {}
        Err(error) => check_error(&error),
    }
}

fn check_error(error: &CdnError) {
    check_words(&error.message);
    check_words(&error.kind.to_string());
}

/// Whatever is answered, nothing but the API's own paths is asked for.
fn check_asked(kind: &str, line: &str) {
    let good = match kind {
        "huawei-cdn" => ["GET /v1.0/cdn/", "POST /v1.0/cdn/"]
            .iter()
            .any(|start| line.starts_with(start)),
        "qcloud" => line == "POST /v2/index.php",
        _ => line == "POST /",
    };
    let path = line.split('?').next().unwrap_or_default();
    assert!(good && !path.contains(".."), "{kind} was asked {line:?}");
}
