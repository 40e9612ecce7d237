//! An expert names what is proposed.

use std::pin::pin;

use futures_util::StreamExt as _;

use super::super::{CliError, asking, output};
use crate::{
    causes::in_full,
    config::{Config, ExpertConfig},
    learning::{
        judge::{Asked, Bounds, CUT_OFF, Judge, Question, REPLY_TOKENS},
        naming,
        proposing::Proposed,
    },
    progress,
};

/// Proposals that are named at once: there are but a few, and an expert on this machine answers one at a time.
const CONCURRENT: usize = 2;

/// Asks an expert once for each of these proposals. A reply that names nothing leaves the name of the terms.
pub(super) async fn name(
    proposed: &mut Proposed,
    places: impl IntoIterator<Item = usize>,
    config: &Config,
    expert: &str,
) -> Result<(), CliError> {
    let judge = open(config, asking::find(config, expert)?).await?;
    let questions: Vec<Question<usize>> = places
        .into_iter()
        .map(|at| Question {
            about: at,
            body: naming::question(&proposed.suggestions[at].proposal.examples),
        })
        .collect();
    let bar = progress::bar(questions.len() as u64, "asking for names");
    let mut said: Vec<(usize, Asked)> = Vec::new();
    {
        let mut replies = pin!(judge.ask_all(questions));
        while let Some(reply) = replies.next().await {
            bar.inc(1);
            said.push(reply);
        }
    }
    bar.finish_and_clear();
    // Of two that are given the same name it is the first's, whichever reply came first.
    said.sort_by_key(|(at, _)| *at);
    for (at, asked) in said {
        take(proposed, at, asked);
    }
    Ok(())
}

fn take(proposed: &mut Proposed, at: usize, asked: Asked) {
    let why = match asked {
        Asked::Said(words) => match naming::of_reply(&words, &proposed.taken(at)) {
            Ok(named) => return proposed.rename(at, named),
            Err(unusable) => unusable.to_string(),
        },
        Asked::CutOff => CUT_OFF.to_owned(),
        Asked::Failed(error) => in_full(&error),
        Asked::Unaffordable => "it was not asked".to_owned(),
    };
    output::note(&format!(
        "`{}` keeps the name of its terms: {why}",
        proposed.suggestions[at].proposal.name
    ));
}

async fn open(config: &Config, expert: &ExpertConfig) -> Result<Judge, CliError> {
    let bounds = Bounds {
        usd_max: None,
        concurrent: CONCURRENT,
        reply_tokens_max: REPLY_TOKENS,
        tries_max: expert.retries.max.saturating_add(1),
    };
    asking::open(config, expert, bounds).await
}
