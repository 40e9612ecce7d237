//! An expert of the configuration that a command asks, outside any conversation.

use std::sync::Arc;

use super::CliError;
use crate::{
    config::{Capability, Config, ExpertConfig},
    expert::Experts,
    learning::judge::{Bounds, Judge},
    outcome::Prices,
};

/// The expert of this name.
///
/// # Errors
/// There is none that answers; the message lists those that do.
pub(super) fn find<'c>(config: &'c Config, id: &str) -> Result<&'c ExpertConfig, CliError> {
    let chat = |expert: &&ExpertConfig| expert.capabilities.contains(&Capability::Chat);
    let known = config.experts.iter().filter(chat);
    known
        .clone()
        .find(|expert| expert.id.as_str() == id)
        .ok_or_else(|| {
            let known: Vec<&str> = known.map(|expert| expert.id.as_str()).collect();
            CliError::Usage(format!(
                "there is no expert `{id}` that answers; the configuration has {}",
                known.join(", ")
            ))
        })
}

/// Opens it alone.
///
/// # Errors
/// It cannot be opened.
pub(super) async fn open(
    config: &Config,
    expert: &ExpertConfig,
    bounds: Bounds,
) -> Result<Judge, CliError> {
    let alone = expert.clone();
    let opening = tokio::task::spawn_blocking(move || Experts::open(&[alone]));
    let experts = opening.await.map_err(CliError::failed)?;
    Ok(Judge::new(
        experts.map_err(CliError::failed)?,
        expert.id.clone(),
        Arc::clone(&config.delivery.house),
        Prices::of(expert),
        bounds,
    ))
}
