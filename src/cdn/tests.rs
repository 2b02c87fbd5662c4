//! Tests how each kind reads its entries under `cdns:`.

use std::error::Error;
use std::sync::Arc;

use super::fake::{FakeApi, Told, batch, outbound};
use super::{Cdn, KINDS};
use crate::cause;
use crate::http::Outbound;
use crate::purge::PurgeKind;
use crate::settings::{Environment, File};

/// Reads an entry of a kind, with these variables set: the CDN, and all problems as they are shown.
fn read(kind: &str, entry: &str, variables: &[(&str, &str)]) -> (Option<Arc<dyn Cdn>>, String) {
    read_in(&outbound(), kind, entry, variables)
}

/// The same, with a world outside of one's own.
pub(super) fn read_in(
    outbound: &Outbound,
    kind: &str,
    entry: &str,
    variables: &[(&str, &str)],
) -> (Option<Arc<dyn Cdn>>, String) {
    let environment = Environment::of(variables.iter().copied());
    let file = File::new("rules.yaml", entry, environment);
    let kind = KINDS.iter().find(|known| known.name == kind).unwrap();
    let mut section = file.root().unwrap();
    let cdn = (kind.read)(&mut section, outbound);
    drop(section);
    (cdn, file.problems().render(false))
}

const TENCENT: &str = "secret_id: AKIDEXAMPLE\nsecret_key: SecretExample\n";

#[test]
fn every_kind_reads_the_least_that_it_needs() {
    for (kind, entry) in [
        ("tencent-cdn", TENCENT),
        ("tencent-ecdn", TENCENT),
        ("huawei-cdn", "access_key: HWAK\nsecret_key: HwSk\n"),
        ("huawei-cdn", "token: MIITkAYJ\n"),
    ] {
        let (cdn, problems) = read(kind, entry, &[]);

        let cdn = cdn.unwrap_or_else(|| panic!("{kind}: {problems}"));
        assert_eq!(cdn.kind(), kind);
        assert_eq!(problems, "", "{kind}");
        assert!(cdn.account().as_str().starts_with(kind));
        assert_eq!(cdn.migrated_to(), None);
    }
}

#[tokio::test]
async fn the_http_clients_error_stands_behind_ours_and_is_said_once_and_without_the_address() {
    let entry = format!("{TENCENT}endpoint: http://127.0.0.1:1\n");
    let (cdn, problems) = read("tencent-cdn", &entry, &[]);
    let cdn = cdn.unwrap_or_else(|| panic!("{problems}"));

    let error = cdn.quota().await.unwrap_err();

    assert!(error.source().unwrap().is::<reqwest::Error>());
    let said = cause::chain(&error);
    assert_eq!(
        said,
        error.to_string(),
        "its words hold those of its causes"
    );
    assert!(!said.contains("AKID"), "{said}");
}

#[test]
fn missing_secrets_are_named_with_the_variables_that_stand_in_for_them() {
    for (kind, advice) in [
        (
            "tencent-cdn",
            ["TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"],
        ),
        ("huawei-cdn", ["HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"]),
    ] {
        let (cdn, problems) = read(kind, "endpoint: https://cdn.example.com\n", &[]);

        assert!(cdn.is_none());
        for advice in advice {
            assert!(problems.contains(advice), "{problems}");
        }
    }
}

#[actix_web::test]
async fn secrets_fall_back_to_the_vendors_own_variables() {
    let accepted = Told::json(r#"{"Response": {"TaskId": "1"}}"#);
    let api = FakeApi::told(vec![accepted; 3]).await;
    let endpoint = format!("endpoint: {}\n", api.url);
    let variables = [
        ("TENCENTCLOUD_SECRET_ID", "AKIDENVIRONMENT"),
        ("TENCENTCLOUD_SECRET_KEY", "SecretEnvironment"),
        ("TENCENTCLOUD_TOKEN", "token-of-the-environment"),
    ];
    let own_keys = format!("{endpoint}{TENCENT}");
    let same_keys = format!("{endpoint}secret_id: ${{TENCENTCLOUD_SECRET_ID}}\n");

    for entry in [&endpoint, &own_keys, &same_keys] {
        let (cdn, problems) = read("tencent-cdn", entry, &variables);
        let cdn = cdn.unwrap_or_else(|| panic!("{problems}"));
        cdn.submit(&batch(PurgeKind::Url, &["https://a.example/"]))
            .await
            .unwrap();
    }

    let asked = api.asked();
    let tokens: Vec<&str> = asked
        .iter()
        .map(|asked| asked.header("x-tc-token"))
        .collect();
    let token = "token-of-the-environment";
    assert_eq!(
        tokens,
        [token, "", token],
        "a token is never sent with other keys"
    );
    assert!(
        asked[0]
            .header("authorization")
            .contains("=AKIDENVIRONMENT/")
    );
}

#[test]
fn limits_go_over_the_documented_ones() {
    let entry = format!(
        "{TENCENT}limits: {{urls_per_day: 5, directories_per_request: 20, requests_per_second: 2}}\n"
    );
    let (cdn, problems) = read("tencent-cdn", &entry, &[]);

    let limits = cdn.expect(&problems).limits().clone();
    let url = limits.kinds[&PurgeKind::Url];
    assert_eq!(
        (url.per_request, url.per_day, url.requests_per_second),
        (1_000, 5, 2)
    );
    assert_eq!(limits.kinds[&PurgeKind::Directory].per_request, 20);
    assert_eq!(limits.kinds[&PurgeKind::Prefetch].per_day, 1_000);
    assert_eq!(limits.queries_per_second, 2);
}

#[test]
fn a_kind_that_prefetches_nothing_has_no_limits_for_it() {
    let entry = format!("{TENCENT}limits: {{prefetches_per_day: 5}}\nmigrated_to: tencent\n");

    let (cdn, problems) = read("tencent-ecdn", &entry, &[]);

    assert!(problems.contains("prefetches_per_day"), "{problems}");
    assert_eq!(cdn.expect(&problems).migrated_to(), Some("tencent"));
}

#[test]
fn words_that_no_document_knows_are_problems() {
    let entry = format!("{TENCENT}area: moon\nsignature: md5\n");

    let (_, problems) = read("tencent-cdn", &entry, &[]);

    assert!(problems.contains("moon"), "{problems}");
    assert!(problems.contains("md5"), "{problems}");
}

#[test]
fn the_end_of_api_2_is_a_warning() {
    let (cdn, problems) = read("qcloud", TENCENT, &[]);

    assert!(cdn.is_some());
    assert!(problems.contains("2022-11-30"), "{problems}");
    assert!(problems.contains("tencent-cdn"), "{problems}");
}
