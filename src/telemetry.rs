//! Logs and metrics: set up once a process.

use std::{io::IsTerminal, sync::OnceLock, time::Duration};

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Upper bounds, in seconds, for everything that is measured in seconds: from a routing decision to a long answer.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0,
];

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Sends log lines to standard error. `filter` is a `tracing` directive such as `info` or `coterie=debug`.
///
/// # Errors
/// The filter cannot be read.
pub fn log_to_stderr(filter: &str, format: LogFormat) -> Result<(), ParseError> {
    // ONNX Runtime tells its whole life at `info`.
    let filter = format!("ort=warn,{filter}");
    let filter = EnvFilter::try_new(filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let installed = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    // A process that has a subscriber already (a test) keeps it.
    installed.ok();
    Ok(())
}

/// The process's metrics; the first call installs the recorder.
pub fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS
        .get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let builder = builder
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
                .unwrap_or_else(|_empty| PrometheusBuilder::new());
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics stays empty");
            }
            describe();
            handle
        })
        .clone()
}

/// Says what each metric counts; they are recorded where what they count happens.
fn describe() {
    describe_counter!(
        "coterie_decisions_total",
        "Questions decided, by category and reason."
    );
    describe_histogram!(
        "coterie_decision_seconds",
        "Time to classify a question and choose its expert."
    );
    describe_counter!(
        "coterie_experts_passed_over_total",
        "Experts that would have been asked but for a limit, by expert and limit."
    );
    describe_counter!(
        "coterie_cascades_total",
        "First answers of cascades, by the first expert and whether or why not they were accepted."
    );
    describe_routers();
    describe_counter!(
        "coterie_drift_alarms_total",
        "Significant changes of the questions or of what becomes of them, by what changed."
    );
    describe_gauge!(
        "coterie_mapping_in_force",
        "1 for the mapping in force, 0 for those that were before it."
    );
    describe_counter!(
        "coterie_mapping_changes_total",
        "Changes of the mapping's file, taken or refused."
    );
    describe_gauge!(
        "coterie_spent_today_usd",
        "Dollars spent since midnight UTC, and reserved by questions under way."
    );
    describe_gauge!(
        "coterie_key_spent_today_usd",
        "The same of each key whose dollars are limited; no name where there are no keys."
    );
    describe_counter!(
        "coterie_quota_refusals_total",
        "Requests that a client's limits refused, by its key and kind: requests, tokens, too_large, dollars."
    );
    describe_experts();
    describe_exploration();
    describe_counter!(
        "coterie_cache_total",
        "Deterministic questions at the cache of answers: hit, miss, bypass."
    );
    describe_counter!(
        "coterie_outcomes_written_total",
        "Outcomes written to the store."
    );
    describe_counter!(
        "coterie_outcome_write_failures_total",
        "Transactions of outcomes that failed; each is tried again."
    );
    describe_gauge!(
        "coterie_outcome_queue_length",
        "Outcomes that wait to be written."
    );
    describe_counter!(
        "coterie_errors_total",
        "Requests answered with an error, by its code."
    );
}

fn describe_routers() {
    describe_gauge!(
        "coterie_router_in_force",
        "1 for the router in force, 0 for those before it"
    );
    describe_counter!(
        "coterie_router_changes_total",
        "Promotions and roll-backs that were seen, by whether the router was taken"
    );
    describe_gauge!(
        "coterie_trial",
        "1 for a router that is tried now, by how; 0 for those that were before it."
    );
    describe_counter!(
        "coterie_trial_changes_total",
        "Trials of routers that were seen to begin or end, by how and whether the router was taken."
    );
    describe_counter!(
        "coterie_shadow_decisions_total",
        "Questions for a router in shadow: decided, dropped because too many waited, failed."
    );
    describe_gauge!(
        "coterie_canary_difference",
        "The canary's outcomes less those of the router in force, by what is compared."
    );
    describe_gauge!(
        "coterie_canary_outcomes",
        "Outcomes by which a canary is compared, by what is compared."
    );
    describe_counter!(
        "coterie_canary_rollbacks_total",
        "Canaries that were ended because their outcomes were worse."
    );
}

fn describe_exploration() {
    describe_counter!(
        "coterie_explored_total",
        "Questions that went to another expert than the mapping's, by that expert."
    );
    describe_gauge!(
        "coterie_exploration_rewards",
        "Rewards that exploration by Thompson sampling goes by."
    );
}

fn describe_experts() {
    describe_counter!(
        "coterie_expert_attempts_total",
        "Questions put to an expert, by how each began or failed."
    );
    describe_gauge!(
        "coterie_expert_active",
        "Questions that an expert is answering."
    );
    describe_gauge!("coterie_expert_waiting", "Questions in an expert's queue.");
    describe_counter!(
        "coterie_expert_shed_total",
        "Questions that were turned away because they would have waited beyond their deadline."
    );
    describe_counter!(
        "coterie_expert_retries_total",
        "Further tries at an expert after a failure."
    );
    describe_counter!(
        "coterie_hedges_total",
        "Questions for which a second expert was asked, by the first and by which was faster."
    );
    describe_counter!(
        "coterie_stream_recoveries_total",
        "Streams that broke off, by how they went on and with whom; `none` where nobody went on."
    );
    describe_gauge!(
        "coterie_expert_circuit",
        "The breaker of an expert's endpoint: 0 closed, 1 half open, 2 open."
    );
    describe_gauge!(
        "coterie_expert_concurrent_max",
        "Answers that an expert may have under way at once, now."
    );
    describe_histogram!(
        "coterie_expert_first_token_seconds",
        "Time from an expert's start on a streamed answer to its first token."
    );
    describe_counter!(
        "coterie_local_prompt_tokens_total",
        "Tokens of prompts to models in this process, by whether they were read or kept from a prompt before."
    );
    describe_counter!(
        "coterie_instruction_total",
        "Questions for which the instruction tier was wanted, by what came of it."
    );
    describe_histogram!(
        "coterie_instruction_seconds",
        "Time that the instruction tier took."
    );
    describe_counter!(
        "coterie_expert_malformed_events_total",
        "Events of a stream that were no JSON objects and were skipped."
    );
}

/// How often samples that nobody has scraped are folded into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps histograms from growing while nobody scrapes them, until `stop` is cancelled.
pub async fn keep_up(metrics: PrometheusHandle, stop: CancellationToken) {
    let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        metrics.run_upkeep();
    }
}
