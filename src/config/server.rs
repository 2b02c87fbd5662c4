//! The `server:` section.

use std::net::SocketAddr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{DRY_RUN, MODE_ALIASES, MODES, Server};
use crate::settings::{Located, Section, Span};

/// The default of `listen`.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// The default of `database`.
const DEFAULT_DATABASE: &str = "sqlite://purgehook.db";
/// The default of `reconcile`.
const DEFAULT_RECONCILE: Duration = Duration::from_secs(300);
/// The default of `retention`.
const DEFAULT_RETENTION: Duration = Duration::from_secs(90 * DAY);
/// The minimum of `retention`: a redelivery is recognised by the stored delivery. GitHub can redeliver for three
/// days, GitHub Enterprise Server for seven ("Redelivering webhooks").
const SHORTEST_RETENTION: Duration = Duration::from_secs(7 * DAY);
const DAY: u64 = 24 * 60 * 60;
/// A shorter token could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// The parsed `server:` section.
pub(super) struct ServerEntry {
    pub server: Server,
    /// The position of `public_url`, if it is given.
    pub public_url_at: Option<Span>,
}

/// Reads `server:`, or uses its defaults. None if a value is invalid, which is recorded.
pub(super) fn read(root: &mut Section) -> Option<ServerEntry> {
    let at = root.place_of("server");
    let Some(mut section) = root.section("server") else {
        warn_no_link(root, at.unwrap_or(0..0));
        let server = Server {
            listen: DEFAULT_LISTEN.to_owned(),
            public_url: None,
            database: DEFAULT_DATABASE.to_owned(),
            reconcile: DEFAULT_RECONCILE,
            retention: DEFAULT_RETENTION,
            dry_run: false,
            connections_per_address: None,
            admin_token: None,
            read_token: None,
        };
        return Some(ServerEntry {
            server,
            public_url_at: None,
        });
    };
    let listen = match section.text("listen") {
        Some(text) => check_listen(&mut section, text),
        None => Some(DEFAULT_LISTEN.to_owned()),
    };
    let url = section.url("public_url");
    let public_url_at = url.as_ref().map(|url| url.at.clone());
    let url = url.map(|url| url.value);
    if url.is_none() && section.place_of("public_url").is_none() {
        let at = section.at();
        warn_no_link(&mut section, at);
    }
    // It may contain a password, which only commands that open it need.
    section.allow_unset("database");
    let database = match section.text("database") {
        Some(text) => check_database(&mut section, text),
        None => Some(DEFAULT_DATABASE.to_owned()),
    };
    let reconcile = section
        .duration("reconcile")
        .map_or(DEFAULT_RECONCILE, |every| every.value);
    let retention = match section.duration("retention") {
        Some(kept) => check_retention(&mut section, kept),
        None => Some(DEFAULT_RETENTION),
    };
    let dry_run = section
        .word_or_alias("mode", &MODES, &MODE_ALIASES)
        .is_some_and(|mode| mode.value == DRY_RUN);
    let connections_per_address = section
        .number("connections_per_address", 1..=u64::MAX)
        .map(|most| usize::try_from(most.value).unwrap_or(usize::MAX));
    let admin_token = read_token(&mut section, "admin_token", "admin_token_file");
    let read_token = read_token(&mut section, "read_token", "read_token_file");
    if let (Some(listen), None) = (&listen, &read_token) {
        let at = section.place_of("listen").unwrap_or_else(|| section.at());
        warn_open(&mut section, at, listen);
    }
    let server = Server {
        listen: listen?,
        public_url: url,
        database: database?,
        reconcile,
        retention: retention?,
        dry_run,
        connections_per_address,
        admin_token,
        read_token,
    };
    Some(ServerEntry {
        server,
        public_url_at,
    })
}

/// Reads a token, which must not be too short.
fn read_token(section: &mut Section, key: &str, file_key: &str) -> Option<SecretString> {
    let at = section.place_of(key).or_else(|| section.place_of(file_key));
    let token = section.secret(key);
    if let (Some(token), Some(at)) = (&token, at)
        && token.expose_secret().chars().count() < SHORTEST_TOKEN
    {
        let name = key.replace('_', " ");
        section.problem(
            at,
            format!("the {name} is shorter than {SHORTEST_TOKEN} characters, and could be guessed"),
            Some("make one with `openssl rand -hex 32`".to_owned()),
        );
    }
    token
}

