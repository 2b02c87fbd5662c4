//! Webhook requests of each forge: the first byte picks one, the second line names the event, the rest is the body.
//!
//! Signed rightly it is understood or refused with words; signed otherwise it is not let in.

use std::sync::LazyLock;

use hmac::{Hmac, KeyInit, Mac};
use purgehook::config::Config;
use purgehook::event::{CommitId, Event, RepoPath};
use purgehook::forge::{Forge, Headers, Verified};
use sha2::Sha256;

use super::surroundings::{NOW, SECRET, SIGNING_KEY, check_words, everything, outbound};

const FORGES: [&str; 5] = ["github", "gitlab", "gitlab-signed", "gitea", "gitee"];

static CONFIG: LazyLock<Config> = LazyLock::new(|| everything("http://127.0.0.1:1", &outbound()));

pub fn run(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (Some(&[which]), Some(event), Some(body)) = (lines.next(), lines.next(), lines.next())
    else {
        return;
    };
    let name = FORGES[usize::from(which) % FORGES.len()];
    let forge = CONFIG.forges[name].as_ref();

    let headers = signed(name, event, body);
    if event.iter().any(|byte| byte.is_ascii_control()) {
        return;
    }
    let verified = verified(forge, &headers, body);
    understand(forge, &verified, "application/json", body);

    let mut changed = body.to_vec();
    changed.push(b' ');
    // Neither of the two passwords covers the body.
    if !matches!(name, "gitlab" | "gitee") {
        assert!(
            forge.verify(&headers, &changed).is_err(),
            "a signature of another body"
        );
    }
    assert!(
        forge.verify(&Headers::default(), body).is_err(),
        "no signature"
    );
}

/// A verification that must not fail.
pub fn verified(forge: &dyn Forge, headers: &Headers, body: &[u8]) -> Verified {
    match forge.verify(headers, body) {
        Ok(verified) => verified,
        Err(refusal) => panic!("{refusal}"),
    }
}

/// Understands a body, and checks what comes of it.
pub fn understand(forge: &dyn Forge, verified: &Verified, content_type: &str, body: &[u8]) {
    let event = match forge.understand(verified, content_type, body) {
        Ok(event) => event,
        Err(malformed) => return check_words(&malformed.to_string()),
    };
    match event {
        Event::Ping => {}
        Event::Other { repo, why } => {
            repo.iter().for_each(check_repo);
            check_words(&why);
        }
        Event::Push(push) => {
            check_repo(&push.repo);
            for id in [&push.before, &push.after, &push.commit]
                .into_iter()
                .flatten()
            {
                assert_eq!(CommitId::parse(id.as_str()).as_ref(), Some(id));
            }
            check_name(&push.git_ref.to_string());
            check_name(&push.dedup_key());
            check_name(&push.ordering_key());
        }
        Event::Deployed(deployed) => {
            check_repo(&deployed.repo);
            check_name(&deployed.dedup_key());
            check_name(&deployed.ordering_key());
            if let Some(git_ref) = &deployed.git_ref {
                check_name(&git_ref.to_string());
            }
            check_name(&deployed.signal.to_string());
        }
    }
}

fn check_repo(repo: &RepoPath) {
    assert_eq!(RepoPath::parse(repo.as_str()).as_ref(), Some(repo));
}

/// What ends up in logs and sentences.
fn check_name(name: &str) {
    assert!(!name.chars().any(char::is_control), "{name:?}");
}

/// The headers with which a forge would send a body.
pub fn signed(forge: &str, event: &[u8], body: &[u8]) -> Headers {
    use base64::Engine;
    let base64 = |bytes: Vec<u8>| base64::engine::general_purpose::STANDARD.encode(bytes);
    let seconds = NOW.to_string();
    let mac = |parts: &[&[u8]]| hmac(SECRET.as_bytes(), parts);
    let pairs: Vec<(&str, Vec<u8>)> = match forge {
        "github" => vec![
            ("x-github-event", event.to_vec()),
            ("x-github-delivery", b"an-id".to_vec()),
            (
                "x-hub-signature-256",
                format!("sha256={}", hex::encode(mac(&[body]))).into_bytes(),
            ),
        ],
        "gitlab" => vec![
            ("x-gitlab-event", event.to_vec()),
            ("x-gitlab-token", SECRET.into()),
        ],
        "gitlab-signed" => {
            let mac = hmac(&SIGNING_KEY, &[b"an-id.", seconds.as_bytes(), b".", body]);
            vec![
                ("x-gitlab-event", event.to_vec()),
                ("webhook-id", b"an-id".to_vec()),
                ("webhook-timestamp", seconds.into_bytes()),
                (
                    "webhook-signature",
                    format!("v1,{}", base64(mac)).into_bytes(),
                ),
            ]
        }
        "gitea" => vec![
            ("x-gitea-event", event.to_vec()),
            ("x-gitea-signature", hex::encode(mac(&[body])).into_bytes()),
        ],
        // The password: a signature would count for one body only, and the clock stands still.
        _ => vec![
            ("x-gitee-event", event.to_vec()),
            ("x-gitee-token", SECRET.into()),
        ],
    };
    Headers::new(pairs.iter().map(|(name, value)| (*name, value.as_slice())))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}
