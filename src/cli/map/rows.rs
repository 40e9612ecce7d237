//! Outcomes and models, as every command of `coterie map` reads them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::{CliError, ConfigArgs, load, output};
use crate::{
    config::{Environment, Exposure},
    ids::{CategoryId, ExpertId, OUT_OF_DOMAIN},
    mapping::fit::{
        models::{self, Model, Models},
        outcomes::{self, Options, Outcomes, Texts},
        pool::Weights,
    },
    progress,
    query::Query,
    registry,
    router::{Router, RouterError, Standing},
};

/// Questions that are routed at once: enough for the encoder to work in batches.
const ROWS_AT_ONCE: usize = 32;

#[derive(Args)]
pub(super) struct RowsArgs {
    /// Files with the experts' sizes and prices: `{expert: {"params_b", "usd_in", "usd_out"}}` [default: what the
    /// configuration says of its experts].
    #[arg(long, num_args = 1.., value_name = "F.json")]
    pub(super) models: Vec<PathBuf>,
    /// How much a category counts: as much as it has rows, or as any other.
    #[arg(long, value_enum, default_value_t = WeightsArg::Traffic)]
    pub(super) weights: WeightsArg,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

/// How much each category counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WeightsArg {
    Traffic,
    Equal,
}

impl From<WeightsArg> for Weights {
    fn from(arg: WeightsArg) -> Self {
        match arg {
            WeightsArg::Traffic => Self::Traffic,
            WeightsArg::Equal => Self::Equal,
        }
    }
}

impl RowsArgs {
    /// Reads the files of outcomes, by a field, or by the categories that the router in force predicts.
    pub(super) async fn read(
        &self,
        files: &[PathBuf],
        by: Option<String>,
        (experts, texts): (Vec<ExpertId>, Texts),
        environment: &Environment,
    ) -> Result<Outcomes, CliError> {
        let is_routed = by.is_none();
        let texts = if is_routed { Texts::Keep } else { texts };
        let options = Options { by, experts, texts };
        let outcomes = outcomes::read(files, &options).map_err(CliError::usage)?;
        for expert in outcomes.unscored() {
            output::note(&format!("`{expert}` has no score: left out"));
        }
        if !is_routed {
            return Ok(outcomes);
        }
        let config = load(&self.config, environment, Exposure::Insecure)?;
        let router = registry::open(&config, None)
            .await
            .map_err(CliError::failed)?;
        let categories = route(&router, &outcomes).await.map_err(CliError::failed)?;
        Ok(outcomes.with_categories(&categories))
    }

    /// Reads what is known of the experts.
    pub(super) fn models(&self, environment: &Environment) -> Result<Models, CliError> {
        let mut all = Models::new();
        for path in &self.models {
            all.extend(models::read(path).map_err(CliError::usage)?);
        }
        if self.models.is_empty() {
            let config = load(&self.config, environment, Exposure::Insecure)?;
            all.extend(config.experts.iter().map(|expert| {
                let model = Model {
                    params_b: expert.params_b,
                    usd_in: expert.usd_in,
                    usd_out: expert.usd_out,
                };
                (expert.id.clone(), model)
            }));
        }
        Ok(all)
    }
}

/// Where each row's question would go: its category, or `out_of_domain` where the default expert would answer.
async fn route(router: &Router, outcomes: &Outcomes) -> Result<Vec<CategoryId>, RouterError> {
    let bar = progress::bar(outcomes.rows() as u64, "routing the questions");
    let categories = stream::iter(0..outcomes.rows())
        .map(|row| async move {
            let verdict = router
                .classify(&Query::from_text(outcomes.prompt(row)))
                .await?;
            let likeliest = verdict.scores.into_iter().next();
            let routed = likeliest.filter(|_| verdict.standing == Standing::Confident);
            Ok(routed.map_or_else(|| CategoryId::new(OUT_OF_DOMAIN), |score| score.category))
        })
        .buffered(ROWS_AT_ONCE)
        .inspect(|_| bar.inc(1))
        .try_collect()
        .await;
    bar.finish_and_clear();
    categories
}
