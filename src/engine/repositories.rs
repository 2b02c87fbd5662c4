//! Identifies repositories by the forge's ids, to distinguish a renamed repository from another one.
//!
//! A delivery that is signed with the forge's secret and has the id of a site's repository belongs to that repository,
//! whatever name it has. Requests still go to the configured name: a delivery never decides where a request goes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::event::{Event, RepoPath};
use crate::store::{KnownRepo, RepoKey, Store, StoreError};

/// The known repositories. Read once, then updated by the deliveries that this process accepts.
pub struct Repositories {
    store: Arc<Store>,
    read: OnceCell<()>,
    known: Mutex<BTreeMap<RepoKey, KnownRepo>>,
}

/// A delivery's event, with its repository identified.
pub struct Identified<'e> {
    /// The event. If the repository was renamed, under the name that the site uses.
    pub event: Cow<'e, Event>,
    /// A note for people if the repository was renamed or replaced by another one.
    pub note: Option<String>,
    /// What the delivery shows about the repository, if it was not known.
    news: Option<KnownRepo>,
}

impl Repositories {
    pub fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            read: OnceCell::new(),
            known: Mutex::default(),
        }
    }

    /// Finds the repository of an event by the forge's id.
    pub async fn identify<'e>(
        &self,
        config: &Config,
        forge: &str,
        event: &'e Event,
    ) -> Result<Identified<'e>, StoreError> {
        let unchanged = Identified {
            event: Cow::Borrowed(event),
            note: None,
            news: None,
        };
        let Some((repo, Some(id))) = event.repo() else {
            return Ok(unchanged);
        };
        self.read_once().await?;
        let key = RepoKey::new(forge, repo);
        let is_followed = |key: &RepoKey| {
            let mut sites = config.sites.values();
            sites.any(|site| RepoKey::new(&site.forge, &site.repo) == *key)
        };
        if is_followed(&key) {
            let fresh = KnownRepo {
                key: key.clone(),
                id,
                renamed_to: None,
            };
            let known = self.known().get(&key).cloned();
            let note = match &known {
                Some(known) if *known == fresh => return Ok(unchanged),
                Some(known) if known.id != id => Some(format!(
                    "{repo} is a different repository now: its id on {forge} is {id}, and was {}",
                    known.id
                )),
                Some(_) | None => None,
            };
            let news = Some(fresh);
            return Ok(Identified {
                note,
                news,
                ..unchanged
            });
        }
        let of_id = |known: &&KnownRepo| known.key.forge == forge && known.id == id;
        let known: Vec<KnownRepo> = self.known().values().filter(of_id).cloned().collect();
        let Some(mut known) = known.into_iter().find(|known| is_followed(&known.key)) else {
            return Ok(unchanged);
        };
        let followed = config.sites.values().map(|site| (&site.forge, &site.repo));
        let mut followed = followed.filter(|(forge, repo)| RepoKey::new(forge, repo) == known.key);
        let Some((_, followed)) = followed.next() else {
            return Ok(unchanged);
        };
        let is_news = known.renamed_to.as_ref() != Some(repo);
        known.renamed_to = Some(repo.clone());
        Ok(Identified {
            event: Cow::Owned(event.clone().under(followed.clone())),
            note: Some(renamed(followed, repo)),
            news: is_news.then_some(known),
        })
    }

    /// Records what an accepted event has shown about its repository.
    pub async fn note(&self, identified: &Identified<'_>) {
        let note = identified.note.as_deref();
        let Some(news) = &identified.news else {
            if let Some(note) = note {
                info!("{note}");
            }
            return;
        };
        if let Some(note) = note {
            warn!(forge = news.key.forge, repo = news.key.repo, "{note}");
        }
        if let Err(failure) = self.store.put_repository(news).await {
            error!("cannot record the id of {}: {failure}", news.key.repo);
            return;
        }
        self.known().insert(news.key.clone(), news.clone());
    }

    async fn read_once(&self) -> Result<(), StoreError> {
        let read = async {
            let known = self.store.repositories().await?.into_iter();
            self.known()
                .extend(known.map(|known| (known.key.clone(), known)));
            Ok::<(), StoreError>(())
        };
        self.read.get_or_try_init(|| read).await?;
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<RepoKey, KnownRepo>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The note for a renamed repository.
pub fn renamed(from: &RepoPath, to: &RepoPath) -> String {
    format!("{from} was renamed to {to}: change `repo:`")
}

/// The notes for sites whose repositories were renamed, with the names of the sites.
pub async fn renamed_sites(
    store: &Store,
    config: &Config,
) -> Result<Vec<(String, String)>, StoreError> {
    let known = store.repositories().await?;
    let of_site = config.sites.values().filter_map(|site| {
        let key = RepoKey::new(&site.forge, &site.repo);
        let known = known.iter().find(|known| known.key == key)?;
        let to = known.renamed_to.as_ref()?;
        Some((site.name.clone(), renamed(&site.repo, to)))
    });
    Ok(of_site.collect())
}
