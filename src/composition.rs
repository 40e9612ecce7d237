//! Router and mapping together: request → decision. What is served under the model name `coterie`.

mod ruling;
mod target;

use std::{sync::Arc, time::Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::Value;

use crate::{
    chat::{ChatRequest, InvalidRequest, fields},
    config::{Config, ExpertConfig, MappingConfig, Prefer, Preference},
    decision::{Decision, Explained, Features, Reason},
    ids::{CategoryId, OUT_OF_DOMAIN},
    instruction::{Instructed, tier::Tier},
    mapping::{
        Chance, Demand, Mapping, OverBudget, Posteriors, Predicted, PreferNotAllowed, Quality,
        Question, Resting, Today, Wanted,
    },
    outcome::Tab,
    query::Query,
    router::{Router, RouterError, Verdict},
    session::{self, Held, Why},
    trial::Trial,
};
use ruling::Ruling;
use target::Names;
pub use target::{MODEL_ALIAS, MODEL_NAME, Target};

/// A router and a mapping, which may be replaced while questions are decided.
pub struct Composition {
    router: ArcSwap<Router>,
    canary: ArcSwapOption<Canary>,
    mapping: ArcSwap<Mapping>,
    posteriors: ArcSwap<Posteriors>,
    /// The router's last tier; none where nobody is asked what a question demands.
    instruction: Option<Tier>,
    names: Names,
}

/// A router that decides for a share of the sessions instead of the one in force.
pub struct Canary {
    /// The trial that it is in, which says whose questions it gets.
    pub trial: Trial,
    /// The router.
    pub router: Arc<Router>,
}

/// What a client wishes beside its request, and what is remembered of it.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The category that its session was last routed to.
    pub held: Option<Held>,
    /// What counts for it; none leaves that to the mapping.
    pub prefer: Option<Preference>,
    /// What may be tried out with it.
    pub chance: Chance,
    /// By what it is drawn whether a canary decides: the number of its session, or any; none: the router in force does.
    pub lot: Option<u64>,
    /// What the instruction tier costs, until there is an outcome.
    pub tab: Arc<Tab>,
    /// What has been spent today; with a session, which leaves a category whose experts may cost no more.
    pub today: Today,
    /// Experts that are left alone for now; with a session, which leaves a category that has no others.
    pub resting: Vec<Resting>,
}

impl Wish {
    /// The same of a question that is asked indeed: whether another expert is tried out is up to a uniform draw, at least 0
    /// and below 1.
    #[must_use]
    pub fn drawing(self, unit: f64) -> Self {
        let chance = match self.chance {
            Chance::None => Chance::None,
            Chance::Told | Chance::Drawn(_) => Chance::Drawn(unit),
        };
        Self { chance, ..self }
    }

    /// The same, with what it is drawn by whether a canary decides.
    #[must_use]
    pub fn by_lot(self, lot: Option<u64>) -> Self {
        Self { lot, ..self }
    }
}

