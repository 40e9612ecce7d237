//! The expert of the configuration that a command asks.

use std::{sync::Arc, time::Duration};

use super::CliError;
use crate::{
    config::{Capability, Config, DeliveryConfig, ExpertConfig},
    expert::Experts,
    instruction::{InstructionConfig, ask::Asker, tier::Tier},
    learning::judge::{Bounds, Judge},
    outcome::Prices,
    router::Router,
};

/// How long an expert of the instruction tier may take for one question where nobody waits for it.
pub(super) const UNHURRIED: Duration = Duration::from_secs(120);

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
    let experts = opened(expert).await?;
    Ok(Judge::new(
        experts,
        expert.id.clone(),
        Arc::clone(&config.delivery.house),
        Prices::of(expert),
        bounds,
    ))
}

/// The expert of the instruction tier, opened alone.
///
/// # Errors
/// It cannot be opened.
pub(super) async fn asker(
    config: &Config,
    instruction: &InstructionConfig,
) -> Result<Asker, CliError> {
    let expert = find(config, instruction.expert.as_str())?;
    let experts = opened(expert).await?;
    Asker::configured(config, instruction, &experts)
        .ok_or_else(|| CliError::Usage(format!("there is no expert `{}`", instruction.expert)))
}

/// The instruction tier with its expert opened alone; none where the configuration has none.
///
/// # Errors
/// It cannot be opened.
pub(super) async fn tier(config: &Config, router: &Router) -> Result<Option<Tier>, CliError> {
    let Some(instruction) = &config.router.instruction else {
        return Ok(None);
    };
    let asker = asker(config, instruction).await?;
    let tier = Tier::open(instruction.clone(), asker, router);
    let tier = tier.map_err(CliError::failed)?;
    tier.read_cards(router).await;
    Ok(Some(tier))
}

async fn opened(expert: &ExpertConfig) -> Result<Arc<Experts>, CliError> {
    let alone = expert.clone();
    let opening = tokio::task::spawn_blocking(move || {
        // It is asked by nobody's route.
        Experts::open(&[alone], &DeliveryConfig::default())
    });
    opening
        .await
        .map_err(CliError::failed)?
        .map_err(CliError::failed)
}
