//! What a forge's API tells about a token and about a repository's webhooks, so that mistakes in the set-up are
//! found before the first push. Sends only read requests.

use jiff::civil::Date;
use url::Url;

use super::EventKind;

/// What a token may do with a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoAccess {
    /// Whether its commits and files can be read.
    pub read: Right,
    /// Whether statuses can be posted on its commits.
    pub post_statuses: Right,
    /// The last day of the token, where the forge names one.
    pub expires_on: Option<Date>,
}

/// Whether something may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// It may.
    Granted,
    /// It may not.
    Missing {
        /// What was found.
        why: String,
        /// What to do.
        advice: String,
    },
    /// The forge does not say, or it was not asked for; and what is known instead.
    Untold(String),
}

impl RepoAccess {
    /// Nothing is known but that the repository can be seen.
    pub(super) fn untold(why: &str) -> Self {
        Self {
            read: Right::Granted,
            post_statuses: Right::Untold(why.to_owned()),
            expires_on: None,
        }
    }
}

/// A webhook, as the forge's API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The address that it calls; none if that is no URL.
    pub url: Option<Url>,
    /// Whether the forge calls it at all.
    pub is_active: bool,
    /// The events that it sends, of those that purgehook knows.
    pub events: Vec<EventKind>,
    /// Whether it has a secret, where the forge says so.
    pub has_secret: Option<bool>,
    /// What came of its last delivery.
    pub last_delivery: LastDelivery,
}

/// What came of a webhook's last delivery, as the forge saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastDelivery {
    /// The forge does not say.
    Untold,
    /// There was none, as far as the forge remembers.
    None,
    /// It was answered with this HTTP status.
    Answered(u16),
    /// There was no answer; in the forge's words.
    Unanswered(String),
}

impl LastDelivery {
    /// With what is quoted of the forge made fit to be shown.
    pub(super) fn map_words(self, show: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Unanswered(words) => Self::Unanswered(show(&words)),
            Self::Untold | Self::None | Self::Answered(_) => self,
        }
    }
}

impl Webhook {
    /// Whether it calls exactly this address. A query is no part of it: some put a note there.
    pub fn calls(&self, address: &Url) -> bool {
        self.url.as_ref().is_some_and(|url| calls(url, address))
    }
}

/// Whether a webhook's address is this one, without regard to its query and a slash at its end.
pub(super) fn calls(url: &Url, address: &Url) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    url.scheme() == address.scheme()
        && url.host() == address.host()
        && url.port_or_known_default() == address.port_or_known_default()
        && path(url) == path(address)
}
