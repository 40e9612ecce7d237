//! Hard limits: who cannot or may not answer a request, whatever the mapping wants.

use std::time::Duration;

use serde::Serialize;

use super::{Demand, Mapping, Wanted};
use crate::{
    config::{Capability, CascadeConfig, ExpertConfig},
    ids::ExpertId,
};

/// Why an expert is not asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "limit", rename_all = "snake_case")]
pub enum Limit {
    /// It cannot do what is demanded.
    Capabilities {
        /// What it would have to do as well.
        lacks: Vec<Capability>,
    },
    /// It cannot hold the conversation.
    ContextTokens {
        /// Tokens of the conversation, estimated.
        prompt_tokens: u64,
        /// Tokens that it can hold.
        context_tokens: u64,
    },
    /// Its answer may cost more than a question may.
    UsdPerQuestion {
        /// What the answer may cost, in dollars.
        usd_estimate: f64,
        /// What a question may cost, in dollars.
        usd_max: f64,
    },
    /// Its answer may cost more than is left of the day's budget, the house's or the client's.
    UsdPerDay {
        /// What the answer may cost, in dollars; with a cascade, all of its answers.
        usd_estimate: f64,
        /// What is left, in dollars.
        usd_left: f64,
    },
    /// It failed of late, was slow, or asked for a pause, and is left alone: asked after the others, if at all.
    CircuitOpen {
        /// Time until it is tried again, in milliseconds.
        retry_in_ms: u64,
    },
    /// Too little is predicted of a cascade's first expert.
    PredictedSuccess {
        /// What is predicted, 0 to 1; none where nothing is known of it.
        success: Option<f64>,
        /// The least that would do.
        success_min: f64,
    },
}

impl Limit {
    /// One word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Capabilities { .. } => "capabilities",
            Self::ContextTokens { .. } => "context_tokens",
            Self::UsdPerQuestion { .. } => "usd_per_question",
            Self::UsdPerDay { .. } => "usd_per_day",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::PredictedSuccess { .. } => "predicted_success",
        }
    }
}

/// An expert that would have been asked but for a limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PassedOver {
    /// Who.
    pub expert: ExpertId,
    /// Why.
    #[serde(flatten)]
    pub limit: Limit,
}

impl PassedOver {
    pub(super) fn new(expert: &ExpertId, limit: Limit) -> Self {
        Self {
            expert: expert.clone(),
            limit,
        }
    }
}

/// An expert that is left alone for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Resting {
    /// Which.
    pub expert: ExpertId,
    /// Time until it is tried again.
    pub retry_in: Duration,
}

impl Resting {
    /// Why it is passed over, if it is among those who rest.
    pub(super) fn limit(resting: &[Self], expert: &ExpertId) -> Option<Limit> {
        let found = resting.iter().find(|resting| resting.expert == *expert)?;
        Some(Limit::CircuitOpen {
            retry_in_ms: u64::try_from(found.retry_in.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Puts those who rest behind the others, and says so of each that is overtaken.
    pub(super) fn to_the_end(resting: &[Self], order: &mut [ExpertId]) -> Vec<PassedOver> {
        let limit = |expert: &ExpertId| Self::limit(resting, expert);
        if resting.is_empty() || order.iter().all(|expert| limit(expert).is_some()) {
            return Vec::new();
        }
        let passed_over = order
            .iter()
            .filter_map(|expert| Some(PassedOver::new(expert, limit(expert)?)));
        let passed_over = passed_over.collect();
        order.sort_by_key(|expert| limit(expert).is_some());
        passed_over
    }
}

/// What the house has spent today (UTC), and how much of the day is left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Today {
    /// Dollars, those included that answers under way may cost.
    pub usd_spent: f64,
    /// Time until the day ends and its budget begins anew.
    pub ends_in: Duration,
    /// The dollars of the client that asks, where they are limited.
    pub client: Option<Purse>,
}

/// A day's dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Purse {
    /// What may be spent.
    pub usd_max: f64,
    /// What has been spent, that included which answers under way may cost.
    pub usd_spent: f64,
}

impl Purse {
    fn usd_left(self) -> f64 {
        (self.usd_max - self.usd_spent).max(0.0)
    }
}

/// Whose dollars they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    /// The server's.
    House,
    /// The key's, or those of all clients where there are no keys.
    Client,
}

impl Payer {
    fn in_words(self) -> &'static str {
        match self {
            Self::House => "this server",
            Self::Client => "you",
        }
    }
}

