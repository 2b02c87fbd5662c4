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
    /// The token's last day, if the forge tells it.
    pub expires_on: Option<Date>,
}

/// Whether an action is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// It is allowed.
    Granted,
    /// It is not allowed.
    Missing {
        /// The evidence.
        why: String,
        /// The advice.
        advice: String,
    },
    /// The forge does not tell, or was not asked; with what is known instead.
    Untold(String),
}

impl RepoAccess {
    /// Nothing is known except that the repository is visible.
    pub(super) fn untold(why: &str) -> Self {
        Self {
            read: Right::Granted,
            post_statuses: Right::Untold(why.to_owned()),
            expires_on: None,
        }
    }
}

/// A webhook according to the forge's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The address that it calls; none if that is not a URL.
    pub url: Option<Url>,
    /// Whether it is enabled.
    pub is_active: bool,
    /// The events that it sends, of those that purgehook knows.
    pub events: Vec<EventKind>,
    /// Whether it has a secret, if the forge tells.
    pub has_secret: Option<bool>,
    /// The result of its last delivery.
    pub last_delivery: LastDelivery,
}

/// The result of a webhook's last delivery according to the forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastDelivery {
    /// The forge does not tell.
    Untold,
    /// There was none, as far as the forge knows.
    None,
    /// It was answered with this HTTP status.
    Answered(u16),
    /// There was no answer; the forge's text.
    Unanswered(String),
}

impl LastDelivery {
    /// Maps the forge's text to one that is safe to show.
    pub(super) fn map_words(self, show: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Unanswered(words) => Self::Unanswered(show(&words)),
            Self::Untold | Self::None | Self::Answered(_) => self,
        }
    }
}

impl Webhook {
    /// Whether the webhook calls exactly this address, ignoring the query, which some people use for notes.
    pub fn calls(&self, address: &Url) -> bool {
        self.url.as_ref().is_some_and(|url| calls(url, address))
    }
}

/// Whether a webhook's URL is this address, ignoring its query and a final slash.
pub(super) fn calls(url: &Url, address: &Url) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    url.scheme() == address.scheme()
        && url.host() == address.host()
        && url.port_or_known_default() == address.port_or_known_default()
        && path(url) == path(address)
}
