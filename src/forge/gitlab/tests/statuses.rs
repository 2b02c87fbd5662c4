use super::*;
use crate::forge::Denial;
use crate::forge::gitlab::status::TWO_TEXTS;
use crate::run::StatusState;

fn status(state: StatusState, description: &str) -> StatusPost {
    StatusPost {
        state,
        context: "cdn/purge".to_owned(),
        description: description.to_owned(),
        target_url: Some("https://purge.example.com/runs/1".to_owned()),
        ref_name: "main".to_owned(),
        pending_before: 0,
    }
}

async fn post(forge: &GitLab, status: &StatusPost) -> Result<PostOutcome, ForgeError> {
    forge
        .post_status(&repo("acme/website"), &id('2'), status)
        .await
}

/// An API with these pipelines, where posting comes to `posted`.
fn api(pipelines: Reply, posted: Reply) -> Scripted {
    Scripted::new(move |asked| match asked.method.as_str() {
        "GET" => pipelines.clone(),
        _ => posted.clone(),
    })
}

fn none() -> Reply {
    Reply::json(200, json!([]))
}

fn created() -> Reply {
    Reply::json(201, json!({"id": 5, "status": "pending"}))
}

#[actix_web::test]
async fn a_status_goes_to_the_pipeline_that_the_push_started() {
    let pipelines = json!([
        {"id": 12, "source": "external"},
        {"id": 11, "source": "push"},
        {"id": 10, "source": "push"},
    ]);
    let api = api(Reply::json(200, pipelines), created());
    let forge = gitlab(&api.url);

    post(&forge, &status(StatusState::Pending, "Purging"))
        .await
        .unwrap();
    post(&forge, &status(StatusState::Success, "Purged"))
        .await
        .unwrap();

    let asked = api.asked();
    assert_eq!(
        api.lines(),
        [
            format!(
                "GET /api/projects/acme%2Fwebsite/pipelines?sha={}&ref=main",
                id('2')
            ),
            format!("POST /api/projects/acme%2Fwebsite/statuses/{}", id('2')),
            format!("POST /api/projects/acme%2Fwebsite/statuses/{}", id('2')),
        ]
    );
    assert_eq!(
        asked[1].json(),
        json!({
            "state": "pending",
            "name": "cdn/purge",
            "ref": "main",
            "description": "Purging",
            "target_url": "https://purge.example.com/runs/1",
            "pipeline_id": 11,
        })
    );
    assert_eq!(asked[2].json()["pipeline_id"], 11);
}

#[actix_web::test]
async fn a_status_stays_in_the_pipeline_where_it_began() {
    let api = api(
        none(),
        Reply::json(201, json!({"id": 5, "pipeline_id": 40})),
    );
    let forge = gitlab(&api.url);

    post(&forge, &status(StatusState::Pending, "Purging"))
        .await
        .unwrap();
    post(&forge, &status(StatusState::Success, "Purged"))
        .await
        .unwrap();

    assert!(api.asked()[1].json().get("pipeline_id").is_none());
    assert_eq!(api.asked()[2].json()["pipeline_id"], 40);
}

#[test]
fn an_external_pipeline_older_than_the_others_has_the_pending_status() {
    use super::super::status::{Pipeline, choose};
    let pipelines = |list: &[(u64, &str)]| -> Vec<Pipeline> {
        let pipeline = |(id, source): &(u64, &str)| Pipeline {
            id: *id,
            source: Some((*source).to_owned()),
        };
        list.iter().map(pipeline).collect()
    };
    let late = pipelines(&[(9, "push"), (8, "external")]);
    let early = pipelines(&[(9, "external"), (8, "push"), (7, "push")]);

    assert_eq!(choose(&late, StatusState::Pending), Some(9));
    assert_eq!(choose(&late, StatusState::Success), Some(8));
    assert_eq!(choose(&early, StatusState::Pending), Some(8));
    assert_eq!(choose(&early, StatusState::Failure), Some(8));
    assert_eq!(
        choose(&pipelines(&[(3, "external")]), StatusState::Error),
        Some(3)
    );
    assert_eq!(choose(&[], StatusState::Error), None);
}

#[actix_web::test]
async fn failure_and_error_are_both_failed_and_the_text_says_which() {
    let api = api(
        Reply::json(403, json!({"message": "403 Forbidden"})),
        created(),
    );
    let forge = gitlab(&api.url);

    post(&forge, &status(StatusState::Failure, &"x".repeat(300)))
        .await
        .unwrap();
    post(&forge, &status(StatusState::Error, &"x".repeat(300)))
        .await
        .unwrap();

    let asked = api.asked();
    let sent = |n: usize| asked[n].json();
    assert_eq!(sent(1)["state"], "failed");
    assert_eq!(sent(2)["state"], "failed");
    let description = |n: usize| sent(n)["description"].as_str().unwrap().to_owned();
    assert!(description(1).starts_with("xxx"));
    assert!(description(2).starts_with("error: xxx"));
    for n in [1, 2] {
        assert_eq!(description(n).chars().count(), 255);
    }
}

