//! What holds where the file is silent, and why.

use std::time::Duration;

use super::Capability;
use crate::instruction::{Mode, When};

/// Loopback: a server that nobody configured is nobody else's. The port is free of well-known services.
pub(super) const LISTEN: &str = "127.0.0.1:8400";
/// Holds a long conversation with a few pictures; bounds what one client can make the server hold in memory.
pub(super) const BODY_MAX: &str = "8 MiB";
/// What service managers commonly grant before they kill, and longer than nearly every answer.
pub(super) const GRACE: &str = "30s";

/// Beside the fitted routers, out of version control.
pub(super) const STORE_URL: &str = "sqlite://data/coterie.db";
/// A season of traffic to learn from, without keeping people's questions for good.
pub(super) const KEEP: &str = "90 days";
/// What was said of questions is dear, and a year has every season of them.
pub(super) const KEEP_LABELLED: &str = "1 year";
/// Batches writes under load, and loses at most a blink to a power cut.
pub(super) const FLUSH_INTERVAL: &str = "100ms";

/// Where the models of the default configuration come from.
pub(super) const HUB: &str = "https://huggingface.co";

/// Small, fast on a CPU, and understands short questions.
pub(super) const ENCODER_MODEL: &str = "models/all-MiniLM-L6-v2";
/// Where `scripts/models` puts the library.
pub(super) const ENCODER_RUNTIME: &str = "models/onnxruntime/libonnxruntime.so";
/// Beside the configuration in a clone.
pub(super) const ROUTES: &str = "routes";
/// Beside the store.
pub(super) const ARTEFACTS: &str = "data/routers";
/// One question in twenty at the wrong expert is hardly noticed; fewer would send many more to the default one.
pub(super) const MISROUTE_MAX: &str = "5%";

/// A small model in this process keeps to no tool or JSON schema reliably.
pub(super) fn local_capabilities() -> Vec<Capability> {
    vec![Capability::Chat]
}

/// Nearly every OpenAI-compatible endpoint takes tools and response formats; pictures depend on the model.
pub(super) fn remote_capabilities() -> Vec<Capability> {
    vec![Capability::Chat, Capability::Tools, Capability::Json]
}

/// The machine is paid for either way.
pub(super) const LOCAL_USD: f64 = 0.0;
/// A model in this process works on one conversation at a time.
pub(super) const LOCAL_CONCURRENT: usize = 1;

/// A short burst waits; a longer queue would only time out.
pub(super) const QUEUE_MAX: usize = 32;

/// A reachable endpoint connects within a second or two, anywhere.
pub(super) const CONNECT: &str = "5s";
/// A model on a CPU reads a long conversation, and a reasoning model thinks, for about this long.
pub(super) const FIRST_TOKEN: &str = "120s";
/// The slowest model still writes several tokens a second; a minute of silence is a dead stream.
pub(super) const IDLE: &str = "60s";
/// The longest answer that anybody waits for.
pub(super) const TOTAL: &str = "10min";

/// What a person waits for a first sign of an answer; a small model has answered most questions by then.
pub(super) fn cascade_within() -> super::raw::DurationText {
    super::raw::DurationText::new("30s")
}

/// A time as it is written.
pub(super) fn duration(time: Duration) -> super::raw::DurationText {
    super::raw::DurationText::new(&humantime::format_duration(time).to_string())
}

/// As long as a working session: a prompt that is tried again within it costs nothing.
pub(super) fn cache_keep() -> super::raw::DurationText {
    super::raw::DurationText::new("1h")
}

/// `learning.category_margin`.
pub(super) const CATEGORY_MARGIN: &str = "2%";

/// `learning.client_share_max`.
pub(super) const CLIENT_SHARE_MAX: &str = "25%";

/// `learning.questions_per_false_alarm`.
pub(super) const QUESTIONS_PER_FALSE_ALARM: u32 = 20_000;

/// One token tells more than a name, and a description takes many times as long.
pub(super) fn instruction_mode() -> Mode {
    Mode::Logprob
}

/// Where the router is sure it is seldom wrong, and answers at once.
pub(super) fn instruction_when() -> When {
    When::Unsure
}

/// What a hosted model needs for a token or two; longer would be felt in every answer.
pub(super) const INSTRUCTION_WITHIN_REMOTE: Duration = Duration::from_millis(300);
/// What a small model on a CPU needs to read a long question.
pub(super) const INSTRUCTION_WITHIN_LOCAL: Duration = Duration::from_secs(5);

/// The questions that one short wait has time for.
pub(super) fn instruction_concurrent() -> u32 {
    4
}

/// Beside the store.
pub(super) fn instruction_blend() -> String {
    "data/instruction.json".to_owned()
}
