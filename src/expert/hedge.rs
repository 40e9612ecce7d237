//! A second expert is asked where the first is slower than it usually is; the faster answers, the other is cancelled (Dean
//! and Barroso, "The Tail at Scale", 2013).

use std::pin::pin;

use futures_util::future::{Either, select};
use metrics::counter;
use tokio::time::{Instant, sleep};

use super::{Call, ExpertError, Experts, Role, order::Begun, registry::Member};

impl Experts {
    /// Asks a member; where its route hedges, also the one after it once the first has taken longer than nineteen in
    /// twenty of its last answers did.
    pub(super) async fn ask_or_hedge(
        &self,
        member: &Member,
        next: Option<&Member>,
        call: &Call,
    ) -> Result<Begun, ExpertError> {
        let (Some(share), Some(next)) = (call.delivery.hedge_share, next) else {
            return member.ask(call).await;
        };
        member.hedge_budget.deposit(share);
        let Some(usual) = member.gate.p95(call.request.stream) else {
            return member.ask(call).await;
        };
        let started = Instant::now();
        let asking = pin!(member.ask(call));
        let asking = match select(asking, pin!(sleep(usual))).await {
            Either::Left((result, _)) => return result,
            Either::Right(((), asking)) => asking,
        };
        if !member.hedge_budget.withdraw() {
            return asking.await;
        }
        let hedge = call.in_role(Role::Hedge);
        let hedging = pin!(next.ask(&hedge));
        let (first, other_wins) = match select(asking, hedging).await {
            // One that fails leaves it to the other.
            Either::Left((Err(error), hedging)) => match hedging.await {
                Ok(begun) => (Ok(begun), true),
                Err(_) => (Err(error), false),
            },
            Either::Right((Err(_), asking)) => (asking.await, false),
            Either::Left((begun, _)) => (begun, false),
            Either::Right((begun, _)) => (begun, true),
        };
        let result = if other_wins { "hedge" } else { "first" };
        counter!(
            "coterie_hedges_total",
            "expert" => member.id.to_string(),
            "faster" => result,
        )
        .increment(1);
        if let Ok(begun) = &first {
            call.attempts.outrun_by(begun.attempt, started.elapsed());
        }
        first
    }
}