/// A question of which it is known what it is about, and the mapping that decides the rest.
pub struct Ruled {
    router: Arc<Router>,
    mapping: Arc<Mapping>,
    target: Target,
    ruling: Ruling,
    predicted: Vec<Predicted>,
    prefer: Prefer,
    chance: Chance,
    demand: Demand,
    started: Instant,
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
    /// What is served under the model name turns texts into vectors and answers nothing.
    #[error(
        "the model `{model}` embeds texts at `/v1/embeddings` and answers no conversations; ask `{MODEL_NAME}` or an \
         expert that does"
    )]
    AnswersNothing {
        /// The name asked for.
        model: String,
    },
    /// Nobody may answer.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The client may not prefer that.
    #[error(transparent)]
    PreferNotAllowed(#[from] PreferNotAllowed),
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

/// Joins a checked mapping with the experts that it chooses from.
pub fn open_mapping(config: MappingConfig, experts: &[ExpertConfig]) -> Mapping {
    let model = config.quality.as_ref().map(|file| Arc::clone(&file.model));
    Mapping::new(
        config,
        experts,
        model.map(|model| model as Arc<dyn Quality>),
    )
}

impl Composition {
    /// Joins a router with the configured mapping.
    pub fn new(config: &Config, router: Router) -> Self {
        let mapping = open_mapping(config.mapping.clone(), &config.experts);
        Self {
            router: ArcSwap::from_pointee(router),
            canary: ArcSwapOption::empty(),
            mapping: ArcSwap::from_pointee(mapping),
            posteriors: ArcSwap::default(),
            instruction: None,
            names: Names::of(&config.experts),
        }
    }

    /// The same, with an expert that is asked what a question demands as the router's last tier; not one that only teaches.
    #[must_use]
    pub fn with_instruction(self, instruction: Option<Tier>) -> Self {
        Self {
            instruction: instruction.filter(Tier::is_online),
            ..self
        }
    }

    /// That expert's tier.
    pub fn instruction(&self) -> Option<&Tier> {
        self.instruction.as_ref()
    }

    /// The router in force now. Whoever decides holds on to it, so that one router makes the whole decision.
    pub fn router(&self) -> Arc<Router> {
        self.router.load_full()
    }

    /// Puts another router in force and returns the one before. Decisions that have begun end by the one that they began
    /// with.
    pub fn replace_router(&self, router: Arc<Router>) -> Arc<Router> {
        self.router.swap(router)
    }

    /// The router that decides for a share of the sessions now; none: the one in force decides for all.
    pub fn canary(&self) -> Option<Arc<Canary>> {
        self.canary.load_full()
    }

    /// Has a canary decide for a share of the sessions. Decisions that have begun end as they began.
    pub fn begin_canary(&self, canary: Canary) {
        self.canary.store(Some(Arc::new(canary)));
    }

    /// Has the canary of a trial decide no more. Another that has taken its place meanwhile stays.
    pub fn end_canary(&self, trial: i64) {
        clear(&self.canary, |canary| canary.trial.number == trial);
    }

    /// The canary's router, where it decides. What a client names is left to the router in force, whose categories
    /// `GET /v1/models` lists.
    fn canary_for(&self, target: &Target, lot: Option<u64>) -> Option<Arc<Router>> {
        let lot = lot.filter(|_| *target == Target::Composition)?;
        let canary = self.canary.load();
        let canary = canary.as_ref().filter(|it| it.trial.is_drawn(lot))?;
        Some(Arc::clone(&canary.router))
    }

    /// The mapping in force now. Whoever decides holds on to it, so that one mapping makes the whole decision.
    pub fn mapping(&self) -> Arc<Mapping> {
        self.mapping.load_full()
    }

    /// Puts another mapping in force. Decisions that have begun end by the one that they began with.
    pub fn replace_mapping(&self, mapping: Mapping) {
        self.mapping.store(Arc::new(mapping));
    }

    /// Puts in force what is known of experts' answers: what exploration by Thompson sampling goes by.
    pub fn replace_posteriors(&self, posteriors: Posteriors) {
        self.posteriors.store(Arc::new(posteriors));
    }

    /// Reads a model name; none if nothing is served under it.
    pub fn target(&self, model: &str) -> Option<Target> {
        self.names.target(&self.router.load(), model)
    }

    /// Step one: works out what the question is about. One that cannot be classified belongs to no category; one of a
    /// session that `held` a category may stay with it. `demand` is the request's.
    ///
    /// # Errors
    /// Nobody answers under the model name, or the client may not prefer what it prefers.
    pub async fn rule(
        &self,
        query: &Query,
        request: &ChatRequest,
        demand: Demand,
        wish: &Wish,
    ) -> Result<Ruled, Undecided> {
        let started = Instant::now();
        let (router, mapping) = (self.router(), self.mapping());
        let prefer = mapping.prefer(wish.prefer)?;
        let Some(target) = self.names.target(&router, &request.model) else {
            return Err(self.names.nobody(&router, &request.model));
        };
        let router = self.canary_for(&target, wish.lot).unwrap_or(router);
        // A session may be older than the router: it may hold a category that is no more.
        let known = |held: &&Held| router.categories().contains(&held.category);
        let held = wish.held.as_ref().filter(known);
        let ruling = match &target {
            Target::Composition => match (self.classify(&router, query, &wish.tab).await, held) {
                (Ok((verdict, instruction)), held) => Ruling {
                    instruction,
                    ..match held {
                        Some(held) => weigh(held, verdict, query, |category| {
                            mapping.serves(category, &demand, wish.today, &wish.resting)
                        }),
                        None => Ruling::from_verdict(verdict),
                    }
                },
                (Err(error), _) => Ruling::without_verdict(&error),
            },
            Target::Category(category) => {
                Ruling::named(Some(category.clone()), Reason::CategoryNamed)
            }
            Target::Expert(_) => Ruling::named(None, Reason::ExpertNamed),
        };
        // Here, where nobody waits for it: the choice is made while what has been spent is held.
        let predicted = match &target {
            Target::Composition | Target::Category(_) => mapping.predict(&Question {
                text: query.likelier_reading(),
                category: ruling.category.as_ref(),
                prefer,
            }),
            Target::Expert(_) => Vec::new(),
        };
        Ok(Ruled {
            router,
            mapping,
            target,
            ruling,
            predicted,
            prefer,
            chance: wish.chance,
            demand,
            started,
        })
    }

    /// What the router says, its last tier included where there is one and it is needed.
    async fn classify(
        &self,
        router: &Router,
        query: &Query,
        tab: &Tab,
    ) -> Result<(Verdict, Option<Instructed>), RouterError> {
        let verdict = router.classify(query).await?;
        Ok(match &self.instruction {
            Some(tier) => tier.weigh(router, query, verdict, tab).await,
            None => (verdict, None),
        })
    }

    /// Step two: decides who answers, and what that may cost at the most, in dollars. Who is named by the client is asked
    /// for certain; where a category is named, the expert is the mapping's choice, and exploration's.
    ///
    /// # Errors
    /// Nobody may answer.
    pub fn choose(
        &self,
        ruled: Ruled,
        today: Today,
        resting: &[Resting],
    ) -> Result<(Decision, f64), OverBudget> {
        let Ruled {
            mapping, ruling, ..
        } = ruled;
        let (category, choice) = match ruled.target {
            Target::Expert(expert) => (None, mapping.named(expert, &ruled.demand, today)?),
            Target::Composition | Target::Category(_) => {
                let posteriors = self.posteriors.load();
                let wanted = Wanted {
                    category: ruling.category.as_ref(),
                    predicted: &ruled.predicted,
                    prefer: ruled.prefer,
                    demand: &ruled.demand,
                    today,
                    resting,
                    chance: ruled.chance,
                    posteriors: &posteriors,
                };
                let choice = mapping.choose(&wanted)?;
                let category = ruling.category;
                let category = category.unwrap_or_else(|| CategoryId::new(OUT_OF_DOMAIN));
                (Some(category), choice)
            }
        };
        let decision = Decision {
            category,
            confidence: ruling.confidence,
            scores: ruling.scores,
            tier: ruling.tier,
            strangeness: ruling.strangeness,
            reason: ruling.reason,
            instruction: ruling.instruction,
            session: ruling.session,
            expert: choice.expert,
            fallbacks: choice.fallbacks,
            propensity: choice.propensity,
            grounds: choice.grounds,
            router: ruled.router.id().clone(),
            took: ruled.started.elapsed(),
        };
        Ok((decision, choice.usd_estimate))
    }

    /// Decides for a dry run and tells what the decision was made from.
    ///
    /// # Errors
    /// As [`rule`](Self::rule) and [`choose`](Self::choose).
    pub async fn explain(
        &self,
        request: &ChatRequest,
        wish: &Wish,
    ) -> Result<Explained, Undecided> {
        let query = Query::from_messages(&request.messages);
        let demand = Demand::of(request);
        let ruled = self.rule(&query, request, demand.clone(), wish).await?;
        let router = Arc::clone(&ruled.router);
        let (decision, usd_estimate) = self.choose(ruled, wish.today, &wish.resting)?;
        let features = Features {
            leaning: query.leaning(),
            question: query.text,
            context: query.context,
            encoder: router.encoder().name().to_owned(),
            prompt_tokens_estimate: demand.prompt_tokens,
            usd_estimate,
            capabilities: demand.capabilities,
        };
        // What an expert says is not explained by words: where one was asked, the router's own word is.
        let (scores, tier) = match &decision.instruction {
            Some(instructed) => (&instructed.router.scores, instructed.router.tier),
            None => (&decision.scores, decision.tier),
        };
        let explanation = tier.and_then(|tier| router.explain(&features.question, scores, tier));
        Ok(Explained::new(decision, explanation, features))
    }
}

/// Empties a place, if what is there is what was meant.
fn clear<T>(place: &ArcSwapOption<T>, is_meant: impl Fn(&T) -> bool) {
    let there = place.load();
    if there.as_deref().is_some_and(is_meant) {
        place.compare_and_swap(&there, None);
    }
}

/// Weighs what the router says against what the session was last routed to, if that category's experts serve.
fn weigh(
    held: &Held,
    verdict: Verdict,
    query: &Query,
    serves: impl FnOnce(&CategoryId) -> bool,
) -> Ruling {
    let Some(mut stickiness) = session::stay(held, &verdict, query) else {
        return Ruling::from_verdict(verdict);
    };
    if stickiness.why == Why::Margin && !serves(&held.category) {
        stickiness = stickiness.unserved();
    }
    let mut ruling = Ruling::from_verdict(verdict);
    if stickiness.why == Why::Margin {
        ruling = ruling.staying(&stickiness);
    }
    ruling.session = Some(stickiness);
    ruling
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_takes_the_place_of_a_canary_stays_when_that_one_ends() {
        let place = ArcSwapOption::from_pointee(2);
        clear(&place, |trial| *trial == 1);
        assert_eq!(place.load().as_deref(), Some(&2));
        clear(&place, |trial| *trial == 2);
        assert_eq!(place.load().as_deref(), None);
    }

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
