//! Asking the LLM about one question.

use std::{sync::Arc, time::Duration};

use tokio::{sync::OnceCell, time::timeout_at};

use super::{
    InstructionConfig, Mode, Nearest, OVER_BUDGET, When,
    blend::{Evidence, Learnt},
    memory::cosine,
    menu::Menu,
    prompt::{self, Means},
    question::Deadline,
    reply::{self, Said, Unusable},
    unseen::Unseen,
    writing::model_of,
};
use crate::{
    catalogue::Cards,
    chat::{ChatRequest, Usage},
    config::{Capability, Config, Delivery, ExpertConfig, ExpertKind, Guard},
    decision::Score,
    expert::{Answer, Call, ErrorClass, ExpertError, Experts, Role},
    ids::{CategoryId, ExpertId, RouterId},
    outcome::Prices,
    router::{
        Router,
        encoder::{Encoder, EncoderError},
    },
};

/// Cards that are told as the nearest to an instruction.
const NEAREST_TOLD: usize = 5;

/// An expert that is asked what questions demand.
pub struct Asker {
    experts: Arc<Experts>,
    expert: ExpertId,
    model: String,
    delivery: Arc<Delivery>,
    prices: Option<Prices>,
    means: Means,
    mode: Mode,
    menu: Menu,
    cards: Cards,
    settings: String,
    pub(super) unseen: Unseen,
    /// The vectors of the cards, of the menu's entries and then of the experts'; made when they are first needed.
    vectors: OnceCell<CardVectors>,
}

struct CardVectors {
    entries: Vec<Vec<f32>>,
    experts: Vec<(ExpertId, Vec<f32>)>,
}

/// What was said of a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The expert's word.
    pub said: Said,
    /// How near each entry's card is to the instruction, where one was written.
    pub(super) nearness: Vec<f32>,
    /// The nearest cards of all.
    pub nearest: Vec<Nearest>,
}

/// What asking took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Tokens, as the expert counted them.
    pub usage: Option<Usage>,
    /// Dollars; none where the price or the count is unknown.
    pub usd: Option<f64>,
}

/// Why there is no word of it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It took too long.
    #[error("it took longer than {within:?}")]
    TimedOut {
        /// What it may take.
        within: Duration,
    },
    /// The expert failed.
    #[error(transparent)]
    Expert(#[from] ExpertError),
    /// Its reply means nothing.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// What it wrote could not be compared with the cards.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The encoder alone took all the time, so that nobody was asked.
    #[error("reading the question alone took longer than {within:?}")]
    Late {
        /// What all may take.
        within: Duration,
    },
    /// As many questions as may be are under way.
    #[error("as many questions as may be are being asked about")]
    Crowded,
    /// It failed too often lately.
    #[error("it is left alone after failures")]
    Resting,
    /// What it may cost is more than is left today.
    #[error("what it may cost is more than is left today")]
    OverBudget,
}

impl Failure {
    /// One word for metrics and outcomes.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "timed_out",
            Self::Expert(_) => "failed",
            Self::Unusable(unusable) => unusable.kind(),
            Self::Encoder(_) => "encoder_failed",
            Self::Late { .. } => "late",
            Self::Crowded => "crowded",
            Self::Resting => "resting",
            Self::OverBudget => OVER_BUDGET,
        }
    }

    /// Whether the expert answered, whatever its reply is worth.
    pub(super) fn is_of_a_reply(&self) -> bool {
        matches!(self, Self::Unusable(_) | Self::Encoder(_))
    }

    /// Whether the expert is at fault, so that it may have to be left alone. A reply that means nothing may be the question's
    /// doing: one client must not take it from the others.
    pub(super) fn is_the_experts(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::Expert(error) => !matches!(
                error.class(),
                ErrorClass::BadRequest
                    | ErrorClass::ContextTooLong
                    | ErrorClass::PolicyRefused
                    | ErrorClass::Resting
                    | ErrorClass::Stopping
            ),
            _ => false,
        }
    }
}

