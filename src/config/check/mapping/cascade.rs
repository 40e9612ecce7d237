//! `mapping.cascade`: who is asked before a category's own expert, and when that is enough.

use std::collections::BTreeMap;

use crate::{
    config::{
        Accept, CascadeConfig, MappingConfig, document::Place, mistake::Mistakes, raw, units,
    },
    ids::{CategoryId, ExpertId},
};

use super::Known;

/// The cascades, in the order of the file; those that are mistaken are left out.
pub(super) fn cascades(
    raw: &BTreeMap<String, raw::Cascade>,
    place: Place<'_>,
    config: &MappingConfig,
    known: Known<'_>,
    mistakes: &mut Mistakes,
) -> Vec<(CategoryId, CascadeConfig)> {
    let mut in_order: Vec<_> = raw.iter().collect();
    in_order.sort_by_key(|(category, _)| place.key(category).position);
    let mut cascades = Vec::new();
    for (category, raw) in in_order {
        known.check_category(category, place.key(category), &[], mistakes);
        let category = CategoryId::new(category.as_str());
        let strong = config.assigned(&category);
        let strong = strong.map_or(&config.default, |assigned| &assigned.expert);
        let place = place.at(category.as_str());
        let first = first(raw, place, strong, known, mistakes);
        let accept = accept(raw, place.at("accept"), known, mistakes);
        let within = units::duration(&raw.within.0);
        if within.is_none() {
            let message = format!("`within` is `{}`", raw.within.0);
            let help = "write a time longer than nothing, such as `250ms`, `30s` or `5min`";
            mistakes.add(place.at("within"), message, help.to_owned());
        }
        if let (Some(first), Some(accept), Some(within)) = (first, accept, within) {
            let cascade = CascadeConfig {
                first,
                accept,
                within,
            };
            cascades.push((category, cascade));
        }
    }
    cascades
}

fn first(
    raw: &raw::Cascade,
    place: Place<'_>,
    strong: &ExpertId,
    known: Known<'_>,
    mistakes: &mut Mistakes,
) -> Option<ExpertId> {
    let first = raw.first.as_deref()?;
    known.check_expert(first, place.at("first"), mistakes);
    if first == strong.as_str() {
        let message = format!("`{first}` answers the category already");
        let help = "name a cheaper expert, or take the cascade out".to_owned();
        mistakes.add(place.at("first"), message, help);
    }
    Some(ExpertId::new(first))
}

fn accept(
    raw: &raw::Cascade,
    place: Place<'_>,
    known: Known<'_>,
    mistakes: &mut Mistakes,
) -> Option<Accept> {
    let accept = raw.accept.as_ref()?;
    if let Some(judge) = accept.judge.as_deref() {
        known.check_expert(judge, place.at("judge"), mistakes);
        if raw.first.as_deref() == Some(judge) {
            let message = format!("`{judge}` would judge its own answers");
            let help = "name another expert as `judge`, or use another check".to_owned();
            mistakes.add(place.at("judge"), message, help);
        }
    }
    let first = raw.first.as_deref().and_then(|first| known.expert(first));
    if accept.likelihood_min.is_some() && matches!(first, Some(raw::Expert::Remote(_))) {
        let message = "`likelihood_min` reads a local expert's answer, and `first` is remote";
        let help = "use `judge` or `code_parses`, or name a local expert";
        let place = place.at("likelihood_min");
        mistakes.add(place, message.to_owned(), help.to_owned());
    }
    let accept = Accept {
        likelihood_min: accept.likelihood_min,
        code_parses: accept.code_parses,
        judge: accept.judge.as_deref().map(ExpertId::new),
        predicted_success_min: accept.predicted_success_min,
    };
    // What is written and mistaken is reported already.
    let is_written = place.keys().any(|key| key != "code_parses");
    if accept == Accept::default() && !is_written {
        let message = "`accept` checks nothing".to_owned();
        let help = "write `likelihood_min`, `code_parses`, `judge` or `predicted_success_min`";
        mistakes.add(place, message, help.to_owned());
        return None;
    }
    Some(accept)
}
