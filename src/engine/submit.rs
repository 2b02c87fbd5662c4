//! Submit.
use super::*;
use crate::purge::PurgeKind;
impl Engine {
    pub(super) async fn submit(
        &self,
        _account: &str,
        _kind: PurgeKind,
        _work: &Work,
    ) -> Result<Outcome, StepError> {
        todo!()
    }
}
