//! A CDN account behind its circuit breaker, its rate limits and its daily quota.

use std::collections::BTreeSet;
use std::convert::Infallible;

use super::Upstreams;
use super::breaker::{Rejection, RequestError};
use crate::account::AccountId;
use crate::cdn::{Batch, Cdn, CdnError, InFlight, Limit, Pace, Report};
use crate::engine::policy::quota::QuotaLeft;
use crate::purge::{PurgeKind, TaskId, TaskIds};
use crate::store::{StoreError, Upstream};

/// A guarded CDN. For its requests, see [`Cdn`].
pub struct CdnHandle<'a> {
    upstreams: &'a Upstreams,
    cdn: &'a dyn Cdn,
    account: &'a AccountId,
    upstream: Upstream,
}

/// A permit to submit one batch at once.
pub struct SubmitPermit<'a>(&'a CdnHandle<'a>);

impl<'a> CdnHandle<'a> {
    pub(super) fn new(upstreams: &'a Upstreams, cdn: &'a dyn Cdn, account: &'a AccountId) -> Self {
        Self {
            upstreams,
            cdn,
            account,
            upstream: Upstream::Cdn(account.clone()),
        }
    }

    /// The limits of a kind of purge; none if the CDN does not support it.
    pub fn limit(&self, kind: PurgeKind) -> Option<Limit> {
        self.cdn.limits().kinds.get(&kind).copied()
    }

    /// Whether the circuit is open now.
    pub async fn rejection(&self) -> Result<Option<Rejection>, StoreError> {
        self.upstreams.breaker.rejection(&self.upstream).await
    }

    /// What may be submitted now.
    pub async fn quota_left(&self, kind: PurgeKind, limit: Limit) -> Result<QuotaLeft, StoreError> {
        let breaker = &self.upstreams.breaker;
        let quotas = &self.upstreams.quotas;
        quotas
            .left(breaker, self.cdn, self.account, kind, limit)
            .await
    }

    /// Whether the account, asked again, has this many targets left today.
    pub async fn has_quota_for(&self, kind: PurgeKind, targets: u64) -> Result<bool, StoreError> {
        let quotas = &self.upstreams.quotas;
        quotas.forget(self.account);
        let answer = quotas
            .answer(&self.upstreams.breaker, self.cdn, self.account)
            .await?;
        Ok(answer.leaves(kind, targets))
    }

    /// Waits for the rate limit of a kind, and checks the circuit breaker.
    pub async fn submit_permit(
        &'a self,
        kind: PurgeKind,
        limit: Limit,
    ) -> Result<SubmitPermit<'a>, RequestError<Infallible>> {
        let action = self.cdn.action(kind);
        let Upstreams { breaker, rates, .. } = self.upstreams;
        rates
            .acquire(self.account, action, limit.requests_per_second)
            .await
            .map_err(RequestError::Store)?;
        match breaker.try_acquire(&self.upstream).await {
            Ok(None) => Ok(SubmitPermit(self)),
            Ok(Some(rejection)) => Err(RequestError::CircuitOpen(rejection)),
            Err(error) => Err(RequestError::Store(error)),
        }
    }

    pub async fn follow(&self, tasks: &[InFlight]) -> Result<Vec<Report>, RequestError<CdnError>> {
        let pace = self.query_pace();
        let request = self.cdn.follow(tasks, &pace);
        self.upstreams.breaker.send(&self.upstream, request).await
    }

    pub async fn find(
        &self,
        lost: &InFlight,
        others: &BTreeSet<TaskId>,
    ) -> Result<Option<TaskIds>, RequestError<CdnError>> {
        let pace = self.query_pace();
        let request = self.cdn.find(lost, others, &pace);
        self.upstreams.breaker.send(&self.upstream, request).await
    }

    fn query_pace(&self) -> Pace {
        let per_second = self.cdn.limits().queries_per_second;
        self.upstreams.rates.queries(self.account, per_second)
    }
}

impl SubmitPermit<'_> {
    /// Submits a batch and returns the CDN's task ids, if any.
    pub async fn submit(self, batch: &Batch) -> Result<Option<TaskIds>, CdnError> {
        let CdnHandle {
            upstreams,
            cdn,
            upstream,
            ..
        } = self.0;
        upstreams.breaker.record(upstream, cdn.submit(batch)).await
    }
}
