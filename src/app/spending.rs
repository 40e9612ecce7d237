//! The dollars of a question, or of texts to embed: the house's, and those of the client that asks.

use std::sync::Arc;

use metrics::gauge;

use super::App;
use crate::{
    clock,
    composition::{Ruled, Undecided},
    decision::Decision,
    ids::ExpertId,
    mapping::{Demand, OverBudget, Payer, Today},
    outcome::{Reservations, Tab},
    quota::Quota,
};

impl App {
    /// Decides who answers, and reserves what that may cost before anybody else sees what is left.
    ///
    /// # Errors
    /// Nobody may answer for what is left.
    pub(super) fn choose(
        &self,
        ruled: Ruled,
        quota: Option<&Quota>,
    ) -> Result<(Decision, Reservations), Undecided> {
        let resting = self.resting();
        let choose = |today| self.composition.choose(ruled, today, &resting);
        Ok(self.reserve(quota, choose)?)
    }

    /// Reserves what an embedding model may cost that reads about so many tokens: nothing, where it has no price.
    ///
    /// # Errors
    /// Not as much is left for the day.
    pub fn reserve_reading(
        &self,
        expert: &ExpertId,
        tokens: u64,
        quota: Option<&Quota>,
    ) -> Result<Reservations, Undecided> {
        let usd = self.usd_of_reading(expert, tokens);
        let within = |today| {
            let mapping = self.composition.mapping();
            mapping.within_day(usd, today).map(|()| ((), usd))
        };
        let ((), reserved) = self.reserve(quota, within)?;
        Ok(reserved)
    }

    /// What it costs that an embedding model reads so many tokens, in dollars.
    pub fn usd_of_reading(&self, expert: &ExpertId, tokens: u64) -> f64 {
        let mapping = self.composition.mapping();
        mapping.usd_estimate(expert, &Demand::reading(tokens))
    }

    /// Reserves the dollars that `choose` returns, of the house and of the client, before anybody else sees what is left.
    fn reserve<T>(
        &self,
        quota: Option<&Quota>,
        choose: impl FnOnce(Today) -> Result<(T, f64), OverBudget>,
    ) -> Result<(T, Reservations), OverBudget> {
        let now_ms = clock::now_ms();
        let Some((quota, dollars)) = quota.and_then(|quota| Some((quota, quota.dollars()?))) else {
            let (chosen, house) = self.spending.admit(now_ms, choose)?;
            let reserved = Reservations {
                house: Some(house),
                ..Reservations::default()
            };
            return Ok((chosen, reserved));
        };
        // The client's before the house's, always: who held them the other way round could wait for ever.
        let chosen = dollars.spending.admit(now_ms, |own| {
            let client = Some(dollars.purse(own));
            let within = |today| choose(Today { client, ..today });
            let (chosen, house) = self.spending.admit(now_ms, within)?;
            let usd = house.usd();
            Ok(((chosen, house), usd))
        });
        let ((chosen, house), client) = chosen.inspect_err(|over| {
            let is_the_clients = matches!(
                over,
                OverBudget::Day {
                    payer: Payer::Client,
                    ..
                }
            );
            if is_the_clients {
                quota.refused("dollars");
            }
        })?;
        let reserved = Reservations {
            house: Some(house),
            client: Some(client),
            tokens: None,
        };
        Ok((chosen, reserved))
    }

    /// What the house and a client have spent so far.
    pub fn today(&self, quota: Option<&Quota>) -> Today {
        let now_ms = clock::now_ms();
        let dollars = quota.and_then(Quota::dollars);
        let client = dollars.map(|dollars| dollars.purse(dollars.spending.today(now_ms)));
        Today {
            client,
            ..self.spending.today(now_ms)
        }
    }

    /// What working out who answers a question will have cost: the house pays for it, and the client where its dollars are
    /// limited.
    pub(super) fn tab(&self, quota: Option<&Quota>) -> Tab {
        let usd_left = self.composition.mapping().usd_left(self.today(quota));
        let client = quota.and_then(Quota::dollars);
        let client = client.map(|dollars| Arc::clone(&dollars.spending));
        let payers = std::iter::once(Arc::clone(&self.spending)).chain(client);
        Tab::new(payers.collect(), usd_left)
    }

    pub(super) fn publish_spending(&self) {
        let now_ms = clock::now_ms();
        gauge!("coterie_spent_today_usd").set(self.spending.today(now_ms).usd_spent);
        for quota in self.quotas.iter() {
            if let Some(dollars) = quota.dollars() {
                let usd_spent = dollars.spending.today(now_ms).usd_spent;
                let key_name = quota.key_name().to_owned();
                gauge!("coterie_key_spent_today_usd", "key" => key_name).set(usd_spent);
            }
        }
    }
}
