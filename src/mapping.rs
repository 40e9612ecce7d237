//! Step two: category → expert and its fallbacks, after the limits of the request. Knows nothing of HTTP or SQL, and
//! nothing of how a category was found.

mod demand;
pub mod evaluate;
pub mod explore;
pub mod fit;
mod limits;
pub mod quality;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

pub(crate) use demand::BYTES_PER_TOKEN;
pub use demand::Demand;
pub use explore::{Chance, Consent, Explore, Posteriors};
pub use limits::{Limit, OverBudget, PassedOver, Payer, Purse, Resting, Today};
pub use quality::{Predicted, Quality, QualityModel, Question};

use crate::{
    config::{CascadeConfig, ExpertConfig, MappingConfig, Prefer, Preference},
    ids::{CategoryId, ExpertId, MappingId},
};
use explore::others::Explored;
use limits::ExpertFacts;

/// Hexadecimal digits of a mapping's id: enough to tell all mappings of a house apart.
const ID_DIGITS: usize = 12;

/// Which expert answers what. Never changed; another mapping takes its place whole.
#[derive(Debug)]
pub struct Mapping {
    id: MappingId,
    config: MappingConfig,
    facts: HashMap<ExpertId, ExpertFacts>,
    quality: Option<Arc<dyn Quality>>,
}

/// What an expert is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What the question is about; none where no category covers it.
    pub category: Option<&'a CategoryId>,
    /// What is predicted of experts, the best value first ([`Mapping::predict`]).
    pub predicted: &'a [Predicted],
    /// What counts for this question.
    pub prefer: Prefer,
    /// What it demands of whoever answers.
    pub demand: &'a Demand,
    /// What has been spent so far.
    pub today: Today,
    /// Who is left alone for now.
    pub resting: &'a [Resting],
    /// What may be tried out.
    pub chance: Chance,
    /// How good experts' answers are known to be, for exploration.
    pub posteriors: &'a Posteriors,
}

/// Who is asked, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Who is asked first, or second where there is a cascade.
    pub expert: ExpertId,
    /// Who is asked next if that fails, in order.
    pub fallbacks: Vec<ExpertId>,
    /// Probability with which this expert was chosen; 1 where nothing else could be tried out.
    pub propensity: f64,
    /// The most that the question is expected to cost, in dollars.
    pub usd_estimate: f64,
    /// Why they were chosen.
    pub grounds: Grounds,
}

/// What the mapping went by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grounds {
    /// The mapping in force.
    pub id: MappingId,
    /// What counted.
    pub prefer: Prefer,
    /// How well experts were predicted to answer, the best value first; empty where the category alone decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub predicted: Vec<Predicted>,
    /// Who would have been asked but for a limit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// Who is asked before the expert, and what the answer must pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade: Option<CascadeConfig>,
    /// Whether another expert than the mapping's is tried out.
    #[serde(skip_serializing_if = "is_false")]
    pub explored: bool,
    /// Who else could have been asked first, where the mapping explores: beside the mapping's own expert.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<ExpertId>,
}

/// What a client prefers is not for this house's clients to choose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not among what this server lets clients prefer: {}", asked.as_str(), words(allowed))]
pub struct PreferNotAllowed {
    /// What was asked for.
    pub asked: Preference,
    /// `mapping.prefer_allowed`.
    pub allowed: Vec<Preference>,
}

impl Grounds {
    /// The mapping's word alone.
    pub fn new(id: MappingId, prefer: Prefer) -> Self {
        Self {
            id,
            prefer,
            predicted: Vec::new(),
            passed_over: Vec::new(),
            cascade: None,
            explored: false,
            others: Vec::new(),
        }
    }
}

impl Mapping {
    /// Joins the mapping with what it needs to know of each expert, and with what predicts their success.
    pub fn new(
        config: MappingConfig,
        experts: &[ExpertConfig],
        quality: Option<Arc<dyn Quality>>,
    ) -> Self {
        let facts = experts
            .iter()
            .map(|expert| (expert.id.clone(), ExpertFacts::of(expert)))
            .collect();
        Self {
            id: id(&config),
            config,
            facts,
            quality,
        }
    }

    /// A digest of everything that the mapping says.
    pub fn id(&self) -> &MappingId {
        &self.id
    }

    /// What counts for a question whose client prefers something, or nothing.
    ///
    /// # Errors
    /// The client may not choose that.
    pub fn prefer(&self, asked: Option<Preference>) -> Result<Prefer, PreferNotAllowed> {
        match asked {
            None => Ok(self.config.prefer),
            Some(asked) if self.config.prefer_allowed.contains(&asked) => Ok(Prefer::Word(asked)),
            Some(asked) => Err(PreferNotAllowed {
                asked,
                allowed: self.config.prefer_allowed.clone(),
            }),
        }
    }