impl Asker {
    /// The one that a configuration has; none where `config` does not have the expert.
    pub fn configured(
        config: &Config,
        instruction: &InstructionConfig,
        experts: &Arc<Experts>,
    ) -> Option<Self> {
        let of = |id: &ExpertId| config.experts.iter().find(|expert| expert.id == *id);
        let expert = of(&instruction.expert)?;
        let mut cards = config.catalogue.cards.clone();
        // The cards of experts of other houses say nothing here.
        cards.experts.retain(|expert, _| of(expert).is_some());
        let router = &config.router;
        Some(Self {
            experts: Arc::clone(experts),
            expert: expert.id.clone(),
            model: model_of(expert),
            delivery: Arc::clone(&config.delivery.house),
            prices: Prices::of(expert),
            means: means(expert),
            mode: instruction.mode,
            menu: Menu::of(&config.catalogue),
            cards,
            settings: format!(
                "misroute_max {}, guard {}",
                router.misroute_max,
                if router.guard == Guard::On {
                    "on"
                } else {
                    "off"
                }
            ),
            unseen: Unseen::new(&config.catalogue),
            vectors: OnceCell::new(),
        })
    }

    /// Who is asked.
    pub fn expert(&self) -> &ExpertId {
        &self.expert
    }

    /// How.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether it is a model in this process, which keeps what it has read.
    pub fn is_local(&self) -> bool {
        self.means == Means::Local
    }

