//! An account's keys, from the rules file or from the vendor's own variables.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;

use crate::settings::Section;

/// A vendor account's credentials.
pub struct Credentials {
    /// The public half, e.g. Tencent's `SecretId`. Treated as a secret as well.
    pub id: SecretString,
    /// The secret half.
    pub key: SecretString,
    /// The token of temporary credentials.
    pub token: Option<SecretString>,
}

/// A key in the rules file, and the environment variable that replaces it.
pub struct Named {
    /// In the entry under `cdns:`.
    pub key: &'static str,
    /// In the environment.
    pub variable: &'static str,
}

/// A vendor's names for the parts of its credentials.
pub struct Names {
    /// The public half.
    pub id: Named,
    /// The secret half.
    pub key: Named,
    /// The token of temporary credentials.
    pub token: Named,
}

impl Credentials {
    /// Reads all parts. None if a required one is missing, which the section has recorded.
    pub fn read(section: &mut Section, names: &Names) -> Option<Self> {
        let id = section.required_secret(names.id.key, &[names.id.variable]);
        let key = section.required_secret(names.key.key, &[names.key.variable]);
        let token = section
            .secret(names.token.key)
            .or_else(|| token_from_environment(section, names, id.as_ref()?));
        Some(Self {
            id: id?,
            key: key?,
            token,
        })
    }

    /// Distinguishes accounts without revealing their ids.
    pub fn fingerprint(&self) -> String {
        let hash = hex::encode(Sha256::digest(self.id.expose_secret()));
        hash.chars().take(12).collect()
    }
}

/// The environment's token, unless the environment's keys belong to another account: a token is only valid with its
/// own keys.
fn token_from_environment(
    section: &Section,
    names: &Names,
    id: &SecretString,
) -> Option<SecretString> {
    let token = section.env_secret(names.token.variable)?;
    let owner = section.env(names.id.variable).filter(|id| !id.is_empty());
    let is_ours = owner.is_none_or(|owner| owner == id.expose_secret());
    is_ours.then_some(token)
}

/// Reads `endpoint`, with the kind's own default.
pub fn endpoint(section: &mut Section, default: &str) -> Option<Url> {
    match section.url("endpoint") {
        Some(endpoint) => Some(endpoint.value),
        None => Url::parse(default).ok(),
    }
}
