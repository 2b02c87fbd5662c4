//! Lints across the whole file: unused clients, sites that share a status, rules for what a CDN cannot do.

use std::collections::BTreeSet;

use super::clients::Clients;
use super::server::ServerEntry;
use super::site::SiteEntry;
use crate::cdn::Cdn;
use crate::forge::{Forge, is_local};
use crate::purge::PurgeKind;
use crate::rules::Rule;
use crate::settings::Section;

/// Records forges and CDNs that no site uses, sites that overwrite each other's status, and rules for what a CDN
/// does not support.
pub(super) fn check(
    root: &mut Section,
    forges: &Clients<dyn Forge>,
    cdns: &Clients<dyn Cdn>,
    sites: &[SiteEntry],
) {
    // A forge may seem unused only because of another mistake.
    if root.errors() == 0 {
        warn_unused(root, forges, cdns, sites);
    }
    for (i, entry) in sites.iter().enumerate() {
        for other in sites.iter().take(i) {
            warn_same_status(root, entry, other);
        }
        warn_impossible(root, entry, cdns);
    }
}

/// Warns about links to this machine on commits at a public forge: they do not work for others.
pub(super) fn check_links(root: &mut Section, server: &ServerEntry, forges: &Clients<dyn Forge>) {
    let (Some(url), Some(at)) = (&server.server.public_url, &server.public_url_at) else {
        return;
    };
    let far = forges.entries.iter().find(|(_, forge)| !forge.is_local);
    let Some((far, _)) = far.filter(|_| is_local(url)) else {
        return;
    };
    root.warning(
        at.clone(),
        format!(
            "`public_url` is an address of this machine or of its network, and the forge `{far}` is elsewhere: \
             the links in its statuses lead nowhere for others"
        ),
        Some(
            "give the address at which browsers reach purgehook, e.g. `https://purge.example.com`; \
             left out, statuses carry no link"
                .to_owned(),
        ),
    );
}

fn warn_unused(
    root: &mut Section,
    forges: &Clients<dyn Forge>,
    cdns: &Clients<dyn Cdn>,
    sites: &[SiteEntry],
) {
    for (name, entry) in &forges.entries {
        if !sites.iter().any(|site| site.forge.as_ref() == Some(name)) {
            let message = format!("no site uses the forge `{name}`");
            root.warning(entry.at.clone(), message, None);
        }
    }
    // What another entry's purges go to, once its service has moved, is used as well.
    let successors: BTreeSet<&str> = cdns
        .entries
        .values()
        .filter_map(|entry| entry.client.as_ref()?.migrated_to())
        .collect();
    for (name, entry) in &cdns.entries {
        let is_used = sites.iter().any(|site| site.cdns.contains(name));
        if !is_used && !successors.contains(name.as_str()) {
            let message = format!("no site uses the CDN `{name}`");
            root.warning(entry.at.clone(), message, None);
        }
    }
}

/// Warns if two sites of one repository and branch have the same status.
fn warn_same_status(root: &mut Section, entry: &SiteEntry, other: &SiteEntry) {
    let (Some(site), Some(earlier)) = (&entry.site, &other.site) else {
        return;
    };
    let shared = entry.branches.iter().any(|b| other.branches.contains(b));
    // GitHub ignores the case of a context.
    let same = site
        .status_context
        .eq_ignore_ascii_case(&earlier.status_context);
    if same && shared && site.forge == earlier.forge && site.repo.same_as(&earlier.repo) {
        let at = entry.context_at.clone().unwrap_or(entry.name.at.clone());
        root.warning(
            at,
            format!(
                "the sites `{}` and `{}` would overwrite each other's status on the same commits",
                earlier.name, site.name
            ),
            Some("give each a `status.context` of its own".to_owned()),
        );
    }
}

/// Warns about a rule that requires what a CDN does not support.
fn warn_impossible(root: &mut Section, entry: &SiteEntry, cdns: &Clients<dyn Cdn>) {
    let Some(site) = &entry.site else {
        return;
    };
    for name in &entry.cdns {
        let Some(cdn) = cdns.entries.get(name).and_then(|e| e.client.as_ref()) else {
            continue;
        };
        for (kind, words) in [
            (PurgeKind::Url, "purge URLs"),
            (PurgeKind::Directory, "purge directories"),
            (PurgeKind::Prefetch, "prefetch"),
        ] {
            let asks = |rule: &&Rule| match kind {
                PurgeKind::Url => !rule.urls.is_empty(),
                PurgeKind::Directory => !rule.directories.is_empty(),
                PurgeKind::Prefetch => !rule.prefetch.is_empty(),
            };
            let goes_there = |rule: &&Rule| match &rule.cdns {
                Some(cdns) => cdns.contains(name),
                None => true,
            };
            let asking = site.rules.rules().iter().filter(goes_there).find(asks);
            if let Some(rule) = asking.filter(|_| !cdn.limits().kinds.contains_key(&kind)) {
                root.warning(
                    entry.name.at.clone(),
                    format!(
                        "the rule `{}` asks to {words}, which the CDN `{name}` ({}) cannot do",
                        rule.name,
                        cdn.kind()
                    ),
                    None,
                );
            }
        }
    }
}
