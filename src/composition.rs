//! Router and mapping together: request → decision. What is served under the model name `coterie`.

use std::{path::Path, time::Instant};

use serde_json::Value;

use crate::{
    chat::{ChatRequest, InvalidRequest, fields},
    config::{Capability, Config},
    decision::{Decision, Explained, Features, Reason, Score},
    ids::{CategoryId, ExpertId, OUT_OF_DOMAIN},
    mapping::{Demand, Mapping, OverBudget},
    query::Query,
    router::{Router, RouterError, Standing, TierName, Verdict},
    session::{self, Held, Stickiness, Why},
    train::in_force::{self, InForceError},
};

/// The model name under which the composition is served.
pub const MODEL_NAME: &str = "coterie";
/// Its other name, the one that peers use.
pub const MODEL_ALIAS: &str = "auto";

/// A router and a mapping.
pub struct Composition {
    router: Router,
    mapping: Mapping,
    experts: Vec<ExpertId>,
}

/// Who is to answer, by the model name that the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `coterie`, `auto`: whoever the router and the mapping choose.
    Composition,
    /// `coterie/<category>`: whoever the mapping chooses for the category.
    Category(CategoryId),
    /// An expert's id.
    Expert(ExpertId),
}

/// Why there is no decision on a question.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Undecided {
    /// Nothing is served under the model name.
    #[error("the model `{model}` does not exist; `GET /v1/models` lists those that do")]
    UnknownModel {
        /// The name asked for.
        model: String,
    },
    /// Nobody may answer.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

/// Reads a question for a dry run: a chat request that may leave out the model, or have a `text` for its conversation.
///
/// # Errors
/// The field that is missing or wrong.
pub fn dry_run(row: Value) -> Result<ChatRequest, InvalidRequest> {
    let mut body = fields::body(row)?;
    body.entry("model").or_insert_with(|| MODEL_NAME.into());
    fields::text_as_messages(&mut body)?;
    ChatRequest::parse(Value::Object(body))
}

impl Composition {
    /// Opens the router in force, or the one in a folder, and joins it with the configured mapping.
    ///
    /// # Errors
    /// The router cannot be opened.
    pub async fn open(config: &Config, router: Option<&Path>) -> Result<Self, InForceError> {
        let router = match router.or(config.router.artefact.as_deref()) {
            Some(folder) => in_force::open(&config.router, folder).await?,
            None => in_force::at_start(&config.router, &config.catalogue).await?,
        };
        let mapping = Mapping::new(config.mapping.clone(), &config.experts);
        let chat = config
            .experts
            .iter()
            .filter(|expert| expert.capabilities.contains(&Capability::Chat));
        Ok(Self {
            router,
            mapping,
            experts: chat.map(|expert| expert.id.clone()).collect(),
        })
    }

    /// The router in force.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Reads a model name; none if nothing is served under it.
    pub fn target(&self, model: &str) -> Option<Target> {
        if model == MODEL_NAME || model == MODEL_ALIAS {
            return Some(Target::Composition);
        }
        if let Some(category) = model
            .strip_prefix(MODEL_NAME)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            let known = self
                .router
                .categories()
                .iter()
                .find(|known| known.as_str() == category);
            return known.cloned().map(Target::Category);
        }
        self.experts
            .iter()
            .find(|expert| expert.as_str() == model)
            .cloned()
            .map(Target::Expert)
    }

    /// Decides who answers. A question that cannot be classified goes to the default expert; one of a session that `held`
    /// a category may stay with it.
    ///
    /// # Errors
    /// Nothing is served under the model name, or nobody may answer.
    pub async fn decide(
        &self,
        query: &Query,
        request: &ChatRequest,
        held: Option<&Held>,
    ) -> Result<Decision, Undecided> {
        let started = Instant::now();
        let Some(target) = self.target(&request.model) else {
            return Err(Undecided::UnknownModel {
                model: request.model.clone(),
            });
        };
        let demand = Demand::of(request);
        let ruling = match target {
            Target::Composition => match (self.router.classify(query).await, held) {
                (Ok(verdict), Some(held)) => self.weigh(held, verdict, query, &demand),
                (Ok(verdict), None) => Ruling::from_verdict(verdict),
                (Err(error), _) => Ruling::without_verdict(&error),
            },
            Target::Category(category) => Ruling::named(Some(category), Reason::CategoryNamed),
            Target::Expert(expert) => return Ok(self.asked_for(expert, started)),
        };
        let choice = self.mapping.choose(ruling.category.as_ref(), &demand)?;
        Ok(Decision {
            category: Some(
                ruling
                    .category
                    .unwrap_or_else(|| CategoryId::new(OUT_OF_DOMAIN)),
            ),
            confidence: ruling.confidence,
            scores: ruling.scores,
            tier: ruling.tier,
            reason: ruling.reason,
            session: ruling.session,
            expert: choice.expert,
            fallbacks: choice.fallbacks,
            propensity: choice.propensity,
            router: self.router.id().clone(),
            took: started.elapsed(),
        })
    }

    /// Decides for a dry run and tells what the decision was made from.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    pub async fn explain(
        &self,
        request: &ChatRequest,
        held: Option<&Held>,
    ) -> Result<Explained, Undecided> {
        let query = Query::from_messages(&request.messages);
        let decision = self.decide(&query, request, held).await?;
        let demand = Demand::of(request);
        let features = Features {
            question: query.text,
            context: query.context,
            leaning: query.leaning,
            encoder: self.router.encoder().name().to_owned(),
            prompt_tokens_estimate: demand.prompt_tokens,
            usd_estimate: self.mapping.usd_estimate(&decision.expert, &demand),
            capabilities: demand.capabilities,
        };
        let explanation = match decision.tier {
            Some(tier) => self
                .router
                .explain(&features.question, &decision.scores, tier),
            None => None,
        };
        Ok(Explained::new(decision, explanation, features))
    }

    fn asked_for(&self, expert: ExpertId, started: Instant) -> Decision {
        Decision {
            category: None,
            confidence: 1.0,
            scores: Vec::new(),
            tier: None,
            reason: Reason::ExpertNamed,
            session: None,
            expert,
            fallbacks: Vec::new(),
            propensity: 1.0,
            router: self.router.id().clone(),
            took: started.elapsed(),
        }
    }

    /// Weighs what the router says against what the session was last routed to.
    fn weigh(&self, held: &Held, verdict: Verdict, query: &Query, demand: &Demand) -> Ruling {
        let is_known = self.router.categories().contains(&held.category);
        let stickiness = session::stay(held, &verdict, query).filter(|_| is_known);
        let Some(mut stickiness) = stickiness else {
            return Ruling::from_verdict(verdict);
        };
        if stickiness.why == Why::Margin && !self.mapping.serves(&held.category, demand) {
            stickiness = stickiness.unserved();
        }
        let mut ruling = Ruling::from_verdict(verdict);
        if stickiness.why == Why::Margin {
            ruling = ruling.staying(&stickiness);
        }
        ruling.session = Some(stickiness);
        ruling
    }
}

