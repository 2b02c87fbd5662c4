//! Tencent Cloud's API 3.0, shared by CDN and ECDN: the client, the task logs, the two products.

pub mod cdn;
mod client;
pub mod ecdn;
mod log;
mod quota;

#[cfg(test)]
mod tests;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;

use crate::cdn::Batch;
use crate::purge::Mode;
use crate::settings::Section;

/// What Tencent Cloud knows an account by, in API 3.0 and in API 2.0.
pub struct Credentials {
    /// The `SecretId`.
    pub id: SecretString,
    /// The `SecretKey`.
    pub key: SecretString,
    /// The token of temporary credentials.
    pub token: Option<SecretString>,
}

impl Credentials {
    /// Reads `secret_id`, `secret_key` and `token`, each with the vendor's own variable behind it.
    pub fn read(section: &mut Section) -> Option<Self> {
        let id = secret(section, "secret_id", "TENCENTCLOUD_SECRET_ID");
        let key = secret(section, "secret_key", "TENCENTCLOUD_SECRET_KEY");
        // A token belongs to its keys: one from the environment must not join keys from the file.
        let own_token = section.secret("token");
        let token = match &id {
            Some((_, Source::Environment)) => own_token.or_else(|| {
                section
                    .env("TENCENTCLOUD_TOKEN")
                    .filter(|token| !token.is_empty())
                    .map(SecretString::from)
            }),
            Some((_, Source::File)) | None => own_token,
        };
        Some(Self {
            id: id?.0,
            key: key?.0,
            token,
        })
    }

    /// Tells accounts apart without giving the secret's id away.
    pub fn fingerprint(&self) -> String {
        let hash = hex::encode(Sha256::digest(self.id.expose_secret()));
        hash.chars().take(12).collect()
    }
}

/// Reads `endpoint`, whose default is the kind's own.
pub fn endpoint(section: &mut Section, default: &str) -> Option<Url> {
    match section.url("endpoint") {
        Some(endpoint) => Some(endpoint.value),
        None => Url::parse(default).ok(),
    }
}

/// `FlushType` of a directory purge. It is required and has no default: the milder way where no rule says otherwise.
fn flush_type(batch: &Batch) -> &'static str {
    batch.mode.unwrap_or(Mode::Flush).word()
}

enum Source {
    File,
    Environment,
}

fn secret(section: &mut Section, key: &str, variable: &str) -> Option<(SecretString, Source)> {
    if let Some(secret) = section.secret(key) {
        return Some((secret, Source::File));
    }
    match section.env(variable).filter(|value| !value.is_empty()) {
        Some(value) => Some((SecretString::from(value), Source::Environment)),
        None => {
            section.problem(
                section.at(),
                format!("`{key}` is missing"),
                Some(format!("give `{key}` or `{key}_file`, or set {variable}")),
            );
            None
        }
    }
}
