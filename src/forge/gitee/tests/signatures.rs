use secrecy::ExposeSecret;
use serde::Deserialize;

use super::*;
use crate::forge::scripted::Signatures;

/// One request. The signatures were made with another language's HMAC.
#[derive(Deserialize)]
struct Case {
    about: String,
    mode: String,
    secrets: Vec<SecretString>,
    timestamp: Option<String>,
    token: Option<String>,
    body: String,
    accepted: bool,
    #[serde(default = "yes")]
    understood: bool,
}

fn yes() -> bool {
    true
}

fn headers(timestamp: Option<&str>, token: Option<&str>) -> Headers {
    let given = [("X-Gitee-Timestamp", timestamp), ("X-Gitee-Token", token)];
    let given = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.as_bytes())));
    let always = [
        ("X-Gitee-Event", b"Push Hook".as_slice()),
        ("X-Git-Oschina-Event", b"Push Hook"),
    ];
    Headers::new(given.chain(always))
}

#[test]
fn every_token_is_judged_as_gitee_means_it() {
    let data = include_str!("../../../../tests/data/gitee-signatures.json");
    let data: Signatures<Case> = serde_json::from_str(data).unwrap();
    assert_eq!(data.cases.len(), 28);

    for case in &data.cases {
        let mode = match case.mode.as_str() {
            "password" => Mode::Password,
            _ => Mode::Sign,
        };
        let forge = offline(mode, case.secrets.clone());
        let body = data.body(&case.body);
        let headers = headers(case.timestamp.as_deref(), case.token.as_deref());

        let verified = forge.verify(&headers, &body);

        assert_eq!(
            verified.is_ok(),
            case.accepted,
            "{}: {verified:?}",
            case.about
        );
        if let Ok(verified) = verified {
            let event = forge.understand(&verified, JSON, &body);
            assert_eq!(event.is_ok(), case.understood, "{}: {event:?}", case.about);
        }
    }
}

#[test]
fn a_signature_vouches_for_one_body_while_it_counts() {
    let data = include_str!("../../../../tests/data/gitee-signatures.json");
    let data: Signatures<Case> = serde_json::from_str(data).unwrap();
    let plain = &data.cases[0];
    let trust = Trust::new(Mode::Sign, plain.secrets.clone());
    let headers = headers(plain.timestamp.as_deref(), plain.token.as_deref());
    let at = |seconds: i64, body: &[u8]| {
        let now = (NOW + seconds) * 1_000;
        let mut verifier = trust.verifier(&headers, now)?;
        verifier.update(body);
        verifier.finish()
    };

    assert!(at(0, b"one").is_ok());
    // Sent again as it was, which changes nothing.
    assert!(at(299, b"one").is_ok());
    let refusal = at(1, b"another").unwrap_err();
    assert!(matches!(refusal, Refusal::BadSignature(m) if m.contains("another body")));
    // Too old to count is also too old to be remembered.
    assert!(at(301, b"one").is_err());
    assert!(at(301, b"another").is_err());
}

#[test]
fn who_shows_the_secret_in_the_other_way_is_told_the_mode() {
    let data = include_str!("../../../../tests/data/gitee-signatures.json");
    let data: Signatures<Case> = serde_json::from_str(data).unwrap();
    let signed = &data.cases[0];
    let secret = signed.secrets[0].expose_secret();
    let said = |mode, token: Option<&str>| {
        let forge = offline(mode, signed.secrets.clone());
        let headers = headers(signed.timestamp.as_deref(), token);
        let refusal = forge.verify(&headers, b"{}").unwrap_err();
        refusal.to_string()
    };

    let with_password = said(Mode::Sign, Some(secret));
    let with_signature = said(Mode::Password, signed.token.as_deref());

    assert!(
        with_password.contains("`mode: password`"),
        "{with_password}"
    );
    assert!(with_signature.contains("`mode: sign`"), "{with_signature}");
    for (mode, token) in [(Mode::Sign, "nonsense"), (Mode::Password, "nonsense")] {
        assert!(!said(mode, Some(token)).contains("mode:"));
    }
}
