//! The last tier of the router: an LLM that is asked within bounds, of time, seats and dollars, and what it was asked before.
//! [`Terms`] say about what, and what becomes of the decision.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::{
    Compared, HEARD, Instructed, InstructionConfig, Own, Part, When,
    ask::{Asker, Cost, Failure, Heard},
    blend::{Blend, BlendError, Evidence, Weights},
    budget::Budget,
    memory::Memory,
    menu::Menu,
    question::{Deadline, Question},
    rest::Rest,
    terms::Terms,
    unseen::Kin,
};
use crate::{
    causes::in_full,
    config::Config,
    decision::Score,
    expert::Experts,
    ids::CategoryId,
    outcome::Tab,
    query::Query,
    router::{CONFIDENCE_MIN_UNPROVEN, Router, Standing, Verdict},
};

/// Categories of which it is told what each part says.
const PARTS_TOLD: usize = 5;

/// How long the expert may take to read the cards for the first time.
const WARM_UP_MAX: Duration = Duration::from_secs(120);

/// The LLM as the router's last tier.
pub struct Tier {
    config: InstructionConfig,
    asker: Asker,
    blend: Option<Blend>,
    seats: Semaphore,
    rest: Rest,
    memory: Memory,
    budget: Budget,
}

/// How what was heard was come by.
#[derive(Clone, Copy)]
enum Source {
    Asked,
    Remembered,
    Near,
}

/// What is known of one question once the LLM had its turn.
struct Turn {
    heard: Result<(Arc<Heard>, Source), Failure>,
    cost: Cost,
}

impl Tier {
    /// The tier that is configured. A blend that was learnt of another expert, mode or list of cards is left alone, with a line
    /// in the log; one that was learnt for another router as long as that one is not in force.
    ///
    /// # Errors
    /// There is a file for the blend that cannot be read.
    pub fn open(
        config: InstructionConfig,
        asker: Asker,
        router: &Router,
    ) -> Result<Self, BlendError> {
        let mut blend = read(&config)?;
        if let Some(read) = &blend {
            // Alone it needs no router, and does without what was learnt of another.
            let when = match config.when {
                When::Alone => read.of.when,
                when => when.online(),
            };
            let learnt = read.of.check(&asker.learnt(&read.of.router, when));
            if let Err(other) = learnt {
                if config.when != When::Alone {
                    warn!("the instruction tier is left alone: {other}");
                }
                blend = None;
            } else if config.when != When::Alone && read.of.router != *router.id() {
                warn!(
                    "the instruction tier is left alone while the router in force is not {}, for which it was fitted",
                    read.of.router
                );
            }
        }
        let tier = Self {
            seats: Semaphore::new(config.concurrent_max),
            asker,
            blend,
            rest: Rest::default(),
            memory: Memory::new(),
            budget: Budget::new(config.usd_per_day_max, 0.0),
            config,
        };
        if tier.blend.is_some() && !tier.is_proven() {
            warn!(
                "the instruction tier is asked about no question of a category that the router knows: `coterie instruct fit` found no \
                 probability from which few enough would be misrouted"
            );
        }
        Ok(tier)
    }

    /// Whether it is known from which probability on its word counts.
    pub fn is_proven(&self) -> bool {
        let blend = self.blend.as_ref();
        self.config.when == When::Alone || blend.is_some_and(|blend| blend.confidence_min.is_some())
    }

