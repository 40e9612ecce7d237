//! A fitted mapping as it stands under `mapping:` in a configuration, or in a file of its own.

mod read;

use std::collections::BTreeSet;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    plan::{Frame, Plan},
    solve::used,
};
use crate::{
    config::Prefer,
    ids::{CategoryId, ExpertId, OUT_OF_DOMAIN, is_category_name, is_expert_name},
};

pub use self::read::{WrittenError, read};

/// What the comment begins with that names the field of outcomes that the mapping was fitted by.
pub const BY_COMMENT: &str = "by field: ";

/// Fallbacks of a category: more are hardly ever reached.
const FALLBACKS_MAX: usize = 3;

/// Which expert answers what.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Who answers what no category covers.
    pub default: Answering,
    /// Who answers each category's questions.
    pub categories: Vec<(CategoryId, Answering)>,
    /// What chooses question by question, where something does.
    pub second_stage: Option<SecondStage>,
}

/// What chooses question by question.
#[derive(Clone, Debug, PartialEq)]
pub struct SecondStage {
    /// The quality model's file, beside the mapping's.
    pub quality: String,
    /// What counts.
    pub prefer: Prefer,
}

/// Who answers a category's questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answering {
    /// Who is asked first.
    pub expert: ExpertId,
    /// Who is asked if that fails, in order.
    pub fallbacks: Vec<ExpertId>,
}

impl Written {
    /// A plan with the names of its experts and categories.
    pub(super) fn of(
        plan: &Plan,
        frame: &Frame,
        (experts, categories): (&[ExpertId], &[CategoryId]),
    ) -> Self {
        let expert_of = &plan.assignment.expert_of;
        let used = used(expert_of);
        let stands_by = standing_by(frame, &used);
        let answering = |expert: usize, others: Vec<(usize, f64)>| Answering {
            expert: experts[expert].clone(),
            fallbacks: best(others).map(|e| experts[e].clone()).collect(),
        };
        let of_category = |c: usize| {
            let others = stands_by.iter().filter(|e| frame.allowed[[**e, c]]);
            let others = others.filter(|e| **e != expert_of[c]);
            let others = others.map(|e| (*e, plan.scores[[*e, c]])).collect();
            answering(expert_of[c], others)
        };
        let outside = categories
            .iter()
            .position(|category| category.as_str() == OUT_OF_DOMAIN);
        let default = outside.map_or_else(
            || {
                let default = default(plan, frame, &used);
                let others = stands_by.iter().filter(|e| **e != default);
                let others = others.map(|e| (*e, level(plan, frame, *e))).collect();
                answering(default, others)
            },
            of_category,
        );
        Self {
            default,
            categories: (0..categories.len())
                .filter(|c| Some(*c) != outside)
                .map(|c| (categories[c].clone(), of_category(c)))
                .collect(),
            second_stage: None,
        }
    }

    /// The expert of a category, or of what none covers.
    pub fn expert(&self, category: &CategoryId) -> &ExpertId {
        let mut categories = self.categories.iter();
        let found = categories.find(|(known, _)| known == category);
        &found
            .map_or(&self.default, |(_, answering)| answering)
            .expert
    }

    /// Why no configuration takes the file, where names are none that its experts and categories may have.
    pub fn unloadable(&self) -> Option<String> {
        let answering = self.categories.iter().map(|(_, answering)| answering);
        let experts: BTreeSet<&str> = std::iter::once(&self.default)
            .chain(answering)
            .flat_map(|answering| std::iter::once(&answering.expert).chain(&answering.fallbacks))
            .map(ExpertId::as_str)
            .filter(|name| !is_expert_name(name))
            .collect();
        let categories = self
            .categories
            .iter()
            .map(|(category, _)| category.as_str());
        let categories = categories.filter(|name| !is_category_name(name)).collect();
        let told = |what: &str, names: BTreeSet<&str>, letters: &str| {
            let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            (!names.is_empty()).then(|| format!("{what} {} ({letters} alone)", quoted.join(", ")))
        };
        let unfit: Vec<String> = [
            told("experts", experts, "a to z, 0 to 9, `.`, `_` and `-`"),
            told("categories", categories, "a to z, 0 to 9 and `_`"),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!unfit.is_empty()).then(|| {
            format!(
                "`mapping.file` takes this mapping only once these have names that a configuration can have: {}",
                unfit.join("; ")
            )
        })
    }

    /// The file, below comments that say how it came about.
    pub fn yaml(&self, comments: &[String]) -> String {
        let mut yaml: String = comments.iter().map(|line| format!("# {line}\n")).collect();
        if let Some(SecondStage { quality, prefer }) = &self.second_stage {
            let prefer = match prefer {
                Prefer::Word(word) => word.as_str().to_owned(),
                Prefer::CostWeight(lambda) => lambda.to_string(),
            };
            yaml.push_str(&format!("quality: {}\nprefer: {prefer}\n", scalar(quality)));
        }
        yaml.push_str(&format!("default: {}\n", self.default.yaml_default()));
        for (category, answering) in &self.categories {
            let category = scalar(category.as_str());
            yaml.push_str(&format!("{category}: {}\n", answering.yaml()));
        }
        yaml
    }
}

