use super::*;

#[actix_web::test]
async fn a_name_stands_for_a_commit() {
    let api = Scripted::new(|asked| match asked.target.as_str() {
        "/api/projects/acme%2Fwebsite/repository/commits/release%2F1?stats=false" => {
            Reply::json(200, json!({"id": id('1').as_str(), "short_id": "11111111"}))
        }
        _ => Reply::json(404, json!({"message": "404 Commit Not Found"})),
    });
    let gitlab = gitlab(&api.url);

    let found = gitlab.resolve(&repo("acme/website"), "release/1").await;
    let lost = gitlab.resolve(&repo("acme/website"), "22222222").await;

    assert_eq!(found.unwrap(), id('1'));
    assert!(matches!(lost, Err(ForgeError::Gone(_))));
}

#[actix_web::test]
async fn an_environment_runs_its_newest_successful_deployment() {
    let api = Scripted::new(|asked| match asked.target.as_str() {
        "/api/projects/acme%2Fwebsite/deployments?environment=production&status=success&order_by=id&sort=desc&per_page=1" => {
            Reply::json(
                200,
                json!([{"id": 5, "sha": id('5').as_str(), "status": "success"}]),
            )
        }
        _ => Reply::json(200, json!([])),
    });
    let head = async |environment| {
        gitlab(&api.url)
            .environment_head(&repo("acme/website"), environment)
            .await
            .unwrap()
    };

    assert_eq!(head("production").await, Some(id('5')));
    assert_eq!(head("staging").await, None);
}
