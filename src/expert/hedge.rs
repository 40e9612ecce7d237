//! A second expert is asked where the first is slower than it usually is; the faster answers, the other is cancelled (Dean
//! and Barroso, "The Tail at Scale", 2013).

use std::pin::pin;

use futures_util::future::{Either, select};
use metrics::counter;
use tokio::time::{Instant, sleep};

use super::{Call, ExpertError, Experts, Next, Role, order::Begun, registry::Member};

impl Experts {
    /// Asks a member; where its route hedges, also the one after it once the first has taken longer than nineteen in
    /// twenty of its last answers did. Tells whether that one was asked.
    pub(super) async fn ask_or_hedge(
        &self,
        member: &Member,
        next: Option<&Member>,
        call: &Call,
    ) -> (Result<Begun, ExpertError>, bool) {
        let (Some(share), Some(next)) = (call.delivery.hedge_share, next) else {
            return (member.ask(call).await, false);
        };
        member.hedge_budget.deposit(share);
        let Some(usual) = member.gate.p95(call.request.stream) else {
            return (member.ask(call).await, false);
        };
        let started = Instant::now();
        let asking = pin!(member.ask(call));
        let asking = match select(asking, pin!(sleep(usual))).await {
            Either::Left((result, _)) => return (result, false),
            Either::Right(((), asking)) => asking,
        };
        if !member.hedge_budget.withdraw() {
            return (asking.await, false);
        }
        let hedge = call.in_role(Role::Hedge);
        let result = self.faster(asking, pin!(next.ask(&hedge)), call).await;
        let faster = match &result {
            Ok(begun) if begun.expert == member.id => "first",
            Ok(_) => "hedge",
            Err(_) => "none",
        };
        counter!("coterie_hedges_total", "expert" => member.id.to_string(), "faster" => faster)
            .increment(1);
        if let Ok(begun) = &result {
            call.attempts.outrun_by(begun.attempt, started.elapsed());
        }
        (result, true)
    }

    /// Whichever of two begins to answer first. One that fails leaves it to the other, unless it has something to say
    /// that the caller is to know.
    async fn faster(
        &self,
        first: impl Future<Output = Result<Begun, ExpertError>> + Unpin,
        hedge: impl Future<Output = Result<Begun, ExpertError>> + Unpin,
        call: &Call,
    ) -> Result<Begun, ExpertError> {
        let is_final = |error: &ExpertError| {
            error.class().next(call.delivery.policy_refusals) == Next::TellCaller
        };
        match select(first, hedge).await {
            Either::Left((Ok(begun), _)) | Either::Right((Ok(begun), _)) => Ok(begun),
            Either::Left((Err(error), _)) if is_final(&error) => Err(error),
            Either::Left((Err(error), hedge)) => hedge.await.or(Err(error)),
            Either::Right((Err(_), first)) => first.await,
        }
    }
}
