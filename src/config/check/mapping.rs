//! `mapping`: who answers which category, here or in a file of its own.

mod cascade;
mod explore;
mod names;

use std::{fs, path::Path, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    config::{
        Assignment, MappingConfig, Prefer, Preference, QualityFile,
        document::Place,
        mistake::Mistakes,
        raw::{self, MAPPING_KEYS},
    },
    ids::{CategoryId, ExpertId},
    mapping::QualityModel,
};

use cascade::cascades;
use explore::explore;
pub(in crate::config) use names::Known;

/// What of the mapping may stand in the configuration although a file holds the mapping: the policy of the house, which
/// survives another file.
const BESIDE_FILE: [&str; 6] = [
    "file",
    "budget",
    "prefer",
    "prefer_allowed",
    "cascade",
    "explore",
];

/// A mapping as one file has it.
#[derive(Clone, Copy)]
pub(in crate::config) struct Layer<'a> {
    pub raw: &'a raw::Mapping,
    pub place: Place<'a>,
}

/// Checks what the `content` says, the mapping's own file or the configuration itself, under what the configuration says
/// for the whole house.
pub(in crate::config) fn mapping(
    house: Layer<'_>,
    content: Layer<'_>,
    known: Known<'_>,
    mistakes: &mut Mistakes,
) -> Option<MappingConfig> {
    check_keys(house, content, mistakes);
    let default = default(house, content, known, mistakes);
    let categories = categories(content, known, mistakes);
    let quality = quality(house, content, mistakes);
    let budget = choose(house, content, "budget", |raw| raw.budget.as_ref());
    let budget = budget.map(|(budget, _)| budget.clone()).unwrap_or_default();
    let (prefer, prefer_allowed) = prefer(house, content);
    let default = default?;
    let mut config = MappingConfig {
        default: default.expert,
        default_fallbacks: default.fallbacks,
        categories,
        usd_per_question_max: budget.usd_per_question,
        usd_per_day_max: budget.usd_per_day,
        prefer,
        prefer_allowed,
        quality: quality?,
        cascades: Vec::new(),
        explore: None,
    };
    if let Some((raw, place)) = choose(house, content, "cascade", |raw| raw.cascade.as_ref()) {
        config.cascades = cascades(raw, place, &config, known, mistakes);
    }
    if let Some((raw, place)) = choose(house, content, "explore", |raw| raw.explore.as_ref()) {
        config.explore = explore(raw, place, mistakes);
    }
    known.check_prices(&config, mistakes);
    Some(config)
}

/// Which layer says something under a key; the house's word counts.
fn choose<'a, T>(
    house: Layer<'a>,
    content: Layer<'a>,
    key: &str,
    get: impl Fn(&'a raw::Mapping) -> Option<&'a T>,
) -> Option<(&'a T, Place<'a>)> {
    [house, content]
        .into_iter()
        .find_map(|layer| Some((get(layer.raw)?, layer.place.at(key))))
}

/// Each key stands where it is read.
fn check_keys(house: Layer<'_>, content: Layer<'_>, mistakes: &mut Mistakes) {
    let Some(file) = &house.raw.file else {
        return;
    };
    for key in house.place.keys().filter(|key| !BESIDE_FILE.contains(key)) {
        let message = format!("`{key}` stands beside `file`");
        let help = format!("move it into `{file}`, or take `file` out");
        mistakes.add(house.place.key(key), message, help);
    }
    if content.raw.file.is_some() {
        let message = "a mapping's file names another `file`".to_owned();
        let help = "write the mapping here".to_owned();
        mistakes.add(content.place.key("file"), message, help);
    }
}

fn default(
    house: Layer<'_>,
    content: Layer<'_>,
    known: Known<'_>,
    mistakes: &mut Mistakes,
) -> Option<Assignment> {
    let Layer { raw, place } = content;
    let Some(default) = &raw.default else {
        // Where it is written and mistaken, that is reported already.
        if !place.keys().any(|key| key == "default") {
            let name = match house.raw.file {
                Some(_) => "the file",
                None => "`mapping`",
            };
            let message = format!("{name} lacks `default`");
            let help = "add it: the expert that answers what no category covers, and every category without an entry";
            mistakes.add(place, message, help.to_owned());
        }
        return None;
    };
    assignment(default, place.at("default"), known, mistakes)
}

