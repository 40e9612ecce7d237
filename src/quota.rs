//! What clients may use: requests and tokens a minute, dollars a day. Knows nothing of HTTP or SQL.
//!
//! What a request may use is taken in one step with the check whether it is there, so that requests which come at once
//! cannot use the same token; what it did use takes the place of that when it has ended.

mod bucket;
mod meter;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::counter;

pub use bucket::Level;
pub use meter::Standing;

use crate::{
    config::{Limits, ServerConfig},
    mapping::{Purse, Today},
    outcome::Spending,
};
use meter::{Meter, Taken};

/// What the time is.
pub type Clock = fn() -> Instant;

/// The quota of everybody who has one.
#[derive(Debug, Default)]
pub struct Quotas {
    by_key: HashMap<String, Arc<Quota>>,
    /// Of all clients together, where there are no keys.
    shared: Option<Arc<Quota>>,
}

/// What one client may use; all of its requests share it.
#[derive(Debug)]
pub struct Quota {
    /// The key's name; empty where there are no keys.
    key_name: String,
    requests: Option<Arc<Meter>>,
    tokens: Option<Arc<Meter>>,
    dollars: Option<Dollars>,
}

/// What a client may spend, and has spent.
#[derive(Debug)]
pub struct Dollars {
    usd_per_day_max: f64,
    /// What it has spent today.
    pub spending: Arc<Spending>,
}

/// What is limited a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens, of questions and answers together.
    Tokens,
}

impl Unit {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        }
    }
}

/// Tokens that a request may use, estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Of what is sent.
    pub prompt_tokens: u64,
    /// Of what may be answered.
    pub answer_tokens: u64,
}

/// A client has used up what it may use a minute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverQuota {
    /// For the moment.
    #[error(
        "{per_minute} {} a minute are allowed; {remaining} are left, and this needs {wanted}; try again in {} s",
        unit.as_str(),
        retry_in.as_secs_f64().ceil()
    )]
    Spent {
        /// What is used up.
        unit: Unit,
        /// The limit, a minute.
        per_minute: u32,
        /// What the request may use.
        wanted: u64,
        /// What is left.
        remaining: u64,
        /// Time until there is enough, if nothing else is asked meanwhile.
        retry_in: Duration,
    },
    /// The request alone may use more than the whole of a minute, now and always.
    #[error(
        "this may use {wanted} {}, and {per_minute} a minute are allowed; send less, or ask for fewer tokens",
        unit.as_str()
    )]
    TooLarge {
        /// What is limited.
        unit: Unit,
        /// The limit, a minute.
        per_minute: u32,
        /// What the request may use.
        wanted: u64,
    },
}

