//! `coterie instruct fit`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    super::{CliError, ConfigArgs, asking, load, output},
    configured,
};
use crate::{
    config::{Environment, Exposure},
    instruction::{When, blend::fit::Worth},
    learning::blending::{self, Blended, Options},
    registry,
    train::labels,
};

#[derive(Args)]
pub(super) struct FitArgs {
    /// Files with a JSON object a line, each with `text` or `messages`, and the `category` that is right (or
    /// `out_of_domain`): questions that the router in force has not learnt from.
    #[arg(long, required = true, num_args = 1.., value_name = "F.jsonl")]
    labels: Vec<PathBuf>,
    /// The share of questions that is to be put to the expert: those of which the router is least sure.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share)]
    share: f64,
    /// Where to write what was learnt [default: `router.instruction.blend`].
    #[arg(long, value_name = "F.json")]
    out: Option<PathBuf>,
    /// Learn for the router in this folder instead of the one in force.
    #[arg(long, value_name = "DIR")]
    router: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse::<f64>()
        .ok()
        .filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "write a number above 0 and not above 1, such as 0.1".into())
}

pub(super) async fn run(args: FitArgs, environment: &Environment) -> Result<(), CliError> {
    let rows = labels::read(&args.labels).map_err(CliError::usage)?;
    let config = load(&args.config, environment, Exposure::Insecure)?;
    let instruction = configured(&config)?;
    if instruction.when == When::Alone {
        return Err(CliError::Usage(
            "`router.instruction.when` is `alone`: there is no router beside which the expert's word could be weighed; write `unsure` or `always`".into(),
        ));
    }
    let router = registry::open(&config, args.router.as_deref())
        .await
        .map_err(CliError::failed)?;
    let asker = asking::asker(&config, instruction).await?;
    let options = Options {
        when: instruction.when.online(),
        share: args.share,
        within: asking::UNHURRIED,
        within_online: instruction.within,
        concurrent: instruction.concurrent_max,
        misroute_max: config.router.misroute_max,
    };
    let learnt = blending::learn(&router, &asker, rows, &options).await;
    let learnt = learnt.map_err(CliError::failed)?;
    let out = args.out.as_deref().unwrap_or(&instruction.blend);
    blending::write(&learnt.blend, out).map_err(|error| {
        CliError::Failed(format!("{} cannot be written: {error}", out.display()))
    })?;
    if args.json {
        let document = json!({
            "blend": learnt.blend,
            "asked": learnt.asked,
            "failed": learnt.failed,
            "late": learnt.late,
            "pays": pays(&learnt),
            "file": out,
        });
        return output::json(&document).map_err(CliError::failed);
    }
    tell(&learnt);
    if learnt.late > 0 {
        output::note(&format!(
            "warning: {} of {} replies came later than the {} that a server waits; there the router's word stands: write a longer `within`, \
             or name a quicker expert",
            learnt.late,
            learnt.asked,
            humantime::format_duration(instruction.within)
        ));
    }
    output::line(&format!("written     {}", out.display()));
    Ok(())
}

fn tell(learnt: &Blended) {
    let blend = &learnt.blend;
    output::line(&format!(
        "asked       {} questions below a confidence of {:.3}",
        learnt.asked, blend.below
    ));
    for (kind, times) in &learnt.failed {
        output::line(&format!("failed      {kind}: {times}"));
    }
    for worth in &blend.ablation {
        output::line(&format!(
            "{:<11} accuracy {:.3}, log loss {:.3}, Brier {:.3}",
            worth.of, worth.accuracy, worth.log_loss, worth.brier
        ));
    }
    let weights = &blend.weights;
    output::line(&format!(
        "weights     router {:.3}, instruction {:.3}, out_of_domain {:+.3}",
        weights.router, weights.said, weights.none
    ));
    match blend.confidence_min {
        Some(least) => output::line(&format!("routed      from {least:.3}")),
        None => output::line(
            "routed      nothing that is put to it: these questions do not prove that few enough would be misrouted",
        ),
    }
    match blend.near_min {
        Some(least) => output::line(&format!(
            "remembered  also for questions that are alike (cosine {least:.2})"
        )),
        None => output::line("remembered  for the same question alone"),
    }
    if blend.confidence_min.is_none() {
        output::note(
            "warning: a server will ask about no question of a category that the router knows, since it could not go by the reply",
        );
    }
    if !pays(learnt) {
        output::note(
            "warning: the expert's word makes nothing better on these questions; leave `router.instruction` out",
        );
    }
}

/// Whether both together are better than the router alone.
fn pays(learnt: &Blended) -> bool {
    let of = |name: &str| learnt.blend.ablation.iter().find(|worth| worth.of == name);
    let better = |router: &Worth, both: &Worth| {
        both.log_loss < router.log_loss && both.accuracy >= router.accuracy
    };
    of("router")
        .zip(of("both"))
        .is_some_and(|(router, both)| better(router, both))
}