fn categories(
    content: Layer<'_>,
    known: Known<'_>,
    mistakes: &mut Mistakes,
) -> Vec<(CategoryId, Assignment)> {
    let Layer { raw, place } = content;
    let mut in_order: Vec<_> = raw.categories.iter().collect();
    in_order.sort_by_key(|(category, _)| place.key(category).position);
    let mut categories = Vec::new();
    for (category, raw) in in_order {
        known.check_category(category, place.key(category), &MAPPING_KEYS, mistakes);
        if let Some(assignment) = assignment(raw, place.at(category), known, mistakes) {
            categories.push((CategoryId::new(category.as_str()), assignment));
        }
    }
    categories
}

fn assignment(
    raw: &raw::Assignment,
    place: Place<'_>,
    known: Known<'_>,
    mistakes: &mut Mistakes,
) -> Option<Assignment> {
    let raw = match raw {
        raw::Assignment::WithFallbacks(raw) => raw,
        raw::Assignment::Expert(expert) => {
            known.check_expert(expert, place, mistakes);
            return Some(Assignment {
                expert: ExpertId::new(expert.as_str()),
                fallbacks: Vec::new(),
            });
        }
    };
    let mut order: Vec<&str> = Vec::new();
    if let Some(expert) = raw.expert.as_deref() {
        known.check_expert(expert, place.at("expert"), mistakes);
        order.push(expert);
    }
    for (fallback, place) in raw.fallbacks.iter().zip(place.at("fallbacks").texts()) {
        if order.contains(&fallback.as_str()) {
            let message = format!("`{fallback}` is asked already");
            mistakes.add(place, message, "name each expert once".to_owned());
        } else {
            known.check_expert(fallback, place, mistakes);
            order.push(fallback);
        }
    }
    Some(Assignment {
        expert: ExpertId::new(raw.expert.as_deref()?),
        fallbacks: order.into_iter().skip(1).map(ExpertId::new).collect(),
    })
}

/// What counts, and what clients may say that counts.
fn prefer(house: Layer<'_>, content: Layer<'_>) -> (Prefer, Vec<Preference>) {
    let prefer = choose(house, content, "prefer", |raw| raw.prefer.as_ref());
    let prefer = match prefer.map(|(prefer, _)| *prefer) {
        None => Prefer::Word(Preference::Balanced),
        Some(raw::Prefer::Word(word)) => Prefer::Word(word),
        Some(raw::Prefer::CostWeight(weight)) => Prefer::CostWeight(weight),
    };
    let allowed = choose(house, content, "prefer_allowed", |raw| {
        raw.prefer_allowed.as_ref()
    });
    let allowed = match (allowed, prefer) {
        (Some((allowed, _)), _) => allowed.clone(),
        (None, Prefer::Word(word)) => vec![word],
        (None, Prefer::CostWeight(_)) => Vec::new(),
    };
    (prefer, allowed)
}

/// The file that predicts, which lies beside the mapping's; nothing where it is named and cannot be read.
fn quality(
    house: Layer<'_>,
    content: Layer<'_>,
    mistakes: &mut Mistakes,
) -> Option<Option<QualityFile>> {
    let Some(name) = &content.raw.quality else {
        return Some(None);
    };
    // What stands in the configuration itself is relative to the working directory, as all that stands there.
    let is_a_file = content.place.file != house.place.file;
    let folder = Path::new(content.place.file).parent();
    let folder = folder.filter(|_| is_a_file).unwrap_or(Path::new(""));
    let path = folder.join(name);
    let model = fs::read(&path)
        .map_err(|error| format!("cannot be read: {error}"))
        .and_then(|bytes| {
            let model = QualityModel::from_bytes(&bytes);
            let model = model.map_err(|error| format!("cannot be used: {error}"))?;
            Ok((hex::encode(Sha256::digest(bytes)), Arc::new(model)))
        });
    match model {
        Ok((sha256, model)) => Some(Some(QualityFile {
            path,
            sha256,
            model,
        })),
        Err(problem) => {
            let message = format!("the quality model `{}` {problem}", path.display());
            let help =
                "put it there, or take `quality` out: the mapping then goes by categories alone";
            mistakes.add(content.place.at("quality"), message, help.to_owned());
            None
        }
    }
}
