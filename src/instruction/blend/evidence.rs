//! What an LLM says of each class, as numbers beside the router's. Pure.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    decision::Score,
    ids::{CategoryId, OUT_OF_DOMAIN},
    instruction::{menu::Menu, reply::Said},
    router::SCORES_MAX,
};

/// The router's probability of a class that it finds impossible.
const PROBABILITY_MIN: f64 = 1e-4;

/// What an LLM says of each class of a menu, on a scale that its mode has.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    of: HashMap<CategoryId, f64>,
    /// What is said of classes that were not offered: no more than of the least of the others.
    least: f64,
}

/// What an LLM says of each class on the mean of many questions: its liking for words, not for what they mean. Taking that off
/// is batch calibration (Zhou et al., arXiv:2309.17249).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prior(BTreeMap<CategoryId, f64>);

impl Prior {
    /// The mean of what was said of each class.
    pub fn of<'e>(evidence: impl IntoIterator<Item = &'e Evidence>) -> Self {
        let mut sums: BTreeMap<CategoryId, (f64, f64)> = BTreeMap::new();
        for (class, value) in evidence.into_iter().flat_map(|evidence| &evidence.of) {
            let (sum, times) = sums.entry(class.clone()).or_default();
            *sum += value;
            *times += 1.0;
        }
        Self(
            sums.into_iter()
                .map(|(class, (sum, times))| (class, sum / times))
                .collect(),
        )
    }
}

impl Evidence {
    /// What was said about a menu; `nearness` is the cosine of each entry's card to the instruction, where one was written.
    pub fn of(menu: &Menu, said: &Said, nearness: &[f32]) -> Self {
        let values: Vec<f64> = match said {
            Said::Likelihoods(logprobs) => logprobs.clone(),
            Said::Named(named) => (0..menu.entries().len())
                .map(|at| f64::from(u8::from(at == *named)))
                .collect(),
            Said::Instruction(_) => nearness.iter().map(|cosine| f64::from(*cosine)).collect(),
        };
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let entries = menu.entries().iter().map(|entry| entry.category.clone());
        Self {
            of: entries.zip(values).collect(),
            least: if least.is_finite() { least } else { 0.0 },
        }
    }

    /// The same, less what is said whatever the question: of a class of which that is not known, what is said of the others on
    /// the mean.
    #[must_use]
    pub fn less(mut self, prior: &Prior) -> Self {
        let known: Vec<f64> = self
            .of
            .keys()
            .filter_map(|it| prior.0.get(it))
            .copied()
            .collect();
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        for (class, value) in &mut self.of {
            *value -= prior.0.get(class).copied().unwrap_or(mean);
        }
        let least = self.of.values().copied().fold(f64::INFINITY, f64::min);
        self.least = if least.is_finite() { least } else { 0.0 };
        self
    }

    /// What it says of a class.
    pub fn value(&self, class: &CategoryId) -> f64 {
        self.of.get(class).copied().unwrap_or(self.least)
    }
}

/// The classes that the router or the LLM speaks of, by name.
pub(super) fn classes(scores: &[Score], evidence: &Evidence) -> Vec<CategoryId> {
    let scored = scores.iter().map(|score| score.category.clone());
    let mut classes: Vec<CategoryId> = scored.chain(evidence.of.keys().cloned()).collect();
    classes.sort();
    classes.dedup();
    classes
}

/// What is known of a class, in the order of the weights. One of which the router says nothing is as likely as any, but where it
/// knows more classes than it tells of: then the others are next to impossible.
pub(super) fn features(class: &CategoryId, scores: &[Score], evidence: &Evidence) -> [f64; 3] {
    let score = scores.iter().find(|score| score.category == *class);
    let unknown = match scores.len() {
        SCORES_MAX.. => 0.0,
        known => 1.0 / (known as f64 + 1.0),
    };
    let probability = score.map_or(unknown, |score| f64::from(score.probability));
    [
        probability.max(PROBABILITY_MIN).ln(),
        evidence.value(class),
        f64::from(u8::from(class.as_str() == OUT_OF_DOMAIN)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::menu;

    #[test]
    fn what_is_said_whatever_the_question_is_taken_off() {
        let menu = Menu::of(&menu::tests::catalogue(&["law", "math"]));
        let evidence = |law: f64| {
            let said = Said::Likelihoods([law, 0.1, 0.9 - law].map(f64::ln).to_vec());
            Evidence::of(&menu, &said, &[])
        };
        let many = [evidence(0.6), evidence(0.7), evidence(0.8)];
        let prior = Prior::of(&many);
        let [law, math] = ["law", "math"].map(CategoryId::new);
        assert!(evidence(0.6).value(&law) > evidence(0.6).value(&math));
        let less = evidence(0.6).less(&prior);
        assert!(less.value(&law) < less.value(&math), "{less:?}");
    }

    #[test]
    fn a_class_that_is_new_is_not_at_a_disadvantage() {
        let old = Menu::of(&menu::tests::catalogue(&["law", "math"]));
        let even = |menu: &Menu| {
            let classes = menu.entries().len();
            let said = Said::Likelihoods(vec![-(classes as f64).ln(); classes]);
            Evidence::of(menu, &said, &[])
        };
        let prior = Prior::of([&even(&old)]);
        let new = Menu::of(&menu::tests::catalogue(&["art", "law", "math"]));
        let less = even(&new).less(&prior);
        let [art, law] = ["art", "law"].map(CategoryId::new);
        assert!(
            (less.value(&art) - less.value(&law)).abs() < 1e-9,
            "{less:?}"
        );
    }
}