    /// Who answers a category's question, or one that no category covers.
    ///
    /// Where there is a quality model the expert of the best predicted value goes first; the category's own follow. Where
    /// the mapping explores and the question may be tried out, another may go before them.
    ///
    /// # Errors
    /// There are experts that could answer, and none of them within the budget.
    pub fn choose(&self, wanted: &Wanted<'_>) -> Result<Choice, OverBudget> {
        let predicted = wanted.predicted;
        let (mut order, mut passed_over) = (Vec::new(), Vec::new());
        for expert in self.candidates(wanted, predicted) {
            match self.limit(expert, wanted.demand, wanted.today) {
                None => order.push(expert.clone()),
                Some(limit) => passed_over.push(PassedOver::new(expert, limit)),
            }
        }
        if order.is_empty() {
            order.push(self.stand_in(wanted)?);
        }
        passed_over.extend(Resting::to_the_end(wanted.resting, &mut order));
        let cascade = self
            .cascade(&order, wanted, predicted)
            .unwrap_or_else(|first| {
                passed_over.push(first);
                None
            });
        let usd_cascade = cascade.map_or(0.0, |cascade| self.usd_cascade(cascade, wanted.demand));
        // What a cascade's first answer is worth says little of the expert behind it: such questions are left alone.
        let explored = match cascade {
            None => self.explore(wanted, &mut order),
            Some(_) => Explored::nothing(),
        };
        let usd_estimate = self.usd_most(&order, wanted.demand) + usd_cascade;
        Ok(Choice {
            expert: order.remove(0),
            fallbacks: order,
            propensity: explored.propensity,
            usd_estimate,
            grounds: Grounds {
                predicted: predicted.to_vec(),
                passed_over,
                cascade: cascade.cloned(),
                explored: explored.explored,
                others: explored.others,
                ..Grounds::new(self.id.clone(), wanted.prefer)
            },
        })
    }

    /// Takes an expert that the client named, whom what a question or the day may cost alone can rule out.
    ///
    /// # Errors
    /// It would exceed that.
    pub fn named(
        &self,
        expert: ExpertId,
        demand: &Demand,
        today: Today,
    ) -> Result<Choice, OverBudget> {
        let usd_estimate = self.usd_estimate(&expert, demand);
        self.within_question(usd_estimate)?;
        self.within_day(usd_estimate, today)?;
        Ok(Choice {
            expert,
            fallbacks: Vec::new(),
            propensity: 1.0,
            usd_estimate,
            grounds: Grounds::new(self.id.clone(), self.config.prefer),
        })
    }

    /// Who would answer a short plain question about a category, in order; nobody where the budget is used up.
    pub fn listed(&self, category: Option<&CategoryId>, today: Today) -> Vec<ExpertId> {
        let plain = (Demand::plain(), Posteriors::default());
        let wanted = self.wanted_plainly(category, &plain, today);
        let assigned = self.assigned(category).into_iter();
        let within = |expert: &&ExpertId| self.limit(expert, wanted.demand, today).is_none();
        let order: Vec<ExpertId> = assigned.filter(within).cloned().collect();
        if order.is_empty() {
            return self.stand_in(&wanted).into_iter().collect();
        }
        order
    }

    /// Who would be asked before them by the category's cascade, whatever a quality model predicts of the question.
    pub fn listed_first(&self, category: &CategoryId, today: Today) -> Option<ExpertId> {
        let order = self.listed(Some(category), today);
        let plain = (Demand::plain(), Posteriors::default());
        let wanted = self.wanted_plainly(Some(category), &plain, today);
        let cascade = self.cascade(&order, &wanted, &[]).ok().flatten();
        cascade.map(|cascade| cascade.first.clone())
    }