/// What the mapping is asked with, and why.
struct Ruling {
    category: Option<CategoryId>,
    confidence: f32,
    scores: Vec<Score>,
    tier: Option<TierName>,
    reason: Reason,
    session: Option<Stickiness>,
}

impl Ruling {
    fn named(category: Option<CategoryId>, reason: Reason) -> Self {
        Self {
            category,
            confidence: 1.0,
            scores: Vec::new(),
            tier: None,
            reason,
            session: None,
        }
    }

    fn without_verdict(error: &RouterError) -> Self {
        tracing::warn!(%error, "the router failed; the default expert answers");
        let reason = Reason::RouterFailed {
            detail: error.to_string(),
        };
        Self {
            confidence: 0.0,
            ..Self::named(None, reason)
        }
    }

    /// The same, with the session's category instead of the router's.
    fn staying(self, stickiness: &Stickiness) -> Self {
        let reason = match self.scores.first() {
            Some(best) => Reason::Stayed {
                best: best.category.clone(),
            },
            None => self.reason,
        };
        Self {
            category: Some(stickiness.previous.clone()),
            confidence: stickiness.confidence,
            reason,
            ..self
        }
    }

    fn from_verdict(verdict: Verdict) -> Self {
        let Some(best) = verdict.scores.first().cloned() else {
            return Self {
                confidence: 0.0,
                ..Self::named(None, Reason::Empty)
            };
        };
        let (category, reason) = match verdict.standing {
            Standing::Confident => (Some(best.category), Reason::Routed),
            Standing::Unsure { confidence_min } => (
                None,
                Reason::Unsure {
                    best: best.category,
                    confidence_min,
                },
            ),
            Standing::OutOfDomain => (None, Reason::OutOfDomain),
            Standing::Empty => (None, Reason::Empty),
        };
        Self {
            category,
            confidence: best.probability,
            scores: verdict.scores,
            tier: verdict.tier,
            reason,
            session: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dry_run_takes_a_text_or_a_conversation() {
        let text = dry_run(json!({"text": "hi", "id": 7})).unwrap();
        assert_eq!(
            (text.model.as_str(), text.messages[0].text.as_str()),
            (MODEL_NAME, "hi")
        );
        let messages = json!([{"role": "user", "content": "hi"}]);
        let named = dry_run(json!({"messages": messages, "model": "coterie/sql"})).unwrap();
        assert_eq!(named.model, "coterie/sql");
        assert_eq!(named.messages, text.messages);
    }

    #[test]
    fn a_dry_run_without_one_clear_question_is_refused_by_field() {
        for (row, param) in [
            (json!({"text": 5}), "text"),
            (json!({"text": null}), "messages"),
            (json!({"text": "hi", "messages": []}), "text"),
            (json!({"messages": "hi"}), "messages"),
            (json!({}), "messages"),
            (json!("hi"), "body"),
        ] {
            assert_eq!(dry_run(row).unwrap_err().param, param);
        }
    }
}
