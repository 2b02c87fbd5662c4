use super::*;

fn commit(digit: char) -> Reply {
    Reply::json(200, json!({"sha": id(digit).as_str()}))
}

fn none() -> Reply {
    Reply::json(422, json!({"message": "No commit found for SHA: whatever"}))
}

#[actix_web::test]
async fn a_name_is_a_tag_before_it_is_a_branch() {
    let api = Scripted::new(|asked| match asked.target.as_str() {
        "/api/repos/acme/website/commits/tags%2Fv1?per_page=1" => commit('1'),
        "/api/repos/acme/website/commits/next?per_page=1" => commit('2'),
        "/api/repos/acme/website/commits/heads%2Fv1?per_page=1" => commit('3'),
        "/api/repos/acme/website/commits/4444444?per_page=1" => commit('4'),
        _ => none(),
    });
    let github = github(&api.url);
    for (name, found) in [
        ("v1", '1'),
        ("refs/tags/v1", '1'),
        ("next", '2'),
        ("refs/heads/v1", '3'),
        ("4444444", '4'),
    ] {
        let resolved = github.resolve(&repo("acme/website"), name).await.unwrap();

        assert_eq!(resolved, id(found), "{name}");
    }
}

#[actix_web::test]
async fn a_name_of_nothing_is_gone() {
    for reply in [none(), Reply::json(404, json!({"message": "Not Found"}))] {
        let api = Scripted::new(move |_| reply.clone());

        let error = github(&api.url)
            .resolve(&repo("acme/website"), "v1")
            .await
            .unwrap_err();

        assert!(matches!(error, ForgeError::Gone(_)), "{error}");
    }
}

#[actix_web::test]
async fn an_environment_runs_the_newest_deployment_that_stands_at_success() {
    let api = Scripted::new(|asked| match asked.target.as_str() {
        "/api/repos/acme/website/deployments?environment=pre%2Fview+1&per_page=30" => Reply::json(
            200,
            json!([
                {"id": 3, "sha": id('3').as_str()},
                {"id": 2, "sha": id('2').as_str()},
                {"id": 1, "sha": id('1').as_str()},
            ]),
        ),
        "/api/repos/acme/website/deployments/3/statuses?per_page=1" => {
            Reply::json(200, json!([{"state": "failure"}]))
        }
        "/api/repos/acme/website/deployments/2/statuses?per_page=1" => {
            Reply::json(200, json!([{"state": "success"}]))
        }
        _ => Reply::json(200, json!([])),
    });
    let head = async |environment| {
        github(&api.url)
            .environment_head(&repo("acme/website"), environment)
            .await
            .unwrap()
    };

    assert_eq!(head("pre/view 1").await, Some(id('2')));
    assert_eq!(head("production").await, None);
}

#[actix_web::test]
async fn an_environment_is_found_whatever_the_case_of_its_name() {
    let api = Scripted::new(|asked| match asked.target.as_str() {
        "/api/repos/acme/website/deployments?per_page=30" => Reply::json(
            200,
            json!([
                {"id": 3, "sha": id('3').as_str(), "environment": "staging"},
                {"id": 2, "sha": id('2').as_str(), "environment": "Production"},
            ]),
        ),
        "/api/repos/acme/website/deployments/2/statuses?per_page=1" => {
            Reply::json(200, json!([{"state": "success"}]))
        }
        _ => Reply::json(200, json!([])),
    });

    let head = github(&api.url)
        .environment_head(&repo("acme/website"), "production")
        .await
        .unwrap();

    assert_eq!(head, Some(id('2')));
}

#[actix_web::test]
async fn where_nothing_was_ever_found_the_address_may_be_wrong() {
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let api =
        Scripted::new(
            move |_| match answers.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                1 => commit('1'),
                _ => Reply::json(404, json!({"message": "Not Found"})),
            },
        );
    let github = github(&api.url);
    let refused = async || {
        let repo = repo("acme/website");
        let asked = github.environment_head(&repo, "production");
        asked.await.unwrap_err().to_string()
    };

    let first = refused().await;
    github.resolve(&repo("acme/website"), "v1").await.unwrap();
    let second = refused().await;

    let words = format!(
        "or `api_url:` ({}) is not the API's address with its path",
        api.url
    );
    assert!(first.contains(&words), "{first}");
    assert!(
        second.ends_with("it does not exist, or the token may not read it"),
        "{second}"
    );
}