/// Whoever could answer would cost more than the budget allows.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OverBudget {
    /// More than a question may cost.
    #[error(
        "an answer would cost about ${usd_estimate:.6}, and a question may cost ${usd_max:.6} at most; ask for fewer \
         tokens"
    )]
    Question {
        /// What the expert that was named, or the cheapest that can answer, would cost, estimated, in dollars.
        usd_estimate: f64,
        /// What a question may cost, in dollars.
        usd_max: f64,
    },
    /// More than is left of the day's budget.
    #[error(
        "an answer would cost about ${usd_estimate:.6}, and ${usd_left:.6} are left of the ${usd_max:.2} that {} may \
         spend a day; ask for fewer tokens, or again in {} s, when the day is over (UTC)",
        payer.in_words(),
        resets_in.as_secs()
    )]
    Day {
        /// What the cheapest expert that can answer would cost, estimated, in dollars.
        usd_estimate: f64,
        /// What is left, in dollars.
        usd_left: f64,
        /// What a day may cost, in dollars.
        usd_max: f64,
        /// Whose budget it is.
        payer: Payer,
        /// Time until the budget begins anew.
        resets_in: Duration,
    },
}

/// What limits an expert.
#[derive(Debug)]
pub(super) struct ExpertFacts {
    context_tokens: Option<u64>,
    capabilities: Vec<Capability>,
    usd_in: f64,
    usd_out: f64,
}

impl ExpertFacts {
    pub(super) fn of(expert: &ExpertConfig) -> Self {
        Self {
            context_tokens: expert.context_tokens.map(u64::from),
            capabilities: expert.capabilities.clone(),
            usd_in: expert.usd_in.unwrap_or(0.0),
            usd_out: expert.usd_out.unwrap_or(0.0),
        }
    }

    /// Why it cannot do what is demanded, whatever it costs.
    fn limit(&self, demand: &Demand) -> Option<Limit> {
        let needed = demand.capabilities.iter();
        let lacks: Vec<Capability> = needed
            .filter(|needed| !self.capabilities.contains(needed))
            .copied()
            .collect();
        if !lacks.is_empty() {
            return Some(Limit::Capabilities { lacks });
        }
        let context_tokens = self.context_tokens?;
        let prompt_tokens = demand.prompt_tokens;
        (prompt_tokens >= context_tokens).then_some(Limit::ContextTokens {
            prompt_tokens,
            context_tokens,
        })
    }
}

impl Mapping {
    /// An estimate of what an expert's answer will cost, in dollars.
    pub fn usd_estimate(&self, expert: &ExpertId, demand: &Demand) -> f64 {
        let per_million = |tokens: u64, usd: f64| tokens as f64 * usd / 1e6;
        self.facts.get(expert).map_or(0.0, |facts| {
            let answers = f64::from(demand.choices_wanted);
            per_million(demand.prompt_tokens, facts.usd_in)
                + per_million(demand.answer_tokens, facts.usd_out) * answers
        })
    }

    /// What the dearest of some experts would cost.
    pub(super) fn usd_most(&self, experts: &[ExpertId], demand: &Demand) -> f64 {
        let estimates = experts
            .iter()
            .map(|expert| self.usd_estimate(expert, demand));
        estimates.fold(0.0, f64::max)
    }

    /// What a cascade costs on top of the expert behind it: its first answer and, where there is a judge, reading that.
    pub(super) fn usd_cascade(&self, cascade: &CascadeConfig, demand: &Demand) -> f64 {
        let judged = Demand {
            prompt_tokens: demand.prompt_tokens + demand.answer_tokens,
            answer_tokens: 0,
            ..demand.clone()
        };
        let judge = cascade.accept.judge.as_ref();
        let usd_judge = judge.map_or(0.0, |judge| self.usd_estimate(judge, &judged));
        self.usd_estimate(&cascade.first, demand) + usd_judge
    }

    /// Why an expert cannot or may not answer.
    pub(super) fn limit(&self, expert: &ExpertId, demand: &Demand, today: Today) -> Option<Limit> {
        let Some(facts) = self.facts.get(expert) else {
            let lacks = demand.capabilities.clone();
            return Some(Limit::Capabilities { lacks });
        };
        if let Some(limit) = facts.limit(demand) {
            return Some(limit);
        }
        self.limit_of_cost(self.usd_estimate(expert, demand), today)
    }

    /// Why a judge cannot read a first answer; what that costs is the cascade's.
    pub(super) fn limit_of_judge(&self, judge: &ExpertId, demand: &Demand) -> Option<Limit> {
        let judged = Demand {
            prompt_tokens: demand.prompt_tokens + demand.answer_tokens,
            ..Demand::plain()
        };
        self.facts.get(judge)?.limit(&judged)
    }

