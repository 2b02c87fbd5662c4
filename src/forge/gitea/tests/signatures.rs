use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::forge::scripted::Signatures;

/// One request. The signatures were made with another language's HMAC.
#[derive(Deserialize)]
struct Case {
    about: String,
    secrets: Vec<SecretString>,
    headers: BTreeMap<String, String>,
    body: String,
    #[serde(default = "json_type")]
    content_type: String,
    accepted: bool,
    #[serde(default = "yes")]
    understood: bool,
}

fn json_type() -> String {
    JSON.to_owned()
}

fn yes() -> bool {
    true
}

#[test]
fn every_signature_is_judged_as_gitea_means_it() {
    let data = include_str!("../../../../tests/data/gitea-signatures.json");
    let data: Signatures<Case> = serde_json::from_str(data).unwrap();
    assert_eq!(data.cases.len(), 31);

    for case in &data.cases {
        let forge = offline(case.secrets.clone());
        let body = data.body(&case.body);
        let always = [
            ("X-Gitea-Event", "push"),
            ("X-GitHub-Event", "push"),
            ("X-Gitea-Delivery", "8d2f60a4-11e9-4a57-9f3c-d0a1c2b3e4f5"),
            ("Content-Type", case.content_type.as_str()),
        ];
        let given = case.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let headers = given.chain(always).map(|(n, v)| (n, v.as_bytes()));

        let verified = forge.verify(&Headers::new(headers), &body);

        assert_eq!(
            verified.is_ok(),
            case.accepted,
            "{}: {verified:?}",
            case.about
        );
        if let Ok(verified) = verified {
            let id = verified.delivery_id.as_deref();
            assert_eq!(id, Some("8d2f60a4-11e9-4a57-9f3c-d0a1c2b3e4f5"));
            let content_type = case.content_type.split(';').next().unwrap();
            let event = forge.understand(&verified, content_type, &body);
            assert_eq!(event.is_ok(), case.understood, "{}: {event:?}", case.about);
        }
    }
}

#[test]
fn a_header_that_came_twice_is_no_signature() {
    let forge = offline(vec!["It's a Secret to Everybody".to_owned().into()]);
    let right = b"757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".as_slice();
    let verify = |headers: &[(&str, &[u8])]| {
        let headers = Headers::new(headers.iter().copied());
        forge.verify(&headers, b"Hello, World!").is_ok()
    };

    assert!(verify(&[("x-gitea-signature", right)]));
    assert!(!verify(&[
        ("x-gitea-signature", right),
        ("x-gitea-signature", right)
    ]));
    assert!(!verify(&[
        ("x-gitea-signature", right),
        ("x-forgejo-signature", right),
        ("x-forgejo-signature", b"0"),
    ]));
}

#[test]
fn a_forgejo_names_its_events_and_deliveries_by_its_own_headers() {
    let forge = offline(vec!["It's a Secret to Everybody".to_owned().into()]);
    let headers = Headers::new([
        (
            "x-forgejo-signature",
            b"757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".as_slice(),
        ),
        ("x-forgejo-event", b"release"),
        ("x-forgejo-delivery", b"1"),
    ]);

    let verified = forge.verify(&headers, b"Hello, World!").unwrap();

    assert_eq!(verified.event, "release");
    assert_eq!(verified.delivery_id.as_deref(), Some("1"));
}
