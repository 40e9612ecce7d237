//! `router.instruction`.

use std::path::PathBuf;

use super::{Check, opened};
use crate::{
    config::{
        Capability, Dialect, ExpertConfig, ExpertKind, defaults, document::Place, raw,
        suggest::suggest,
    },
    instruction::{InstructionConfig, Mode},
    outcome::Prices,
};

/// Checks who is asked, and within which bounds; `experts` are those that are right, none where `experts` is not.
pub(in crate::config) fn instruction(
    raw: &raw::Instruction,
    experts: Option<&[ExpertConfig]>,
    place: Place<'_>,
    check: &mut Check<'_>,
) -> Option<InstructionConfig> {
    let within = raw
        .within
        .as_ref()
        .map(|within| check.duration("within", within, place));
    let id = raw.expert.as_deref()?;
    let expert = experts?.iter().find(|expert| expert.id.as_str() == id);
    let Some(expert) = expert else {
        let known = experts
            .into_iter()
            .flatten()
            .map(|expert| expert.id.as_str());
        let message = format!("there is no expert `{id}`");
        check
            .mistakes
            .add(place.at("expert"), message, suggest(id, known));
        return None;
    };
    if !expert.capabilities.contains(&Capability::Chat) {
        let help = "name another expert, or add `chat` to its `capabilities`";
        check.wrong(
            place.at("expert"),
            format!("`{id}` does not answer conversations"),
            help,
        );
    }
    let speaks_anthropics =
        matches!(&expert.kind, ExpertKind::Remote(remote) if remote.dialect == Dialect::Anthropic);
    if raw.mode == Mode::Logprob && speaks_anthropics {
        let help = "write `mode: name`, or name an expert that speaks OpenAI's dialect";
        let message = format!("`{id}` tells no likelihoods, which `mode: logprob` needs");
        check.wrong(place.at("mode"), message, help);
    }
    if raw.usd_per_day.is_some() && Prices::of(expert).is_none() {
        let help = format!("write `usd_in` and `usd_out` of `{id}`, or leave `usd_per_day` out");
        check.wrong(
            place.at("usd_per_day"),
            format!("what `{id}` costs is not known"),
            help,
        );
    }
    let by_default = match expert.kind {
        ExpertKind::Local { .. } => defaults::INSTRUCTION_WITHIN_LOCAL,
        ExpertKind::Remote(_) => defaults::INSTRUCTION_WITHIN_REMOTE,
    };
    let blend = PathBuf::from(&raw.blend);
    opened::blend(&blend, place.at("blend"), check);
    Some(InstructionConfig {
        expert: expert.id.clone(),
        mode: raw.mode,
        when: raw.when,
        within: within.unwrap_or(Some(by_default))?,
        concurrent_max: usize::try_from(raw.concurrent_max).ok()?,
        usd_per_day_max: raw.usd_per_day,
        blend,
    })
}