    /// The tier of a configuration, where it has one; `experts` has its expert.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn configured(
        config: &Config,
        experts: &Arc<Experts>,
        router: &Router,
    ) -> Result<Option<Self>, BlendError> {
        let Some(instruction) = &config.router.instruction else {
            return Ok(None);
        };
        let asker = Asker::configured(config, instruction, experts);
        asker
            .map(|asker| Self::open(instruction.clone(), asker, router))
            .transpose()
    }

    /// Whether it is asked about questions that come.
    pub fn is_online(&self) -> bool {
        self.config.when != When::Offline
    }

    /// The categories that it knows, those that no router was trained on among them.
    pub fn categories(&self) -> impl Iterator<Item = &CategoryId> {
        let entries = self.asker.menu().entries().iter();
        entries.map(|entry| &entry.category)
    }

    /// Whether it may cost no more than so much a day.
    pub fn has_a_budget(&self) -> bool {
        self.config.usd_per_day_max.is_some()
    }

    /// The same where it has cost so many dollars today.
    #[must_use]
    pub fn having_spent(self, usd: f64) -> Self {
        let budget = Budget::new(self.config.usd_per_day_max, usd);
        Self { budget, ..self }
    }

    /// By whom a label is that is given by its word.
    pub fn given_by(&self) -> String {
        format!("{} {}", self.config.expert, self.asker.prompt())
    }

    /// Has the cards read, by the encoder and by a model in this process, so that no question waits for that; what fails is told
    /// in the log.
    pub async fn warm_up(&self, router: &Router) {
        self.read_cards(router).await;
        if !self.asker.is_local() {
            return;
        }
        let (heard, _) = self
            .asker
            .ask(
                "?",
                &self.asker.menu_for(&[], None),
                router.encoder(),
                Deadline::after(WARM_UP_MAX),
            )
            .await;
        if let Err(failure) = heard
            && failure.is_the_experts()
        {
            debug!(expert = %self.config.expert, "the instruction tier could not be warmed up: {}", in_full(&failure));
        }
    }

    /// Has the encoder read what questions are compared with: the cards where the LLM writes descriptions, and what is known of
    /// categories that the router is not trained on. What fails is told in the log.
    pub async fn read_cards(&self, router: &Router) {
        let near = self.near_min().is_some();
        if let Err(error) = self.asker.read_cards(router, near).await {
            let error = in_full(&error);
            warn!("the instruction cards could not be read: {error}");
        }
    }

    /// What the router says, with what the LLM says where it is asked; and what was done for that. `tab`: who pays for
    /// that.
    pub async fn weigh(
        &self,
        router: &Router,
        query: &Query,
        verdict: Verdict,
        tab: &Tab,
    ) -> (Verdict, Option<Instructed>) {
        if !self.is_fitted_for(router) {
            return (verdict, None);
        }
        let terms = self.terms(router);
        // All that is done about the question has one deadline, from the first thing on.
        let (started, deadline) = (Instant::now(), Deadline::after(self.config.within));
        let question = Question::new(query.likelier_reading(), router.encoder(), deadline);
        let kin = self.kin(router, &question, &verdict).await;
        let Some(weights) = self.weights_for(terms, &verdict, kin.as_ref()) else {
            return (verdict, None);
        };
        let menu = self
            .asker
            .menu_for(&verdict.scores, kin.as_ref().map(|kin| &kin.category));
        let turn = self.hear(&question, &menu, tab).await;
        let mut instructed = self.told(&turn, own(&verdict, terms), started);
        metrics::counter!("coterie_instruction_total", "mode" => self.config.mode.as_str(), "result" => instructed.result)
            .increment(1);
        metrics::histogram!("coterie_instruction_seconds").record(started.elapsed());
        let Ok((heard, _)) = &turn.heard else {
            return (verdict, Some(instructed));
        };
        let evidence = heard.evidence(&menu);
        let evidence = match &self.blend {
            Some(blend) => evidence.less(&blend.prior),
            None => evidence,
        };
        let told = |weighed: &[Score]| parts(weighed, &verdict.scores, &evidence);
        instructed.new =
            kin.map(|kin| kin.compared(&verdict.scores, &self.alone().weigh(&[], &evidence)));
        let new = instructed.new.as_ref();
        if let Some(taken) = new.and_then(|new| Terms::taken(&verdict, new)) {
            instructed.parts = told(&taken.scores);
            return (taken, Some(instructed));
        }
        let weighed = weights.weigh(&verdict.scores, &evidence);
        instructed.parts = told(&weighed);
        let best = weighed.first().filter(|_| !terms.is_settled(&verdict));
        instructed.both = best.map(|best| Compared {
            category: best.category.clone(),
            confidence: best.probability,
            confidence_min: terms.both_min,
        });
        (terms.combined(verdict, weighed), Some(instructed))
    }

    /// Whether it is known what its word counts beside this router's.
    pub fn is_fitted_for(&self, router: &Router) -> bool {
        let blend = self.blend.as_ref();
        self.config.when == When::Alone
            || blend.is_some_and(|blend| blend.of.router == *router.id())
    }

    /// A category that the router does not know, and that the question may belong to; none while the cards are being read.
    async fn kin(
        &self,
        router: &Router,
        question: &Question<'_>,
        verdict: &Verdict,
    ) -> Option<Kin> {
        if verdict.scores.is_empty() || self.config.when == When::Alone {
            return None;
        }
        let unseen = self.asker.unseen.unknown_to(router.categories());
        if unseen.is_empty() || !self.asker.unseen.is_read() {
            return None;
        }
        let kin = self.asker.unseen.kin(&unseen, question.vector().await?);
        kin.filter(|kin| kin.is_hoped_for(&verdict.scores))
    }

    /// What holds while this router is in force.
    fn terms(&self, router: &Router) -> Terms {
        let blend = self.blend.as_ref();
        let both_min = match self.config.when {
            When::Alone => Some(CONFIDENCE_MIN_UNPROVEN),
            _ => blend.and_then(|blend| blend.confidence_min),
        };
        Terms {
            when: self.config.when,
            below: blend.map_or(0.0, |blend| blend.below),
            router_min: router.confidence_min(),
            both_min,
        }
    }

    /// The weights of its word by itself.
    fn alone(&self) -> Weights {
        Weights::alone(self.config.mode, self.asker.menu().entries().len())
    }

    /// The weights by which the LLM is listened to on a question; none where it is not asked.
    fn weights_for(&self, terms: Terms, verdict: &Verdict, kin: Option<&Kin>) -> Option<Weights> {
        if verdict.scores.is_empty() {
            return None;
        }
        if self.config.when == When::Alone {
            return Some(self.alone());
        }
        let blend = self.blend.as_ref()?;
        // Where nothing was proven its word would change nothing.
        let could_count = terms.both_min.is_some() && !terms.is_settled(verdict);
        (kin.is_some() || could_count).then_some(blend.weights)
    }

    /// From which cosine on what was said of a question is said of another as well; none where that was not learnt, or each
    /// question has a menu of its own.
    fn near_min(&self) -> Option<f32> {
        let near_min = self.blend.as_ref().and_then(|blend| blend.near_min);
        near_min.filter(|_| self.asker.offers_all())
    }

    /// What was said of the question before, or is said now.
    async fn hear(&self, question: &Question<'_>, menu: &Menu, tab: &Tab) -> Turn {
        let without_cost = |heard| Turn {
            heard,
            cost: Cost::default(),
        };
        // The likeliest part of a menu that is too long is another one for each question.
        let key = if self.asker.offers_all() {
            question.text.to_owned()
        } else {
            format!("{} {}", menu.digest(), question.text)
        };
        if let Some(heard) = self.memory.same(&key) {
            return without_cost(Ok((heard, Source::Remembered)));
        }
        let near_min = self.near_min();
        let vector = match near_min {
            Some(_) => question.vector().await,
            None => None,
        };
        if let (Some(least), Some(vector)) = (near_min, vector)
            && let Some(heard) = self.memory.near(vector, least)
        {
            return without_cost(Ok((heard, Source::Near)));
        }
        if question.deadline.is_over() {
            let within = question.deadline.within;
            return without_cost(Err(Failure::Late { within }));
        }
        let (heard, cost) = self.ask(question, menu, tab).await;
        let heard = heard.map(|heard| {
            let heard = Arc::new(heard);
            self.memory.keep(&key, vector.cloned(), &heard);
            (heard, Source::Asked)
        });
        Turn { heard, cost }
    }

    /// Asks, if a seat is free, the expert is not resting, and what it may cost is left.
    async fn ask(
        &self,
        question: &Question<'_>,
        menu: &Menu,
        tab: &Tab,
    ) -> (Result<Heard, Failure>, Cost) {
        let nothing = Cost::default();
        let Ok(_seat) = self.seats.try_acquire() else {
            return (Err(Failure::Crowded), nothing);
        };
        let usd_max = || self.asker.usd_max(question.text, menu);
        let Some(reserved) = self.budget.reserve(tab, usd_max) else {
            return (Err(Failure::OverBudget), nothing);
        };
        // Last of all: of those that come while it rests one probes, which must not be held up by anything else.
        if !self.rest.lets_through(tokio::time::Instant::now()) {
            reserved.cancel();
            return (Err(Failure::Resting), nothing);
        }
        let (heard, cost) = self
            .asker
            .ask(question.text, menu, question.encoder, question.deadline)
            .await;
        reserved.settle(&heard, cost);
        match &heard {
            Ok(_) => self.rest.succeeded(),
            Err(failure) if failure.is_of_a_reply() => self.rest.succeeded(),
            Err(failure) if failure.is_the_experts() => {
                self.rest.failed(tokio::time::Instant::now());
            }
            Err(_) => {}
        }
        (heard, cost)
    }

    /// Whether a question with these scores would be put to it.
    pub fn wants(&self, router: &Router, scores: &[Score]) -> bool {
        let terms = self.terms(router);
        let Some(best) = scores.first().filter(|_| terms.both_min.is_some()) else {
            return false;
        };
        match self.config.when {
            When::Alone => true,
            When::Always => self.is_fitted_for(router),
            When::Unsure | When::Offline => terms.is_unsure(best.probability),
        }
    }

    fn told(&self, turn: &Turn, router: Own, started: Instant) -> Instructed {
        let heard = turn.heard.as_ref().ok().map(|(heard, _)| heard);
        Instructed {
            expert: self.config.expert.clone(),
            mode: self.config.mode,
            when: self.config.when,
            prompt: self.asker.prompt(),
            result: match &turn.heard {
                Ok((_, Source::Asked)) => HEARD,
                Ok((_, Source::Remembered)) => "remembered",
                Ok((_, Source::Near)) => "near",
                Err(failure) => failure.kind(),
            },
            detail: turn.heard.as_ref().err().map(|failure| in_full(failure)),
            // Of a question that is only next to this one it may tell more than whoever asks should know.
            instruction: heard
                .filter(|_| !matches!(turn.heard, Ok((_, Source::Near))))
                .and_then(|heard| heard.said.instruction())
                .map(str::to_owned),
            nearest: heard.map(|heard| heard.nearest.clone()).unwrap_or_default(),
            router,
            both: None,
            new: None,
            parts: Vec::new(),
            usage: turn.cost.usage,
            cost_usd: turn.cost.usd,
            took_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// The blend; none where there is no such file, which is told in the log.
fn read(config: &InstructionConfig) -> Result<Option<Blend>, BlendError> {
    match Blend::read(&config.blend) {
        Ok(blend) => Ok(Some(blend)),
        Err(BlendError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            if config.when != When::Alone {
                warn!(
                    "the instruction tier is left alone: nothing was learnt of its word yet; run `coterie instruct fit`, which writes `{}`",
                    config.blend.display()
                );
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What the router says by itself.
fn own(verdict: &Verdict, terms: Terms) -> Own {
    Own {
        tier: verdict.tier,
        confidence_min: terms.router_min,
        routes: verdict.standing == Standing::Confident,
        scores: verdict.scores.iter().take(PARTS_TOLD).cloned().collect(),
    }
}

/// What each part says of the likeliest categories.
fn parts(weighed: &[Score], alone: &[Score], evidence: &Evidence) -> Vec<Part> {
    let likeliest = weighed.iter().take(PARTS_TOLD);
    let part = |score: &Score| {
        let known = alone.iter().find(|other| other.category == score.category);
        Part {
            category: score.category.clone(),
            router: known.map_or(0.0, |score| score.probability),
            said: evidence.value(&score.category),
            both: score.probability,
        }
    };
    likeliest.map(part).collect()
}