impl Answering {
    fn yaml(&self) -> String {
        let fallbacks = self.fallbacks.iter();
        let fallbacks: Vec<String> = fallbacks.map(|expert| scalar(expert.as_str())).collect();
        let expert = scalar(self.expert.as_str());
        format!(
            "{{ expert: {expert}, fallbacks: [{}] }}",
            fallbacks.join(", ")
        )
    }

    /// The id alone where it says all.
    fn yaml_default(&self) -> String {
        if self.fallbacks.is_empty() {
            scalar(self.expert.as_str())
        } else {
            self.yaml()
        }
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        if let Some(SecondStage { quality, prefer }) = &self.second_stage {
            map.serialize_entry("quality", quality)?;
            map.serialize_entry("prefer", prefer)?;
        }
        if self.default.fallbacks.is_empty() {
            map.serialize_entry("default", &self.default.expert)?;
        } else {
            map.serialize_entry("default", &self.default)?;
        }
        for (category, answering) in &self.categories {
            map.serialize_entry(category, answering)?;
        }
        map.end()
    }
}

/// Who may stand by: all that may answer anything, unless the set of experts is limited; then those that are used.
fn standing_by(frame: &Frame, used: &[usize]) -> Vec<usize> {
    if frame.limits.experts.is_some() || frame.limits.resident_b.is_some() {
        return used.to_vec();
    }
    let rows = frame.allowed.rows().into_iter().enumerate();
    let able = rows.filter(|(_, allowed)| allowed.iter().any(|allowed| *allowed));
    able.map(|(expert, _)| expert).collect()
}

/// The best few by what is expected of them.
fn best(mut others: Vec<(usize, f64)>) -> impl Iterator<Item = usize> {
    others.sort_by(|a, b| b.1.total_cmp(&a.1));
    others.truncate(FALLBACKS_MAX);
    others.into_iter().map(|(expert, _)| expert)
}

/// What an expert is expected to score over all categories.
fn level(plan: &Plan, frame: &Frame, expert: usize) -> f64 {
    let scores = plan.scores.row(expert).into_iter();
    let weighted = scores.zip(&frame.pool.weights);
    weighted.map(|(score, weight)| score * weight).sum()
}

/// The used expert that scores best over all categories, within the budget of active parameters if one is.
fn default(plan: &Plan, frame: &Frame, used: &[usize]) -> usize {
    let Frame { pool, limits, .. } = frame;
    let level = |e: usize| level(plan, frame, e);
    let within = |e: &usize| limits.active_b.is_none_or(|most| pool.params_b[*e] <= most);
    let best = |experts: &mut dyn Iterator<Item = usize>| {
        experts.reduce(|a, b| if level(b) > level(a) { b } else { a })
    };
    best(&mut used.iter().copied().filter(within))
        .or_else(|| {
            used.iter()
                .copied()
                .min_by(|a, b| pool.params_b[*a].total_cmp(&pool.params_b[*b]))
        })
        .unwrap_or_default()
}

/// A name as YAML: plain where that is surely a text, else in quotes.
pub fn scalar(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
            .contains(&name.to_ascii_lowercase().as_str());
    if is_plain {
        name.to_owned()
    } else {
        serde_json::Value::from(name).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_yaml_would_misread_are_quoted() {
        for (name, written) in [
            ("Llama-3.1-8B", "Llama-3.1-8B"),
            ("Llama-2-7b(base)", "\"Llama-2-7b(base)\""),
            ("computer science", "\"computer science\""),
            ("405", "\"405\""),
            ("no", "\"no\""),
            ("a: b", "\"a: b\""),
        ] {
            assert_eq!(scalar(name), written);
        }
    }

    #[test]
    fn names_that_no_configuration_takes_are_told_once() {
        let answering = |expert: &str| Answering {
            expert: ExpertId::new(expert),
            fallbacks: vec![ExpertId::new("Big-7B")],
        };
        let mapping = |category: &str, default: Answering| Written {
            default,
            categories: vec![(CategoryId::new(category), answering("small"))],
            second_stage: None,
        };
        let told = mapping("computer science", answering("small")).unloadable();
        let told = told.unwrap();
        assert!(
            told.contains("experts `Big-7B` (")
                && told.contains("; categories `computer science` ("),
            "{told}"
        );
        let mut fine = mapping("math", answering("small"));
        fine.default.fallbacks.clear();
        fine.categories[0].1.fallbacks.clear();
        assert_eq!(fine.unloadable(), None);
    }
}