    /// Why a question may not cost so much.
    pub(super) fn limit_of_cost(&self, usd_estimate: f64, today: Today) -> Option<Limit> {
        match self.over_question(usd_estimate) {
            Some(usd_max) => Some(Limit::UsdPerQuestion {
                usd_estimate,
                usd_max,
            }),
            None => self.limit_of_day(usd_estimate, today),
        }
    }

    /// What a question may cost, where an estimated cost exceeds it.
    fn over_question(&self, usd_estimate: f64) -> Option<f64> {
        let usd_max = self.config.usd_per_question_max?;
        (usd_estimate > usd_max).then_some(usd_max)
    }

    /// Whether a question may cost so much.
    ///
    /// # Errors
    /// It may cost less.
    pub(super) fn within_question(&self, usd_estimate: f64) -> Result<(), OverBudget> {
        match self.over_question(usd_estimate) {
            Some(usd_max) => Err(OverBudget::Question {
                usd_estimate,
                usd_max,
            }),
            None => Ok(()),
        }
    }

    /// Why an estimated cost exceeds what is left of the day's budget. What costs nothing always may.
    pub(super) fn limit_of_day(&self, usd_estimate: f64, today: Today) -> Option<Limit> {
        let usd_left = self.usd_left(today)?;
        (usd_estimate > usd_left).then_some(Limit::UsdPerDay {
            usd_estimate,
            usd_left,
        })
    }

    /// Dollars that are left of the day to the house, or to the client where that is less; none where neither is limited.
    pub fn usd_left(&self, today: Today) -> Option<f64> {
        self.purse(today).map(|(_, purse)| purse.usd_left())
    }

    /// Whether the day's budget allows an estimated cost.
    ///
    /// # Errors
    /// Less is left of it.
    pub fn within_day(&self, usd_estimate: f64, today: Today) -> Result<(), OverBudget> {
        match self.limit_of_day(usd_estimate, today) {
            Some(_) => Err(self.over_day(usd_estimate, today)),
            None => Ok(()),
        }
    }

    /// What is told where the day's budget allows nobody who could answer.
    pub(super) fn over_day(&self, usd_estimate: f64, today: Today) -> OverBudget {
        let limited = self.purse(today);
        let (payer, purse) = limited.unwrap_or((Payer::House, Purse::default()));
        OverBudget::Day {
            usd_estimate,
            usd_left: purse.usd_left(),
            usd_max: purse.usd_max,
            payer,
            resets_in: today.ends_in,
        }
    }

    /// When nobody wanted meets the demand: the default expert if it does, else the cheapest that can and may. Where
    /// nobody can at any price the first wanted, whose refusal then tells the client what cannot be done.
    pub(super) fn stand_in(&self, wanted: &Wanted<'_>) -> Result<ExpertId, OverBudget> {
        let (demand, today) = (wanted.demand, wanted.today);
        let default = &self.config.default;
        if self.limit(default, demand, today).is_none() {
            return Ok(default.clone());
        }
        let able = self
            .facts
            .iter()
            .filter(|(_, facts)| facts.limit(demand).is_none());
        let cheapest = able.map(|(expert, _)| expert).min_by(|a, b| {
            let by_price = self
                .usd_estimate(a, demand)
                .total_cmp(&self.usd_estimate(b, demand));
            by_price.then_with(|| a.cmp(b))
        });
        let Some(cheapest) = cheapest else {
            let assigned = self.assigned(wanted.category);
            return Ok(assigned.first().map_or(default, |&first| first).clone());
        };
        match self.limit(cheapest, demand, today) {
            Some(Limit::UsdPerQuestion {
                usd_estimate,
                usd_max,
            }) => Err(OverBudget::Question {
                usd_estimate,
                usd_max,
            }),
            Some(_) => Err(self.over_day(self.usd_estimate(cheapest, demand), today)),
            None => Ok(cheapest.clone()),
        }
    }

    /// The dollars of the day, the house's or the client's, of which less is left; none where they are not limited.
    fn purse(&self, today: Today) -> Option<(Payer, Purse)> {
        let house = self.config.usd_per_day_max.map(|usd_max| {
            let usd_spent = today.usd_spent;
            (Payer::House, Purse { usd_max, usd_spent })
        });
        let client = today.client.map(|purse| (Payer::Client, purse));
        let purses = house.into_iter().chain(client);
        purses.min_by(|(_, a), (_, b)| a.usd_left().total_cmp(&b.usd_left()))
    }
}
