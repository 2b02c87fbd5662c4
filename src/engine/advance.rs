//! Taking a run one step on.
use super::*;
impl Engine {
    pub(super) async fn advance(&self, _run: &RunId, _work: &Work) -> Result<Outcome, StepError> {
        todo!()
    }
}
