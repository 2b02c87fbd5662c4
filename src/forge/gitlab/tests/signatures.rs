use serde::Deserialize;

use super::*;
use crate::forge::scripted::Signatures;

/// One request. The signatures were made with another language's HMAC.
#[derive(Deserialize)]
struct Case {
    about: String,
    #[serde(default)]
    secrets: Vec<SecretString>,
    #[serde(default)]
    signing_tokens: Vec<SecretString>,
    body: String,
    id: Option<String>,
    timestamp: Option<String>,
    signature: Option<String>,
    token: Option<String>,
    github: Option<String>,
    accepted: bool,
    #[serde(default = "yes")]
    understood: bool,
}

fn yes() -> bool {
    true
}

impl Case {
    /// What the configuration comes to; none if it is refused when it is read.
    fn trust(&self) -> Option<Trust> {
        let tokens: Result<Vec<_>, _> = self
            .signing_tokens
            .iter()
            .map(SigningToken::parse)
            .collect();
        Trust::of(tokens.ok()?, self.secrets.clone())
    }

    fn headers(&self) -> Headers {
        let given = [
            ("webhook-id", &self.id),
            ("webhook-timestamp", &self.timestamp),
            ("webhook-signature", &self.signature),
            ("X-Gitlab-Token", &self.token),
            ("X-Hub-Signature-256", &self.github),
        ];
        let given = given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?.as_bytes())));
        let always = [
            ("X-Gitlab-Event", b"Push Hook".as_slice()),
            (
                "X-Gitlab-Event-UUID",
                b"8c3e5b0f-0f57-4c43-b1d5-93ea16e7c0c6",
            ),
            (
                "X-Gitlab-Webhook-UUID",
                b"b2a4f0c9-86f8-4b0b-9a0e-6ce1c3f2a7d1",
            ),
        ];
        Headers::new(given.chain(always))
    }
}

#[test]
fn every_signature_is_judged_as_gitlab_means_it() {
    let data = include_str!("../../../../tests/data/gitlab-signatures.json");
    let data: Signatures<Case> = serde_json::from_str(data).unwrap();
    assert_eq!(data.cases.len(), 54);

    for case in &data.cases {
        let Some(trust) = case.trust() else {
            assert!(!case.accepted, "{}", case.about);
            continue;
        };
        let forge = offline(trust);
        let body = data.body(&case.body);

        let verified = forge.verify(&case.headers(), &body);

        assert_eq!(
            verified.is_ok(),
            case.accepted,
            "{}: {verified:?}",
            case.about
        );
        if let Ok(verified) = verified {
            assert_eq!(verified.delivery_id, case.id, "{}", case.about);
            let event = forge.understand(&verified, "application/json", &body);
            assert_eq!(event.is_ok(), case.understood, "{}: {event:?}", case.about);
        }
    }
}

#[test]
fn a_delivery_is_named_by_its_idempotency_key() {
    let forge = offline(Trust::Secret(vec!["s".to_owned().into()]));
    let id = |pairs: &[(&str, &str)]| {
        let token = ("X-Gitlab-Token", b"s".as_slice());
        let pairs = pairs.iter().map(|(n, v)| (*n, v.as_bytes()));
        let headers = Headers::new(pairs.chain([token]));
        forge.verify(&headers, b"").unwrap().delivery_id
    };

    assert_eq!(
        id(&[("Idempotency-Key", "a"), ("webhook-id", "b")]).unwrap(),
        "a"
    );
    assert_eq!(id(&[("webhook-id", "b")]).unwrap(), "b");
    assert_eq!(
        id(&[("X-Gitlab-Event-UUID", "c"), ("X-Gitlab-Webhook-UUID", "d")]),
        None
    );
}

#[test]
fn a_github_delivery_opens_no_gitlab_hook() {
    let signed = Headers::new([
        ("X-GitHub-Event", b"push".as_slice()),
        ("X-Hub-Signature-256", b"sha256=00"),
    ]);
    let token = "whsec_dGhlLWZpcnN0LXNpZ25pbmcta2V5LTMyLWJ5dGVzLSE="
        .to_owned()
        .into();
    for trust in [
        Trust::Secret(vec!["s".to_owned().into()]),
        Trust::Signature(vec![SigningToken::parse(&token).unwrap()]),
    ] {
        let refusal = offline(trust).verify(&signed, b"{}").unwrap_err();
        assert!(matches!(refusal, Refusal::Unsigned(_)));
    }
}
