//! Any bytes as a form: its one `payload` reads as the URL standard says, and is refused where it is not one.

use std::sync::LazyLock;

use hmac::{Hmac, KeyInit, Mac};
use purgehook::config::Config;
use purgehook::forge::Headers;
use sha2::Sha256;

use super::payloads::{signed, understand, verified};
use super::surroundings::{SECRET, everything, outbound};

static CONFIG: LazyLock<Config> = LazyLock::new(|| everything("http://127.0.0.1:1", &outbound()));
const FORM: &str = "application/x-www-form-urlencoded";

pub fn run(data: &[u8]) {
    let github = CONFIG.forges["github"].as_ref();
    let request = verified(github, &signed("github", b"push", data), data);
    understand(github, &request, FORM, data);

    // Gitea signs the JSON, so what is signed here tells what was read.
    let gitea = CONFIG.forges["gitea"].as_ref();
    let payloads: Vec<_> = url::form_urlencoded::parse(data)
        .filter(|(name, _)| name == "payload")
        .collect();
    let written_out = data
        .split(|byte| *byte == b'&')
        .filter(|field| field.starts_with(b"payload="))
        .count();
    // Names may be escaped, too, which no forge does; and text that is not UTF-8 is not mended here.
    let [(_, json)] = payloads.as_slice() else {
        return;
    };
    if written_out != 1 || json.contains('\u{fffd}') {
        return;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key will do");
    mac.update(json.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let headers = Headers::new([
        ("content-type", FORM.as_bytes()),
        ("x-gitea-event", b"push".as_slice()),
        ("x-gitea-signature", signature.as_bytes()),
    ]);
    let request = verified(gitea, &headers, data);
    understand(gitea, &request, FORM, data);
}
