//! Authenticates as a GitHub App: a signed JWT, the App's installation on a repository, and that installation's
//! token, which is kept until shortly before it expires.
//!
//! Facts are from "Generating a JSON Web Token (JWT) for a GitHub App" and the REST API's "Apps".

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, StatusCode};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{GitHub, repo_path, with_versions};
use crate::cache::LruCache;
use crate::event::RepoPath;
use crate::forge::api::{Answer, denied};
use crate::forge::{Denial, ForgeError};
use crate::settings::Section;

/// How long before now a JWT is issued: GitHub refuses one from the future, and clocks may differ by a minute.
pub(super) const ISSUED_BEFORE: i64 = 60;
/// GitHub accepts at most ten minutes, less the difference of the clocks.
const VALID_FOR: i64 = 9 * 60;
/// How long before its end a token (valid for an hour) is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);
/// The App's own account, which counts requests with its JWT.
pub(super) const ITSELF: &str = "app";
/// Cached tokens, one per repository.
const MAX_TOKENS: usize = 10_000;

/// A GitHub App and its cached tokens.
pub struct App {
    /// The App's id or client id.
    id: String,
    key: RsaKeyPair,
    /// By repository, in lower case.
    tokens: Mutex<LruCache<String, Token>>,
}

struct Token {
    value: SecretString,
    /// The installation it belongs to; GitHub counts the requests of each installation separately.
    installation: String,
    expires_at: Timestamp,
}

impl App {
    /// Reads `app: {id, private_key_file}`. None if it has problems, which the section has recorded.
    pub(super) fn read(section: &mut Section) -> Option<Self> {
        let id_at = section.place_of("id").unwrap_or_else(|| section.at());
        let key_at = ["private_key", "private_key_file"]
            .into_iter()
            .find_map(|key| section.place_of(key))
            .unwrap_or_else(|| section.at());
        let id = section.required_text("id").and_then(|id| {
            let good = is_id(&id.value);
            if !good {
                section.problem(id_at, "`id` is neither an App's id nor its client id", None);
            }
            good.then_some(id.value)
        });
        let key = section
            .required_secret("private_key", &[])
            .and_then(|pem| match rsa_key(&pem) {
                Ok(key) => Some(key),
                Err(_) if section.lacks_secrets() => None,
                Err(why) => {
                    section.problem(key_at, why, None);
                    None
                }
            });
        Some(Self {
            id: id?,
            key: key?,
            tokens: Mutex::new(LruCache::new(MAX_TOKENS)),
        })
    }

    /// An App from its id (or client id) and its RSA private key as PEM, in PKCS#1 (GitHub's format) or PKCS#8.
    pub fn new(id: &str, pem: &SecretString) -> Result<Self, String> {
        if !is_id(id) {
            return Err("this is neither an App's id nor its client id".to_owned());
        }
        Ok(Self {
            id: id.to_owned(),
            key: rsa_key(pem)?,
            tokens: Mutex::new(LruCache::new(MAX_TOKENS)),
        })
    }

    /// The installation on a repository and a token for it, from the cache or from GitHub.
    pub(super) async fn token(
        &self,
        github: &GitHub,
        repo: &RepoPath,
    ) -> Result<(String, SecretString), ForgeError> {
        let name = repo.as_str().to_ascii_lowercase();
        let now = github.api.timestamp();
        // Locked during the request, so that many concurrent requests fetch only one token.
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(&name)
            && now < token.expires_at.saturating_sub(RENEW_BEFORE).unwrap_or(now)
        {
            return Ok((token.installation.clone(), token.value.clone()));
        }
        let token = self.new_token(github, repo, now).await?;
        let given = (token.installation.clone(), token.value.clone());
        tokens.put(name, token);
        Ok(given)
    }

    async fn new_token(
        &self,
        github: &GitHub,
        repo: &RepoPath,
        now: Timestamp,
    ) -> Result<Token, ForgeError> {
        #[derive(Deserialize)]
        struct Installation {
            id: u64,
        }
        #[derive(Deserialize)]
        struct Given {
            token: SecretString,
            expires_at: Timestamp,
        }
        let jwt = self.jwt(now)?;
        let path = repo_path(repo, &["installation"]);
        let request = github.api.request(Method::GET, &path, &[]);
        let request = with_versions(request).header(AUTHORIZATION, github.bearer(&jwt)?);
        let what = format!("find the App's installation on {repo}");
        let answer = github.api.send(ITSELF, request, &what).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(not_installed(&answer));
        }
        if !answer.status.is_success() {
            return Err(github.error(&answer));
        }
        let installation = answer.json::<Installation>()?.id.to_string();

        let path = ["app", "installations", &installation, "access_tokens"];
        let request = github.api.request(Method::POST, &path, &[]);
        let request = with_versions(request).header(AUTHORIZATION, github.bearer(&jwt)?);
        let what = format!("give the App a token for {repo}");
        let answer = github.api.send(ITSELF, request, &what).await?;
        if !answer.status.is_success() {
            return Err(github.error(&answer));
        }
        let Given { token, expires_at } = answer.json()?;
        Ok(Token {
            value: token,
            installation,
            expires_at,
        })
    }

    /// The App's JWT, signed with RS256.
    pub(super) fn jwt(&self, now: Timestamp) -> Result<SecretString, ForgeError> {
        let issued = now.as_second() - ISSUED_BEFORE;
        let claims = serde_json::json!({
            "iat": issued,
            "exp": now.as_second() + VALID_FOR,
            "iss": self.id,
        });
        let mut jwt = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let _ = write!(jwt, ".{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                // Used only for blinding; the signature is deterministic.
                &SystemRandom::new(),
                jwt.as_bytes(),
                &mut signature,
            )
            .map_err(|_| ForgeError::Refused("the App's private key could not sign".to_owned()))?;
        let _ = write!(jwt, ".{}", URL_SAFE_NO_PAD.encode(signature));
        Ok(jwt.into())
    }
}

/// The error if the App is not installed on a repository.
pub(super) fn not_installed(answer: &Answer) -> ForgeError {
    let message = format!("{}; install the App on the repository", answer.sentence());
    denied(Denial::Permission, message)
}

/// Whether this can be an App's id (digits) or its client id (e.g. `Iv1.8a61f9b3a7aba766`).
fn is_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.chars().all(fits)
}

/// Reads an RSA key from PEM: `RSA PRIVATE KEY` is PKCS#1, `PRIVATE KEY` is PKCS#8.
pub(super) fn rsa_key(pem: &SecretString) -> Result<RsaKeyPair, String> {
    let der = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes());
    let key = match &der {
        Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        // Unsupported kinds of keys, and text that is not PEM.
        Ok(_) | Err(_) => {
            return Err("the App's private key is not an RSA key in PEM".to_owned());
        }
    };
    key.map_err(|error| format!("the App's private key cannot be used: {error}"))
}
