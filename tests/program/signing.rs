//! A forge's delivery with another body, signed anew with a secret of the test's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use purgehook::sandbox::Delivery;
use ring::hmac;

/// How the forge shows that a delivery is its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Proof<'s> {
    /// GitHub's and Gitea's HMAC over the body, in hex.
    Hmac(&'s str),
    /// GitLab's `webhook-signature`, by the bytes behind `whsec_`.
    Webhook(&'s [u8]),
    /// GitLab's `X-Gitlab-Token`.
    GitLabToken(&'s str),
    /// Gitee's password.
    Password(&'s str),
}

/// The delivery to another entry under `forges:`, with another body.
pub fn resigned(delivery: &Delivery, entry: &str, body: Vec<u8>, proof: Proof<'_>) -> Delivery {
    let mut headers = delivery.headers.clone();
    headers.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !(name.contains("signature") || name.ends_with("-token"))
    });
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    match proof {
        Proof::Hmac(secret) => {
            let signature = hex::encode(mac(secret.as_bytes(), &body));
            if delivery.header("X-Gitea-Event").is_some() {
                add("X-Gitea-Signature", signature);
            } else {
                add("X-Hub-Signature-256", format!("sha256={signature}"));
            }
        }
        Proof::Webhook(key) => {
            let header = |name| delivery.header(name).unwrap_or_default();
            let mut text =
                format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).into_bytes();
            text.extend_from_slice(&body);
            let signature = STANDARD.encode(mac(key, &text));
            add("webhook-signature", format!("v1,{signature}"));
        }
        Proof::GitLabToken(secret) => add("X-Gitlab-Token", secret.to_owned()),
        Proof::Password(secret) => add("X-Gitee-Token", secret.to_owned()),
    }
    Delivery {
        path: format!("/hooks/{entry}"),
        headers,
        body,
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text).as_ref().to_vec()
}
