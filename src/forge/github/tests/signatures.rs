use serde::Deserialize;

use super::*;
use crate::forge::scripted::Signatures;

/// One request. The signatures were made with another language's HMAC.
#[derive(Deserialize)]
struct Case {
    about: String,
    secrets: Vec<String>,
    body: String,
    #[serde(default = "json_type")]
    content_type: String,
    sha256: Option<String>,
    sha1: Option<String>,
    accepted: bool,
    #[serde(default = "yes")]
    understood: bool,
}

fn json_type() -> String {
    payload::JSON.to_owned()
}

fn yes() -> bool {
    true
}

#[test]
fn every_signature_is_judged_as_github_means_it() {
    let data = include_str!("../../../../tests/data/github-signatures.json");
    let data: Signatures<Case> = serde_json::from_str(data).unwrap();
    assert_eq!(data.cases.len(), 41);

    for case in &data.cases {
        let forge = offline(case.secrets.iter().cloned().map(Into::into).collect());
        let body = data.body(&case.body);
        let mut headers = vec![
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", "8d2f60a4-11e9-4a57-9f3c-d0a1c2b3e4f5"),
        ];
        headers.extend(case.sha256.as_deref().map(|s| ("X-Hub-Signature-256", s)));
        headers.extend(case.sha1.as_deref().map(|s| ("X-Hub-Signature", s)));
        let headers = Headers::new(headers.into_iter().map(|(n, v)| (n, v.as_bytes())));

        let verified = forge.verify(&headers, &body);

        assert_eq!(verified.is_ok(), case.accepted, "{}", case.about);
        if let Ok(verified) = verified {
            let id = verified.delivery_id.as_deref();
            assert_eq!(id, Some("8d2f60a4-11e9-4a57-9f3c-d0a1c2b3e4f5"));
            let event = forge.understand(&verified, &case.content_type, &body);
            assert_eq!(event.is_ok(), case.understood, "{}: {event:?}", case.about);
        }
    }
}

#[test]
fn a_gitlab_delivery_opens_no_github_hook() {
    let forge = offline(secrets(&["the secret"]));
    let headers = Headers::new([
        ("X-Gitlab-Event", b"Push Hook".as_slice()),
        ("X-Gitlab-Token", b"the secret"),
    ]);

    let refusal = forge.verify(&headers, b"{}").unwrap_err();

    assert!(matches!(refusal, Refusal::Unsigned(_)));
}

#[test]
fn a_delivery_id_that_nothing_could_store_is_no_id() {
    let forge = offline(secrets(&["It's a Secret to Everybody"]));
    let signature = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let long = "x".repeat(256);
    for (sent, kept) in [
        (&long[..255], true),
        (&long, false),
        ("", false),
        ("a\tb", false),
        ("é", false),
    ] {
        let headers = Headers::new([
            ("x-hub-signature-256", signature.as_slice()),
            ("x-github-delivery", sent.as_bytes()),
        ]);

        let verified = forge.verify(&headers, b"Hello, World!").unwrap();

        assert_eq!(verified.delivery_id.is_some(), kept, "{sent}");
        assert_eq!(verified.event, "");
    }
}
