//! A cache of the daily quotas that accounts report.
//!
//! If the CDN can report the account's quota, that counts, less what the store says was submitted since. If not,
//! the documented limit counts. A limit in the configuration applies in addition.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::debug;

use super::breaker::{CircuitBreaker, RequestError};
use crate::account::AccountId;
use crate::cdn::{Cdn, Limit, Quota};
use crate::clock::Clock;
use crate::engine::policy::quota::{QuotaLeft, left, quota_day};
use crate::purge::PurgeKind;
use crate::store::{Store, StoreError, Upstream};

/// How long a reported quota is used.
const ANSWER_LIFETIME: Duration = Duration::from_secs(600);

/// The reported quotas of accounts. It only saves requests; losing it does no harm.
pub struct QuotaCache {
    store: Arc<Store>,
    clock: Clock,
    answers: Mutex<HashMap<AccountId, QuotaAnswer>>,
}

/// A reported quota and its time.
#[derive(Clone)]
pub struct QuotaAnswer {
    at: Timestamp,
    quotas: BTreeMap<PurgeKind, Quota>,
}

impl QuotaAnswer {
    /// Whether this many targets of a kind were left.
    pub fn leaves(&self, kind: PurgeKind, targets: u64) -> bool {
        let quota = self.quotas.get(&kind);
        quota.is_some_and(|quota| quota.left >= targets)
    }

    fn is_current(&self, now: Timestamp) -> bool {
        now < self.at + ANSWER_LIFETIME && quota_day(self.at) == quota_day(now)
    }
}

impl QuotaCache {
    pub fn new(store: Arc<Store>, clock: Clock) -> Self {
        Self {
            store,
            clock,
            answers: Mutex::default(),
        }
    }

    /// What an account may submit now.
    pub async fn left(
        &self,
        breaker: &CircuitBreaker,
        cdn: &dyn Cdn,
        account: &AccountId,
        kind: PurgeKind,
        limit: Limit,
    ) -> Result<QuotaLeft, StoreError> {
        let (day, _) = quota_day(self.clock.now());
        let answer = self.answer(breaker, cdn, account).await?;
        let own = answer.quotas.get(&kind).copied();
        let since_asked = match own {
            Some(_) => self.store.submitted_since(account, kind, answer.at).await?,
            None => 0,
        };
        let today = self.store.submitted_since(account, kind, day).await?;
        Ok(left(limit, own, since_asked, today))
    }

    /// An account's quotas, asked for again if the last report is too old. None if the account cannot be asked.
    pub async fn answer(
        &self,
        breaker: &CircuitBreaker,
        cdn: &dyn Cdn,
        account: &AccountId,
    ) -> Result<QuotaAnswer, StoreError> {
        let now = self.clock.now();
        if let Some(answer) = self.answers().get(account)
            && answer.is_current(now)
        {
            return Ok(answer.clone());
        }
        let upstream = Upstream::Cdn(account.clone());
        let quotas = match breaker.send(&upstream, cdn.quota()).await {
            Ok(quotas) => quotas,
            Err(RequestError::Store(error)) => return Err(error),
            Err(RequestError::CircuitOpen(_)) => {
                let quotas = BTreeMap::new();
                return Ok(QuotaAnswer { at: now, quotas });
            }
            Err(RequestError::Failed(error)) => {
                debug!(
                    account = account.as_str(),
                    "cannot ask for the quota: {error}"
                );
                BTreeMap::new()
            }
        };
        let answer = QuotaAnswer { at: now, quotas };
        self.answers().insert(account.clone(), answer.clone());
        Ok(answer)
    }

    /// Discards an account's report.
    pub fn forget(&self, account: &AccountId) {
        self.answers().remove(account);
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<AccountId, QuotaAnswer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
