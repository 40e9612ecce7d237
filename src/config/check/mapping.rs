//! `mapping`: who answers which category.

use std::collections::BTreeMap;

use crate::{
    config::{
        Assignment, Capability, MappingConfig, document::Place, raw, routes::Routes,
        suggest::suggest,
    },
    ids::{CategoryId, ExpertId, OUT_OF_DOMAIN},
};

use super::Check;

/// What the mapping may name.
#[derive(Clone, Copy)]
pub(in crate::config) struct Known<'a> {
    /// `experts`: every id, with a mistaken value or not.
    pub experts_place: Place<'a>,
    /// What is understood of them.
    pub experts: Option<&'a BTreeMap<String, raw::Expert>>,
    /// The routes.
    pub routes: &'a Routes,
}

pub(in crate::config) fn mapping(
    raw: &raw::Mapping,
    place: Place<'_>,
    known: Known<'_>,
    check: &mut Check<'_>,
) -> Option<MappingConfig> {
    let mut used = Vec::new();
    if let Some(expert) = raw.default.as_deref() {
        check_expert(expert, place.at("default"), known, check);
        used.push(expert);
    }
    let mut in_order: Vec<_> = raw.categories.iter().collect();
    in_order.sort_by_key(|(category, _)| place.key(category).position);
    let mut categories = Vec::new();
    for (category, raw) in in_order {
        check_category(category, place.key(category), known, check);
        let Some(assignment) = assignment(raw, place.at(category), known, check) else {
            continue;
        };
        categories.push((CategoryId::new(category.as_str()), assignment));
    }
    for (_, assignment) in &categories {
        used.push(assignment.expert.as_str());
        used.extend(assignment.fallbacks.iter().map(ExpertId::as_str));
    }
    if raw.budget.usd_per_question.is_some() {
        check_prices(&used, known, check);
    }
    Some(MappingConfig {
        default: ExpertId::new(raw.default.as_deref()?),
        usd_per_question_max: raw.budget.usd_per_question,
        categories,
    })
}

fn assignment(
    raw: &raw::Assignment,
    place: Place<'_>,
    known: Known<'_>,
    check: &mut Check<'_>,
) -> Option<Assignment> {
    let raw = match raw {
        raw::Assignment::WithFallbacks(raw) => raw,
        raw::Assignment::Expert(expert) => {
            check_expert(expert, place, known, check);
            return Some(Assignment {
                expert: ExpertId::new(expert.as_str()),
                fallbacks: Vec::new(),
            });
        }
    };
    let mut order: Vec<&str> = Vec::new();
    if let Some(expert) = raw.expert.as_deref() {
        check_expert(expert, place.at("expert"), known, check);
        order.push(expert);
    }
    for (fallback, place) in raw.fallbacks.iter().zip(place.at("fallbacks").texts()) {
        if order.contains(&fallback.as_str()) {
            let message = format!("`{fallback}` is asked already");
            check.wrong(place, message, "name each expert once");
        } else {
            check_expert(fallback, place, known, check);
            order.push(fallback);
        }
    }
    Some(Assignment {
        expert: ExpertId::new(raw.expert.as_deref()?),
        fallbacks: order.into_iter().skip(1).map(ExpertId::new).collect(),
    })
}

fn check_expert(id: &str, place: Place<'_>, known: Known<'_>, check: &mut Check<'_>) {
    if known.experts_place.keys().next().is_none() {
        return; // `experts` itself is wrong, and that is reported already.
    }
    if !known.experts_place.keys().any(|key| key == id) {
        let help = suggest(id, known.experts_place.keys());
        let message = format!("there is no expert `{id}`");
        check.mistakes.add(place, message, help);
        return;
    }
    let expert = known.experts.and_then(|experts| experts.get(id));
    if expert.is_some_and(|expert| !expert.capabilities().contains(&Capability::Chat)) {
        let message = format!("`{id}` does not answer conversations");
        let help = "name another expert, or add `chat` to its `capabilities`";
        check.wrong(place, message, help);
    }
}

fn check_category(category: &str, place: Place<'_>, known: Known<'_>, check: &mut Check<'_>) {
    if category == OUT_OF_DOMAIN {
        let message = format!("`{OUT_OF_DOMAIN}` has no entry of its own");
        check.wrong(place, message, "`default` answers what no category covers");
        return;
    }
    let mut categories = known.routes.categories().peekable();
    if categories.peek().is_none() {
        return; // The folder of routes is wrong, and that is reported already.
    }
    if !known.routes.categories().any(|known| known == category) {
        let keys = ["default", "budget"];
        let help = suggest(category, categories.chain(keys));
        let message = format!("no route describes the category `{category}`");
        check.mistakes.add(place, message, help);
    }
}

fn check_prices(used: &[&str], known: Known<'_>, check: &mut Check<'_>) {
    for (id, expert) in known.experts.into_iter().flatten() {
        let (usd_in, usd_out) = expert.prices();
        if used.contains(&id.as_str()) && (usd_in.is_none() || usd_out.is_none()) {
            let message = format!("`{id}` has no price, and `mapping.budget` needs one");
            let help = "add `usd_in` and `usd_out`, dollars per million tokens";
            check.wrong(known.experts_place.key(id), message, help);
        }
    }
}