impl OverQuota {
    /// One word for metrics.
    fn kind(&self) -> &'static str {
        match self {
            Self::Spent { unit, .. } => unit.as_str(),
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// What was taken for a request that may go on. Given back where it is dropped before anybody was asked.
#[derive(Debug, Default)]
pub struct Admitted {
    request: Option<Taken>,
    tokens: Option<TokensTaken>,
}

/// Tokens that a request under way may use; given back where it is dropped without having used any.
#[derive(Debug)]
pub struct TokensTaken {
    taken: Taken,
    prompt_tokens: u64,
}

impl Quotas {
    /// The quotas of a configuration. `spent_usd` is what each key, and whoever had none, has spent on the day that it is
    /// now, in dollars; `now_ms` is in milliseconds since 1970 UTC; `clock` is what fills the buckets.
    pub fn new(
        server: &ServerConfig,
        spent_usd: &HashMap<Option<String>, f64>,
        now_ms: i64,
        clock: Clock,
    ) -> Self {
        let quota = |key_name: &str, limits: &Limits, spent_usd: f64| {
            let spending = Spending::new(now_ms, spent_usd);
            (!limits.are_none()).then(|| Arc::new(Quota::new(key_name, limits, spending, clock)))
        };
        let by_key = server.keys.iter().filter_map(|key| {
            let spent_usd = spent_usd.get(&Some(key.name.clone()));
            let quota = quota(&key.name, &key.limits, spent_usd.copied().unwrap_or(0.0))?;
            Some((key.name.clone(), quota))
        });
        Self {
            by_key: by_key.collect(),
            shared: quota("", &server.limits, spent_usd.values().sum()),
        }
    }

    /// Whether nobody's use is limited.
    pub fn are_none(&self) -> bool {
        self.by_key.is_empty() && self.shared.is_none()
    }

    /// What limits the client with a key's name, or one without a key; none where nothing does.
    pub fn of(&self, key_name: Option<&str>) -> Option<&Arc<Quota>> {
        match key_name {
            Some(name) => self.by_key.get(name),
            None => self.shared.as_ref(),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Quota>> {
        self.by_key.values().chain(&self.shared)
    }
}

impl Quota {
    fn new(key_name: &str, limits: &Limits, spending: Spending, clock: Clock) -> Self {
        let meter =
            |unit, limit: Option<u32>| limit.map(|limit| Arc::new(Meter::new(unit, limit, clock)));
        Self {
            key_name: key_name.to_owned(),
            requests: meter(Unit::Requests, limits.requests_per_minute),
            tokens: meter(Unit::Tokens, limits.tokens_per_minute),
            dollars: limits.usd_per_day.map(|usd_per_day_max| Dollars {
                usd_per_day_max,
                spending: Arc::new(spending),
            }),
        }
    }

    /// The name of the key that it is of; empty where there are no keys.
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// Takes one request and the tokens that it may use, or nothing.
    ///
    /// # Errors
    /// Not as much is left, or it is more than there ever is.
    pub fn admit(&self, estimate: Estimate) -> Result<Admitted, OverQuota> {
        self.try_admit(estimate)
            .inspect_err(|over| self.refused(over.kind()))
    }

    fn try_admit(&self, estimate: Estimate) -> Result<Admitted, OverQuota> {
        let request = self.requests.as_ref().map(|meter| meter.take(1));
        let request = request.transpose()?;
        let take = |meter: &Arc<Meter>| meter.take(estimate.tokens());
        let taken = self.tokens.as_ref().map(take).transpose()?;
        Ok(Admitted {
            request,
            tokens: taken.map(|taken| TokensTaken {
                taken,
                prompt_tokens: estimate.prompt_tokens,
            }),
        })
    }

    /// Takes one request that uses no tokens, and that counts whatever comes of it.
    ///
    /// # Errors
    /// None is left.
    pub fn take_request(&self) -> Result<(), OverQuota> {
        let Some(meter) = &self.requests else {
            return Ok(());
        };
        let taken = meter.take(1);
        let taken = taken.inspect_err(|over| self.refused(over.kind()))?;
        taken.keep();
        Ok(())
    }

    /// What may be spent, where that is limited.
    pub fn dollars(&self) -> Option<&Dollars> {
        self.dollars.as_ref()
    }

    /// How the limits of a minute stand now.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        let meters = [&self.requests, &self.tokens].into_iter().flatten();
        meters.map(|meter| meter.standing())
    }

    /// Counts a request that was refused by a limit.
    pub fn refused(&self, kind: &'static str) {
        let key_name = self.key_name.clone();
        counter!("coterie_quota_refusals_total", "key" => key_name, "kind" => kind).increment(1);
    }
}

impl Dollars {
    /// What a day's spending leaves of it; `today` is the client's own.
    pub fn purse(&self, today: Today) -> Purse {
        Purse {
            usd_max: self.usd_per_day_max,
            usd_spent: today.usd_spent,
        }
    }
}

impl Estimate {
    fn tokens(self) -> u64 {
        self.prompt_tokens.saturating_add(self.answer_tokens)
    }
}

impl Admitted {
    /// Somebody is asked: from here on the request counts, whatever comes of it. The tokens are still to be settled.
    pub fn begin(self) -> Option<TokensTaken> {
        if let Some(request) = self.request {
            request.keep();
        }
        self.tokens
    }
}

impl TokensTaken {
    /// Puts the tokens that were used in place of those that were taken.
    pub fn settle(self, used: u64) {
        self.taken.settle(used);
    }

    /// How many were used, about, where nobody counted them: those of the question, and of the answer as many as came, at
    /// most what was taken; all of that where nothing came.
    pub fn about(&self, answer_tokens: u64) -> u64 {
        let taken = self.taken.amount();
        if answer_tokens == 0 {
            return taken;
        }
        self.prompt_tokens.saturating_add(answer_tokens).min(taken)
    }
}

#[cfg(test)]
pub(crate) mod tests;