    /// The version of the words with which it is asked.
    pub fn prompt(&self) -> &'static str {
        prompt::version(self.mode, self.means)
    }

    /// What would be learnt of it beside a router.
    pub fn learnt(&self, router: &RouterId, when: When) -> Learnt {
        Learnt {
            router: router.clone(),
            expert: self.expert.clone(),
            model: self.model.clone(),
            mode: self.mode,
            prompt: self.prompt().to_owned(),
            when,
            cards: self.menu.digests(),
            settings: self.settings.clone(),
        }
    }

    /// What it may choose from.
    pub fn menu(&self) -> &Menu {
        &self.menu
    }

    /// What a question is asked with: the whole menu, or the likeliest part of one that is too long.
    /// `kin`: one that the router does not know, and that is offered whatever is left out.
    pub fn menu_for(&self, scores: &[Score], kin: Option<&CategoryId>) -> Menu {
        if self.offers_all() {
            self.menu.clone()
        } else {
            self.menu.likeliest(scores, kin)
        }
    }

    /// Whether every question is asked with the whole menu.
    pub(super) fn offers_all(&self) -> bool {
        prompt::offers_all(self.mode, &self.menu, self.means)
    }

    /// The most dollars that asking about a question may cost; none where prices are not known.
    pub(super) fn usd_max(&self, question: &str, menu: &Menu) -> Option<f64> {
        let body = prompt::body(self.mode, menu, question, self.means);
        let bytes = body.to_string().len() as u64;
        let answer = body["max_tokens"].as_u64().unwrap_or_default();
        // No text has more tokens than bytes.
        let most = Usage {
            prompt_tokens: bytes,
            completion_tokens: answer,
        };
        Some(self.prices?.cost_usd(most))
    }

    /// Asks about a question, until a deadline. `menu` is the whole one, or the likeliest part of it.
    ///
    /// # Errors
    /// Why there is no word of it; what it cost is told all the same.
    pub async fn ask(
        &self,
        question: &str,
        menu: &Menu,
        encoder: &Encoder,
        deadline: Deadline,
    ) -> (Result<Heard, Failure>, Cost) {
        let mut cost = Cost::default();
        let asking = async {
            let said = self.said(question, menu, deadline, &mut cost).await?;
            self.compared(said, menu, encoder).await
        };
        let heard = timeout_at(deadline.at, asking).await;
        let heard = heard.unwrap_or(Err(Failure::TimedOut {
            within: deadline.within,
        }));
        (heard, cost)
    }

    async fn said(
        &self,
        question: &str,
        menu: &Menu,
        deadline: Deadline,
        cost: &mut Cost,
    ) -> Result<Said, Failure> {
        let mut body = prompt::body(self.mode, menu, question, self.means);
        body["model"] = self.expert.as_str().into();
        let request = ChatRequest::parse(body).map_err(|invalid| ExpertError::Model {
            detail: invalid.to_string(),
        })?;
        let call = Call {
            deadline: Some(deadline.at),
            ..Call::new(Arc::new(request), Arc::clone(&self.delivery)).aside(Role::Route)
        };
        let order = std::slice::from_ref(&self.expert);
        let answered = self
            .experts
            .answer(order, &call)
            .await
            .map_err(|error| match error {
                // Its clock may ring first.
                ExpertError::OutOfTime { .. } => Failure::TimedOut {
                    within: deadline.within,
                },
                ExpertError::TimedOut { waited } => Failure::TimedOut { within: waited },
                other => other.into(),
            })?;
        let Answer::Whole(completion) = answered.answer else {
            return Err(Unusable::Form.into());
        };
        cost.usage = completion.usage();
        cost.usd = self
            .prices
            .zip(cost.usage)
            .map(|(prices, usage)| prices.cost_usd(usage));
        let said = reply::read(self.mode, menu, self.means, &completion)?;
        match said.instruction() {
            Some(instruction) if reply::repeats(instruction, question) => {
                Err(Unusable::Repeats.into())
            }
            _ => Ok(said),
        }
    }

    /// Compares an instruction with the cards.
    async fn compared(&self, said: Said, menu: &Menu, encoder: &Encoder) -> Result<Heard, Failure> {
        let Said::Instruction(instruction) = &said else {
            return Ok(Heard {
                said,
                nearness: Vec::new(),
                nearest: Vec::new(),
            });
        };
        let cards = self
            .vectors
            .get_or_try_init(|| self.card_vectors(encoder))
            .await?;
        let vector = encoder.embed_question(instruction.clone()).await?.vector;
        let whole = self.menu.entries().iter().zip(&cards.entries);
        let of_all: Vec<_> = whole
            .map(|(entry, card)| (&entry.category, cosine(card, &vector)))
            .collect();
        let nearness = menu.entries().iter().map(|entry| {
            let known = of_all
                .iter()
                .find(|(category, _)| **category == entry.category);
            known.map_or(0.0, |(_, cosine)| *cosine)
        });
        let nearness = nearness.collect();
        let categories = of_all.iter().map(|(category, cosine)| Nearest {
            of: "category",
            id: category.to_string(),
            cosine: *cosine,
        });
        let experts = cards.experts.iter().map(|(expert, card)| Nearest {
            of: "expert",
            id: expert.to_string(),
            cosine: cosine(card, &vector),
        });
        let mut nearest: Vec<Nearest> = categories.chain(experts).collect();
        nearest.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
        nearest.truncate(NEAREST_TOLD);
        Ok(Heard {
            said,
            nearness,
            nearest,
        })
    }

    /// Has the encoder read what questions and descriptions will be compared with. `near`: questions will be compared with
    /// each other, so that it must be ready.
    ///
    /// # Errors
    /// The encoder fails.
    pub(super) async fn read_cards(&self, router: &Router, near: bool) -> Result<(), EncoderError> {
        let encoder = router.encoder();
        if near {
            encoder.start().await?;
        }
        if self.mode == Mode::Describe {
            self.vectors
                .get_or_try_init(|| self.card_vectors(encoder))
                .await?;
        }
        if !self.unseen.unknown_to(router.categories()).is_empty() {
            self.unseen.read(encoder).await?;
        }
        Ok(())
    }

    async fn card_vectors(&self, encoder: &Encoder) -> Result<CardVectors, EncoderError> {
        let entries = self.menu.entries().iter().map(|entry| entry.card.clone());
        let experts = self
            .cards
            .experts
            .values()
            .map(|card| card.instruction.clone());
        let texts: Vec<String> = entries.chain(experts).collect();
        let mut entries = encoder.vectors(&texts).await?;
        let experts = entries.split_off(self.menu.entries().len());
        Ok(CardVectors {
            entries,
            experts: self.cards.experts.keys().cloned().zip(experts).collect(),
        })
    }
}

impl Heard {
    /// What it says of each class of the menu that was asked with.
    pub fn evidence(&self, menu: &Menu) -> Evidence {
        Evidence::of(menu, &self.said, &self.nearness)
    }
}

/// What an expert can be held to.
pub fn means(expert: &ExpertConfig) -> Means {
    match expert.kind {
        ExpertKind::Local { .. } => Means::Local,
        ExpertKind::Remote(_) if expert.capabilities.contains(&Capability::Json) => Means::Json,
        ExpertKind::Remote(_) => Means::Words,
    }
}
