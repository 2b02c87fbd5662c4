//! An account's keys, from the rules file or from the vendor's own variables.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;

use crate::settings::Section;

/// What a vendor knows an account by.
pub struct Credentials {
    /// The public half, e.g. Tencent's `SecretId`. Treated as a secret all the same.
    pub id: SecretString,
    /// The secret half.
    pub key: SecretString,
    /// The token of temporary credentials.
    pub token: Option<SecretString>,
}

/// A key of the rules file, and the variable behind it.
pub struct Named {
    /// In the entry under `cdns:`.
    pub key: &'static str,
    /// In the environment.
    pub variable: &'static str,
}

/// What a vendor calls the parts of its credentials.
pub struct Names {
    /// The public half.
    pub id: Named,
    /// The secret half.
    pub key: Named,
    /// The token of temporary credentials.
    pub token: Named,
}

impl Credentials {
    /// Reads all parts; none when one that is needed is missing, which the section has noted.
    pub fn read(section: &mut Section, names: &Names) -> Option<Self> {
        let in_file = section.secret(names.id.key);
        let from_environment = in_file.is_none();
        let id = in_file.or_else(|| variable(section, &names.id));
        let key = section
            .secret(names.key.key)
            .or_else(|| variable(section, &names.key));
        // A token belongs to its keys: one from the environment must not join keys from the file.
        let token = section.secret(names.token.key).or_else(|| {
            from_environment
                .then(|| variable(section, &names.token))
                .flatten()
        });
        for (part, named) in [(&id, &names.id), (&key, &names.key)] {
            if part.is_none() {
                let Named { key, variable } = named;
                section.problem(
                    section.at(),
                    format!("`{key}` is missing"),
                    Some(format!("give `{key}` or `{key}_file`, or set {variable}")),
                );
            }
        }
        Some(Self {
            id: id?,
            key: key?,
            token,
        })
    }

    /// Tells accounts apart without giving their ids away.
    pub fn fingerprint(&self) -> String {
        let hash = hex::encode(Sha256::digest(self.id.expose_secret()));
        hash.chars().take(12).collect()
    }
}

fn variable(section: &Section, named: &Named) -> Option<SecretString> {
    let value = section.env(named.variable)?;
    (!value.is_empty()).then(|| SecretString::from(value))
}

/// Reads `endpoint`, whose default is the kind's own.
pub fn endpoint(section: &mut Section, default: &str) -> Option<Url> {
    match section.url("endpoint") {
        Some(endpoint) => Some(endpoint.value),
        None => Url::parse(default).ok(),
    }
}
