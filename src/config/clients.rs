//! The `forges:` and `cdns:` sections: named entries, each read by its kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use crate::cdn::{Cdn, CdnKind};
use crate::forge::{Forge, ForgeKind, is_local};
use crate::http::Outbound;
use crate::settings::{Located, Section, Span, did_you_mean};

/// The maximum length of the name of a site, a forge or a CDN. Names appear in addresses and logs.
const LONGEST_NAME: usize = 64;

/// The entries of one section, with a client for each valid one.
pub(super) struct Clients<T: ?Sized> {
    /// The section's key.
    pub part: &'static str,
    /// By name: the position and the client of each entry.
    pub entries: BTreeMap<String, Client<T>>,
    /// Whether the section exists.
    pub given: bool,
}

/// One entry.
pub(super) struct Client<T: ?Sized> {
    /// The position of its name.
    pub at: Span,
    /// None if the entry has problems.
    pub client: Option<Arc<T>>,
    /// Whether its `api_url` belongs to this machine or a private network.
    pub is_local: bool,
}

impl<T: ?Sized> Clients<T> {
    /// Checks that `name` is an entry, and records a problem at `at` otherwise.
    pub fn check_name(&self, section: &mut Section, what: &str, name: &str, at: Span) -> bool {
        if self.entries.contains_key(name) {
            return true;
        }
        // If the whole section is missing, report only that.
        if self.given {
            let known = self.entries.keys().map(String::as_str);
            let advice = did_you_mean(name, known, &format!("`{}:` has", self.part));
            section.problem(
                at,
                format!("there is no {what} named `{name}`"),
                Some(advice),
            );
        }
        false
    }

    /// The clients by name; none if one is missing.
    pub fn into_clients(self) -> Option<BTreeMap<String, Arc<T>>> {
        self.entries
            .into_iter()
            .map(|(name, entry)| Some((name, entry.client?)))
            .collect()
    }
}

/// Reads `forges:`.
pub(super) fn forges(
    root: &mut Section,
    outbound: &Outbound,
    kinds: &[ForgeKind],
) -> Clients<dyn Forge> {
    read(root, "forges", "forge", |section| {
        let kind = kind_of(section, kinds, |kind| kind.name)?;
        (kind.read)(section, outbound)
    })
}

/// Reads `cdns:`.
pub(super) fn cdns(root: &mut Section, outbound: &Outbound, kinds: &[CdnKind]) -> Clients<dyn Cdn> {
    read(root, "cdns", "CDN", |section| {
        let kind = kind_of(section, kinds, |kind| kind.name)?;
        (kind.read)(section, outbound)
    })
}

fn read<T: ?Sized>(
    root: &mut Section,
    part: &'static str,
    what: &str,
    mut read_one: impl FnMut(&mut Section) -> Option<Arc<T>>,
) -> Clients<T> {
    let mut entries = BTreeMap::new();
    let section = root.section(part);
    let given = section.is_some();
    if !given {
        root.missing(
            part,
            Some(format!("name at least one {what} under `{part}:`")),
        );
    }
    for (name, mut section) in section.into_iter().flat_map(|mut s| s.entries()) {
        check_form(&mut section, what, &name);
        let errors = section.errors();
        let address = section.peek("api_url").map(Url::parse);
        let is_local = matches!(address, Some(Ok(url)) if is_local(&url));
        let client = read_one(&mut section);
        if client.is_none() && section.errors() == errors {
            let message = format!("the {what} `{}` cannot be used as it stands", name.value);
            section.problem(name.at.clone(), message, None);
        }
        let at = name.at;
        let client = Client {
            at,
            client,
            is_local,
        };
        entries.insert(name.value, client);
    }
    Clients {
        part,
        entries,
        given,
    }
}

/// The kind that an entry's `kind:` names. Without one, the entry's other keys are ignored, since only the kind
/// knows them.
fn kind_of<'k, K>(
    section: &mut Section,
    kinds: &'k [K],
    name: impl Fn(&K) -> &'static str,
) -> Option<&'k K> {
    let names: Vec<&str> = kinds.iter().map(&name).collect();
    let found = if section.place_of("kind").is_some() {
        section.word("kind", &names)
    } else {
        let advice = did_you_mean("", names.iter().copied(), "it may be");
        section.missing("kind", Some(advice));
        None
    };
    let kind = found.and_then(|word| kinds.iter().find(|kind| name(kind) == word.value));
    if kind.is_none() {
        section.ignore_rest();
    }
    kind
}

/// Records an invalid name, which could not be used in an address or a log.
pub(super) fn check_form(section: &mut Section, what: &str, name: &Located<String>) {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = name.value.bytes().next().is_some_and(letter)
        && name
            .value
            .bytes()
            .all(|b| letter(b) || b == b'-' || b == b'_')
        && name.value.len() <= LONGEST_NAME;
    if !good {
        let advice = format!(
            "use a-z, 0-9, `-` and `_`, a letter or a digit first, {LONGEST_NAME} characters at most"
        );
        section.problem(
            name.at.clone(),
            format!("`{}` cannot name a {what}", name.value),
            Some(advice),
        );
    }
}