#[actix_web::test]
async fn a_status_that_stands_where_it_should_is_no_error() {
    let refused = |how: &str| {
        let words = format!(
            "Cannot transition status via {how} (Reason(s): Status cannot transition via \"x\")"
        );
        Reply::json(400, json!({"message": words}))
    };
    let cases = [
        (StatusState::Pending, ":enqueue from :pending", true),
        (StatusState::Pending, ":enqueue from :running", true),
        (StatusState::Success, ":success from :success", true),
        (StatusState::Error, ":drop from :failed", true),
        (StatusState::Success, ":success from :canceled", false),
        (StatusState::Failure, ":drop from :success", false),
    ];
    for (state, how, fine) in cases {
        let api = api(none(), refused(how));
        let posted = post(&gitlab(&api.url), &status(state, "")).await;
        match posted {
            Ok(outcome) => {
                assert!(fine, "{how}");
                let kept = matches!(outcome, PostOutcome::KeptEarlierText(_));
                assert!(kept, "{how}");
            }
            Err(error) => assert!(!fine && matches!(error, ForgeError::Refused(_)), "{error}"),
        }
    }
}

#[actix_web::test]
async fn what_would_be_refused_is_not_asked_for() {
    let api = api(none(), created());
    let forge = gitlab(&api.url);

    let mut outcomes = Vec::new();
    for pending_before in 0..4 {
        let pending = StatusPost {
            pending_before,
            ..status(StatusState::Pending, "Purging")
        };
        outcomes.push(post(&forge, &pending).await.unwrap());
    }

    let asked = api.asked();
    let posted = asked.iter().filter(|asked| asked.method == "POST");
    let states: Vec<_> = posted.map(|asked| asked.json()["state"].clone()).collect();
    assert_eq!(states, ["pending", "running"]);
    let why = "not sent: GitLab takes two texts until a run ends";
    let (took, kept) = (PostOutcome::Posted, PostOutcome::KeptEarlierText(why));
    assert_eq!(outcomes, [took, took, kept, kept]);
}

#[actix_web::test]
async fn of_a_run_that_goes_on_two_texts_are_shown_and_then_how_it_ended() {
    let taken = Arc::new(Mutex::new(Vec::<(String, String)>::new()));
    let shown = Arc::clone(&taken);
    let api = Scripted::new(move |asked| {
        if asked.method == "GET" {
            return none();
        }
        let body = asked.json();
        let word = |field: &str| body[field].as_str().unwrap().to_owned();
        let mut shown = shown.lock();
        let from = shown.last().map(|(state, _)| state.clone());
        let event = match (word("state").as_str(), from.as_deref()) {
            ("pending", Some("pending" | "running")) => "enqueue",
            ("running", Some("running")) => "run",
            _ => {
                shown.push((word("state"), word("description")));
                return created();
            }
        };
        let from = from.unwrap();
        let words = format!(
            "Cannot transition status via :{event} from :{from} (Reason(s): Status cannot transition via \"{event}\")"
        );
        Reply::json(400, json!({"message": words}))
    });
    let forge = gitlab(&api.url);

    for (text, outcome) in [
        ("Finding out", PostOutcome::Posted),
        ("Waiting", PostOutcome::Posted),
        ("Waiting still", PostOutcome::KeptEarlierText(TWO_TEXTS)),
    ] {
        let pending = status(StatusState::Pending, text);
        assert_eq!(post(&forge, &pending).await.unwrap(), outcome, "{text}");
    }
    let purged = status(StatusState::Success, "Purged");
    assert_eq!(post(&forge, &purged).await.unwrap(), PostOutcome::Posted);

    let shown = taken.lock().clone();
    let shown: Vec<_> = shown
        .iter()
        .map(|(s, t)| (s.as_str(), t.as_str()))
        .collect();
    let expected = [
        ("pending", "Finding out"),
        ("running", "Waiting"),
        ("success", "Purged"),
    ];
    assert_eq!(shown, expected);
}

#[actix_web::test]
async fn refusals_are_told_apart() {
    let taken = json!({"message": {"name": ["has already been taken"]}});
    let cases = [
        (Reply::json(400, taken), "name: has already been taken"),
        (
            Reply::json(
                422,
                json!({"message": "The number of jobs has exceeded the limit"}),
            ),
            "jobs",
        ),
    ];
    for (reply, words) in cases {
        let api = api(none(), reply);
        let error = post(&gitlab(&api.url), &status(StatusState::Success, ""))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, ForgeError::Refused(m) if m.contains(words)),
            "{error}"
        );
    }

    let forbidden = api(
        none(),
        Reply::json(403, json!({"message": "403 Forbidden"})),
    );
    let error = post(&gitlab(&forbidden.url), &status(StatusState::Success, ""))
        .await
        .unwrap_err();
    assert!(matches!(
        &error,
        ForgeError::Denied { denial: Denial::Permission, message } if message.contains("protected")
    ));

    let busy = api(
        none(),
        Reply::json(409, json!({"message": "Another update is in progress"})),
    );
    let error = post(&gitlab(&busy.url), &status(StatusState::Success, ""))
        .await
        .unwrap_err();
    assert!(matches!(error, ForgeError::Later { .. }));

    let gone = api(
        none(),
        Reply::json(404, json!({"message": "404 Commit Not Found"})),
    );
    let error = post(&gitlab(&gone.url), &status(StatusState::Success, ""))
        .await
        .unwrap_err();
    assert!(matches!(error, ForgeError::Gone(_)));
}
