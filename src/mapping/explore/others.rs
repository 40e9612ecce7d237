//! Exploration within a choice: who else could be asked, and what comes of it.

use super::{Chance, Explore};
use crate::{
    ids::ExpertId,
    mapping::{Mapping, Resting, Wanted},
};

/// What exploration made of a choice.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::mapping) struct Explored {
    /// Probability with which the first of the order was chosen.
    pub propensity: f64,
    /// Whether that is another one than the mapping's.
    pub explored: bool,
    /// Who else could have been asked first, the mapping's expert left out; in order of their ids.
    pub others: Vec<ExpertId>,
}

impl Explored {
    /// Nothing could be tried out.
    pub(in crate::mapping) fn nothing() -> Self {
        Self {
            propensity: 1.0,
            explored: false,
            others: Vec::new(),
        }
    }
}

impl Mapping {
    /// Whether, and how, the mapping explores; none where it does not.
    pub fn explores(&self) -> Option<Explore> {
        self.config.explore.filter(|explore| explore.share() > 0.0)
    }

    /// Puts another expert in front of the order, if that is what is drawn; the mapping's own comes next.
    pub(in crate::mapping) fn explore(
        &self,
        wanted: &Wanted<'_>,
        order: &mut Vec<ExpertId>,
    ) -> Explored {
        let (Some(explore), Some(favourite)) = (self.explores(), order.first()) else {
            return Explored::nothing();
        };
        if wanted.chance == Chance::None {
            return Explored::nothing();
        }
        let others = self.others(wanted, favourite);
        if others.is_empty() {
            return Explored::nothing();
        }
        let Chance::Drawn(unit) = wanted.chance else {
            return Explored {
                propensity: 1.0 - explore.share(),
                explored: false,
                others,
            };
        };
        let names: Vec<&ExpertId> = others.iter().collect();
        let known = |expert: &ExpertId| wanted.posteriors.of_expert(wanted.category, expert);
        let drawn = explore.draw(favourite, &names, known, unit);
        if drawn.explored {
            order.retain(|expert| *expert != drawn.expert);
            order.insert(0, drawn.expert);
        }
        Explored {
            propensity: drawn.propensity,
            explored: drawn.explored,
            others,
        }
    }

    /// Everyone but the favourite who could and may answer, and is not left alone.
    fn others(&self, wanted: &Wanted<'_>, favourite: &ExpertId) -> Vec<ExpertId> {
        let could = |expert: &&ExpertId| {
            *expert != favourite
                && self.limit(expert, wanted.demand, wanted.today).is_none()
                && Resting::limit(wanted.resting, expert).is_none()
        };
        let mut others: Vec<ExpertId> = self.facts.keys().filter(could).cloned().collect();
        others.sort_unstable();
        others
    }
}
