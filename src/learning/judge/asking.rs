//! Asking a judge many things: several at once, for no more than so many dollars, and no longer than it answers.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt as _, stream};
use serde_json::Value;

use crate::{
    chat::{ChatRequest, Usage},
    config::Delivery,
    expert::{Answer, Attempt, Call, ExpertError, Experts, Role},
    ids::ExpertId,
    outcome::Prices,
};

/// Tokens that a conversation's form may add to its texts.
const FORM_TOKENS_MAX: u64 = 64;

/// Kinds of errors with which a provider turns a request away, so that nothing is paid for it.
const NEVER_BEGAN: [&str; 6] = [
    "authentication",
    "context_too_long",
    "overloaded",
    "rate_limited",
    "refused",
    "unsupported",
];

/// What a judge may cost and take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Dollars; none: whatever it costs.
    pub usd_max: Option<f64>,
    /// Questions that are asked at once.
    pub concurrent: usize,
    /// Tokens of a reply.
    pub reply_tokens_max: u32,
    /// How often one thing is tried.
    pub tries_max: u32,
}

/// An expert that judges.
pub struct Judge {
    experts: Arc<Experts>,
    expert: ExpertId,
    delivery: Arc<Delivery>,
    prices: Option<Prices>,
    bounds: Bounds,
    purse: Mutex<Purse>,
}

/// What was spent, and what those under way may still cost.
#[derive(Clone, Copy, Debug, Default)]
struct Purse {
    spent_usd: f64,
    reserved_usd: f64,
}

/// One thing to ask, and what it is about.
pub struct Question<T> {
    /// What it is about.
    pub about: T,
    /// A chat request without its model.
    pub body: Value,
}

/// Why a reply that was cut off says nothing, for people.
pub const CUT_OFF: &str = "the reply was cut off before its end";

/// What became of one.
#[derive(Debug)]
pub enum Asked {
    /// The judge's words.
    Said(String),
    /// Its words ended before their end.
    CutOff,
    /// It failed.
    Failed(ExpertError),
    /// It was not asked: it might have cost more than is left.
    Unaffordable,
}

impl Asked {
    /// What counts of a reply: of one that was cut off nothing, since nobody knows what it would have said in the end.
    pub fn words(&self) -> &str {
        match self {
            Self::Said(words) => words,
            Self::CutOff | Self::Failed(_) | Self::Unaffordable => "",
        }
    }
}

impl Judge {
    /// A judge that is one of the experts. Without prices a bound on dollars holds nothing back, and nothing is known of
    /// what it costs.
    pub fn new(
        experts: Arc<Experts>,
        expert: ExpertId,
        delivery: Arc<Delivery>,
        prices: Option<Prices>,
        bounds: Bounds,
    ) -> Self {
        Self {
            experts,
            expert,
            delivery,
            prices,
            bounds,
            purse: Mutex::default(),
        }
    }

    /// Asks everything, several at once; the replies come as they come.
    pub fn ask_all<T>(
        &self,
        questions: impl IntoIterator<Item = Question<T>>,
    ) -> impl Stream<Item = (T, Asked)> {
        stream::iter(questions)
            .map(async |question| (question.about, self.ask(question.body).await))
            .buffer_unordered(self.bounds.concurrent)
    }

    /// Dollars that were spent; none where prices are not known.
    pub fn spent_usd(&self) -> Option<f64> {
        self.prices?;
        Some(self.purse().spent_usd)
    }

    async fn ask(&self, mut body: Value) -> Asked {
        body["model"] = self.expert.as_str().into();
        body["max_tokens"] = self.bounds.reply_tokens_max.into();
        let bytes = body.to_string().len() as u64;
        let Some(reserved_usd) = self.reserve(bytes) else {
            return Asked::Unaffordable;
        };
        let try_usd = reserved_usd / f64::from(self.bounds.tries_max);
        let request = match ChatRequest::parse(body) {
            Ok(request) => Arc::new(request),
            Err(invalid) => {
                self.settle(reserved_usd, 0.0);
                return Asked::Said(invalid.to_string());
            }
        };
        let call = Call::new(request, Arc::clone(&self.delivery)).in_role(Role::Judge);
        let order = std::slice::from_ref(&self.expert);
        let answered = self.experts.answer(order, &call).await;
        let (attempts, _) = call.attempts.snapshot();
        // What failed after it was sent may have cost all that it could, each time that it was tried.
        let failed = attempts.iter().filter(|it| may_be_paid(it)).count();
        let failed_usd = try_usd * failed as f64;
        match answered {
            Ok(answered) => {
                let (asked, usage) = heard(answered.answer);
                let cost_usd = self.prices.zip(usage);
                // And so may what was not counted.
                let cost_usd = cost_usd.map_or(try_usd, |(prices, usage)| prices.cost_usd(usage));
                self.settle(reserved_usd, failed_usd + cost_usd);
                asked
            }
            Err(error) => {
                self.settle(reserved_usd, failed_usd);
                Asked::Failed(error)
            }
        }
    }

    /// Sets aside the most that a question can cost, all its tries together: no text has more tokens than bytes. None where it
    /// is not left.
    fn reserve(&self, bytes: u64) -> Option<f64> {
        let most = Usage {
            prompt_tokens: bytes + FORM_TOKENS_MAX,
            completion_tokens: self.bounds.reply_tokens_max.into(),
        };
        let try_usd = self.prices.map_or(0.0, |prices| prices.cost_usd(most));
        let most_usd = try_usd * f64::from(self.bounds.tries_max);
        let mut purse = self.purse();
        let taken_usd = purse.spent_usd + purse.reserved_usd + most_usd;
        if self.bounds.usd_max.is_some_and(|max| taken_usd > max) {
            return None;
        }
        purse.reserved_usd += most_usd;
        Some(most_usd)
    }

    fn settle(&self, reserved_usd: f64, cost_usd: f64) {
        let mut purse = self.purse();
        purse.reserved_usd -= reserved_usd;
        purse.spent_usd += cost_usd;
    }

    fn purse(&self) -> std::sync::MutexGuard<'_, Purse> {
        self.purse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a failed attempt may have to be paid: it was sent, and its error does not say that the model never began.
fn may_be_paid(attempt: &Attempt) -> bool {
    let error = attempt.error.as_deref();
    attempt.sent && error.is_some_and(|error| !NEVER_BEGAN.contains(&error))
}

/// A judge is asked for whole answers; a stream says nothing.
fn heard(answer: Answer) -> (Asked, Option<Usage>) {
    match answer {
        Answer::Whole(completion) if completion.is_cut_off() => (Asked::CutOff, completion.usage()),
        Answer::Whole(completion) => {
            let words = completion.text().unwrap_or_default().to_owned();
            (Asked::Said(words), completion.usage())
        }
        Answer::Stream(_) => (Asked::Said(String::new()), None),
    }
}