    fn wanted_plainly<'a>(
        &self,
        category: Option<&'a CategoryId>,
        (demand, posteriors): &'a (Demand, Posteriors),
        today: Today,
    ) -> Wanted<'a> {
        Wanted {
            category,
            predicted: &[],
            prefer: self.config.prefer,
            demand,
            today,
            resting: &[],
            chance: Chance::None,
            posteriors,
        }
    }

    /// Whether one of a category's own experts meets the demand and is not left alone, so that its questions need no stand-in.
    pub fn serves(
        &self,
        category: &CategoryId,
        demand: &Demand,
        today: Today,
        resting: &[Resting],
    ) -> bool {
        let is_resting = |expert: &ExpertId| Resting::limit(resting, expert).is_some();
        let mut assigned = self.assigned(Some(category)).into_iter();
        assigned.any(|expert| !is_resting(expert) && self.limit(expert, demand, today).is_none())
    }

    /// Whom the configuration wants for a category, in order.
    fn assigned(&self, category: Option<&CategoryId>) -> Vec<&ExpertId> {
        match category.and_then(|category| self.config.assigned(category)) {
            Some(assigned) => std::iter::once(&assigned.expert)
                .chain(&assigned.fallbacks)
                .collect(),
            None => std::iter::once(&self.config.default)
                .chain(&self.config.default_fallbacks)
                .collect(),
        }
    }

    /// Whether what a question says decides who answers it, beside its category.
    pub fn has_quality_model(&self) -> bool {
        self.quality.is_some()
    }

    /// What the quality model, if there is one, says of the experts that there are, the best value first.
    pub fn predict(&self, question: &Question<'_>) -> Vec<Predicted> {
        let Some(quality) = &self.quality else {
            return Vec::new();
        };
        let mut predicted = quality.predict(question);
        predicted.retain(|predicted| self.facts.contains_key(&predicted.expert));
        Predicted::rank(&mut predicted);
        predicted
    }

    /// Everyone who may be asked, in order, each once: of the predicted the best that meets the demand, with those that
    /// are better and do not; then the category's own.
    fn candidates<'a>(
        &'a self,
        wanted: &Wanted<'_>,
        predicted: &'a [Predicted],
    ) -> Vec<&'a ExpertId> {
        let meets = |predicted: &Predicted| {
            self.limit(&predicted.expert, wanted.demand, wanted.today)
                .is_none()
        };
        let best = predicted.iter().position(meets);
        let mut candidates: Vec<&ExpertId> = best
            .map_or(&[][..], |best| &predicted[..=best])
            .iter()
            .map(|predicted| &predicted.expert)
            .collect();
        for expert in self.assigned(wanted.category) {
            if !candidates.contains(&expert) {
                candidates.push(expert);
            }
        }
        candidates
    }

    /// The category's cascade, where it has one, unless a limit keeps its first expert or its judge from being asked, or all of it
    /// together costs too much.
    fn cascade(
        &self,
        order: &[ExpertId],
        wanted: &Wanted<'_>,
        predicted: &[Predicted],
    ) -> Result<Option<&CascadeConfig>, PassedOver> {
        let (demand, today) = (wanted.demand, wanted.today);
        let cascade = wanted.category.and_then(|category| {
            let mut cascades = self.config.cascades.iter();
            cascades.find_map(|(known, cascade)| (known == category).then_some(cascade))
        });
        // One answer is checked, not several; and who answers anyway is not asked twice.
        let Some(cascade) = cascade
            .filter(|cascade| demand.choices_wanted == 1 && order.first() != Some(&cascade.first))
        else {
            return Ok(None);
        };
        let usd_estimate = self.usd_most(order, demand) + self.usd_cascade(cascade, demand);
        let limit = self
            .limit(&cascade.first, demand, today)
            .or_else(|| Resting::limit(wanted.resting, &cascade.first))
            .or_else(|| self.limit_of_cost(usd_estimate, today))
            .or_else(|| limit_of_success(cascade, predicted));
        if let Some(limit) = limit {
            return Err(PassedOver::new(&cascade.first, limit));
        }
        // Without its judge a first answer would be paid for in vain.
        let limit_of = |judge: &ExpertId| {
            let limit = self.limit_of_judge(judge, demand);
            let limit = limit.or_else(|| Resting::limit(wanted.resting, judge))?;
            Some(PassedOver::new(judge, limit))
        };
        match cascade.accept.judge.as_ref().and_then(limit_of) {
            None => Ok(Some(cascade)),
            Some(passed_over) => Err(passed_over),
        }
    }
}

/// Whether too little is predicted of a cascade's first expert for it to be asked.
fn limit_of_success(cascade: &CascadeConfig, predicted: &[Predicted]) -> Option<Limit> {
    let success_min = cascade.accept.predicted_success_min?;
    let mut predicted = predicted.iter();
    let success = predicted
        .find(|predicted| predicted.expert == cascade.first)
        .map(|predicted| predicted.score);
    let is_enough = success.is_some_and(|success| success >= success_min);
    (!is_enough).then_some(Limit::PredictedSuccess {
        success,
        success_min,
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(value: &bool) -> bool {
    !value
}

fn id(config: &MappingConfig) -> MappingId {
    let mut digest = hex::encode(Sha256::digest(json!(config).to_string()));
    digest.truncate(ID_DIGITS);
    MappingId::new(digest)
}

fn words(allowed: &[Preference]) -> String {
    if allowed.is_empty() {
        return "nothing".to_owned();
    }
    let words: Vec<&str> = allowed.iter().map(|allowed| allowed.as_str()).collect();
    words.join(", ")
}
