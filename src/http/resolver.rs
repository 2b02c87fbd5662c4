//! Resolves host names with a time limit, one lookup per name at a time, and errors that name the host.
//!
//! The system's resolver blocks a thread for as long as it takes, which may be half a minute if a name server does
//! not answer, and cannot be cancelled. Requests for a name that is being looked up wait for that lookup, so there
//! are never more such threads than host names in the configuration.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::{Mutex, MutexGuard};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// How long to wait for an address: less than the connect timeout, so that the error can name the cause, and more
/// than the five seconds after which the system asks again (resolv.conf(5), `timeout`).
const LIMIT: Duration = Duration::from_secs(8);

/// Why a name has no address.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Unresolved {
    #[error("the name {name} could not be resolved: {why}")]
    Failed { name: String, why: String },
    #[error("the name {name} could not be resolved within {} s", LIMIT.as_secs())]
    TooSlow { name: String },
}

type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;
type UnderWay = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, Unresolved>>>;

/// The system's resolver.
#[derive(Clone)]
pub(super) struct Resolver {
    lookup: Arc<Lookup>,
    under_way: Arc<Mutex<HashMap<String, UnderWay>>>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }
}

impl Resolver {
    fn new(lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self {
            lookup: Arc::new(lookup),
            under_way: Arc::default(),
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, UnderWay>> {
        self.under_way.lock()
    }

    async fn addresses(self, name: String) -> Result<Vec<SocketAddr>, Unresolved> {
        let looked_up = self
            .under_way()
            .entry(name.clone())
            .or_insert_with(|| self.look_up(&name))
            .clone();
        tokio::time::timeout(LIMIT, looked_up)
            .await
            .unwrap_or(Err(Unresolved::TooSlow { name }))
    }

    /// Starts a lookup, which lasts until the system answers.
    fn look_up(&self, name: &str) -> UnderWay {
        let (resolver, asked) = (self.clone(), name.to_owned());
        let looked_up = tokio::task::spawn_blocking(move || {
            let found = (resolver.lookup)(&asked);
            resolver.under_way().remove(&asked);
            found
        });
        let failed = {
            let name = name.to_owned();
            move |why: &dyn std::fmt::Display| Unresolved::Failed {
                name,
                why: in_short(&why.to_string()),
            }
        };
        async move {
            match looked_up.await {
                Ok(Ok(addresses)) => Ok(addresses),
                Ok(Err(error)) => Err(failed(&error)),
                Err(broken_off) => Err(failed(&broken_off)),
            }
        }
        .boxed()
        .shared()
    }
}

/// Removes the standard library's prefix from the system's error text.
fn in_short(words: &str) -> String {
    let said = words.strip_prefix("failed to lookup address information: ");
    said.unwrap_or(words).to_owned()
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str().to_owned()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// A resolver that knows `here`, does not know `nowhere`, and does not answer for `silent` until the test
    /// releases it.
    fn resolver() -> (Resolver, Arc<AtomicUsize>, mpsc::Sender<()>) {
        let lookups = Arc::new(AtomicUsize::new(0));
        let (go_on, told) = mpsc::channel();
        let told = Mutex::new(told);
        let counted = Arc::clone(&lookups);
        let resolver = Resolver::new(move |name| {
            counted.fetch_add(1, Ordering::SeqCst);
            match name {
                "here" => {}
                "silent" => {
                    let _ = told.lock().recv();
                }
                _ => {
                    let words = "failed to lookup address information: Temporary failure in name resolution";
                    return Err(io::Error::other(words));
                }
            }
            Ok(vec![SocketAddr::from(([192, 0, 2, 1], 0))])
        });
        (resolver, lookups, go_on)
    }

    async fn ask(resolver: &Resolver, name: &str) -> Result<usize, String> {
        let found = resolver.clone().addresses(name.to_owned()).await;
        found
            .map(|addresses| addresses.len())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_named_with_the_systems_words() {
        let (resolver, _, _go_on) = resolver();

        assert_eq!(ask(&resolver, "here").await, Ok(1));
        assert_eq!(
            ask(&resolver, "nowhere").await.unwrap_err(),
            "the name nowhere could not be resolved: Temporary failure in name resolution"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_hangs_keeps_one_thread_busy_and_nobody_for_longer_than_the_limit() {
        const WAITING: usize = 1_000;
        let (resolver, lookups, go_on) = resolver();
        let asked = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let (resolver, asked) = (resolver.clone(), Arc::clone(&asked));
                tokio::spawn(async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    ask(&resolver, "silent").await
                })
            })
            .collect();
        // Move the clock only after each of them has set its time limit: it does not move by itself while a thread
        // is busy.
        while asked.load(Ordering::SeqCst) < WAITING || lookups.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }

        assert_eq!(ask(&resolver, "here").await, Ok(1));
        tokio::time::advance(LIMIT).await;
        for waiting in waiting {
            let said = waiting.await.unwrap().unwrap_err();
            assert_eq!(said, "the name silent could not be resolved within 8 s");
        }
        assert_eq!(lookups.load(Ordering::SeqCst), 2);

        // Once the lookup ends, the next request gets a new answer.
        go_on.send(()).unwrap();
        while resolver.under_way().contains_key("silent") {
            std::thread::yield_now();
        }
        go_on.send(()).unwrap();
        assert_eq!(ask(&resolver, "silent").await, Ok(1));
        assert_eq!(lookups.load(Ordering::SeqCst), 3);
    }
}