/// Whether an address to listen on is reachable only from this machine.
pub(crate) fn is_loopback(listen: &str) -> bool {
    match listen.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => listen
            .rsplit_once(':')
            .is_some_and(|(host, _)| host.eq_ignore_ascii_case("localhost")),
    }
}

fn warn_open(section: &mut Section, at: Span, listen: &str) {
    if is_loopback(listen) {
        return;
    }
    section.warning(
        at,
        format!("whoever reaches `{listen}` may read the pages, the API and the metrics"),
        Some("set `read_token`, or let a proxy pass on `/hooks/` alone".to_owned()),
    );
}

fn warn_no_link(section: &mut Section, at: Span) {
    section.warning(
        at,
        "`server.public_url` is not set, so statuses will carry no link",
        Some("set it to the address at which browsers reach purgehook".to_owned()),
    );
}

/// Accepts zero, and durations that are long enough to recognise redeliveries.
fn check_retention(section: &mut Section, kept: Located<Duration>) -> Option<Duration> {
    if kept.value.is_zero() || kept.value >= SHORTEST_RETENTION {
        return Some(kept.value);
    }
    section.problem(
        kept.at,
        "`retention` must be 7 days or more: a forge may send a delivery again for that long",
        Some("write e.g. `90d`, or `0s` to keep everything".to_owned()),
    );
    None
}

/// Accepts `ip:port`, `[ip]:port` and `host:port`.
fn check_listen(section: &mut Section, text: Located<String>) -> Option<String> {
    let named = || {
        let (host, port) = text.value.rsplit_once(':')?;
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        (!host.is_empty() && host.chars().all(letters))
            .then(|| port.parse::<u16>().ok())
            .flatten()
    };
    if text.value.parse::<SocketAddr>().is_ok() || named().is_some() {
        return Some(text.value);
    }
    let advice =
        "write an address and a port, e.g. `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`";
    section.problem(
        text.at,
        "`listen` is no address with a port",
        Some(advice.to_owned()),
    );
    None
}

/// The passwords in a database's address, both as written and decoded: the user's, and those in the driver's
/// options (`?password=`).
pub(crate) fn passwords(address: &str) -> Vec<SecretString> {
    let Ok(url) = Url::parse(address) else {
        return Vec::new();
    };
    // The names of the user and the database are not secret, and messages need them.
    let is_secret = |text: &String| *text != url.username() && url.path() != format!("/{text}");
    let mut found: Vec<String> = Vec::new();
    if let Some(password) = url.password() {
        found.push(password.to_owned());
        found.push(
            percent_decode_str(password)
                .decode_utf8_lossy()
                .into_owned(),
        );
    }
    let options = url.query().unwrap_or_default().split('&');
    let values = options.filter_map(|option| {
        let (name, value) = option.split_once('=')?;
        name.contains("pass").then_some(value)
    });
    found.extend(values.map(str::to_owned));
    let meant = url.query_pairs().filter(|(name, _)| name.contains("pass"));
    found.extend(meant.map(|(_, value)| value.into_owned()));
    found.retain(is_secret);
    found.into_iter().map(SecretString::from).collect()
}

/// Accepts `sqlite://<path>` and `postgres://...`.
fn check_database(section: &mut Section, text: Located<String>) -> Option<String> {
    let good = match text.value.split_once("://") {
        Some(("sqlite", path)) => !path.is_empty(),
        Some(("postgres" | "postgresql", _)) => {
            section.mask(text.at.clone());
            if text.value.contains(['$', '<']) {
                section.warning(
                    text.at.clone(),
                    "`database` has a `$` or a `<` in it, which is taken letter for letter",
                    Some("write `${NAME}` to read NAME from the environment; in a password, `%24` and `%3C`".to_owned()),
                );
            }
            for password in passwords(&text.value) {
                section.note_secret(&password);
            }
            Url::parse(&text.value).is_ok_and(|url| url.has_host())
        }
        Some(_) | None => false,
    };
    if good {
        return Some(text.value);
    }
    section.mask(text.at.clone());
    section.problem(
        text.at,
        "`database` names no store",
        Some("write `sqlite://<path>` or `postgres://user:password@host/name`".to_owned()),
    );
    None
}
