//! What the files say, before it is checked: the one definition of every key, from which serde reads them, the JSON
//! Schemas are generated, and [`shape`](super::shape) finds unknown keys and wrong types.
//!
//! The doc comments are what editors show. A key without a default is an `Option` that the schema requires, so that
//! a file which lacks it can still be searched for further mistakes.

mod cards;
mod delivery;
mod instruction;
mod learning;
mod mapping;
mod server;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Capability, ContentPolicy, Dialect, FeatureKind, Guard, Prefill, Sticky, defaults};
pub(super) use cards::{Card, Cards, Made};
pub(super) use delivery::{Breaker, Delivery, Retries, RouteDelivery};
pub(super) use instruction::Instruction;
pub(super) use learning::Learning;
pub(super) use mapping::{Assignment, Cascade, Explore, MAPPING_KEYS, Mapping, Prefer};
pub(super) use server::{Key, Limits, PerDay, PerMinute, Server};

/// Coterie's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Coterie's configuration")]
pub(super) struct Config {
    /// Where to listen, for whom, and how much to take in.
    #[serde(default)]
    pub server: Server,
    /// Where outcomes go.
    #[serde(default)]
    pub store: Store,
    /// Where models lie and where they come from.
    #[serde(default)]
    pub models: Models,
    /// How questions are sorted into categories.
    #[serde(default)]
    pub router: Router,
    /// The experts by id: whole models that answer.
    #[schemars(required)]
    pub experts: Option<BTreeMap<String, Expert>>,
    /// Which expert answers which category.
    #[schemars(required)]
    pub mapping: Option<Mapping>,
    /// How answers are brought to clients.
    #[serde(default)]
    pub delivery: Delivery,
    /// What is learnt from the traffic.
    #[serde(default)]
    pub learning: Learning,
    /// Answers to deterministic questions that are kept in memory. Left out: none.
    pub cache: Option<Cache>,
}

/// A time, such as `30s`, `250ms`, `5min` or `90 days`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(
    inline,
    example = "30s",
    example = "5min",
    extend("pattern" = r"^(\s*\d+\s*[A-Za-z]+)+\s*$")
)]
pub(super) struct DurationText(pub String);

impl DurationText {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A size: bytes, or a number with B, KiB, MiB or GiB.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(super) enum Size {
    Bytes(#[schemars(range(min = 1))] u64),
    Text(String),
}

/// Where outcomes go.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Store {
    /// The SQLite file, as `sqlite://PATH`.
    pub url: String,
    /// How much of the text of questions and answers is kept.
    pub content: ContentPolicy,
    /// How long outcomes are kept: a time such as `90 days`, or `forever`.
    pub keep: String,
    /// How long questions of which somebody said what they were about are kept, with their labels alone once `keep` is
    /// over: a time such as `1 year`, `forever`, or `0 days` for as long as all others.
    pub keep_labelled: String,
    /// Longest time that an outcome waits to be written: what a power cut can lose.
    pub flush_interval: DurationText,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: defaults::STORE_URL.to_owned(),
            content: ContentPolicy::Redacted,
            keep: defaults::KEEP.to_owned(),
            keep_labelled: defaults::KEEP_LABELLED.to_owned(),
            flush_interval: DurationText::new(defaults::FLUSH_INTERVAL),
        }
    }
}

/// Answers to deterministic questions (temperature 0, or a seed) that are kept in memory.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    /// Most of them: bytes, or a number with B, KiB, MiB or GiB.
    #[schemars(required)]
    pub max: Option<Size>,
    /// How long an answer is kept.
    #[serde(default = "defaults::cache_keep")]
    pub keep: DurationText,
}

/// Where models lie and where they come from.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Models {
    /// The model store; `COTERIE_MODELS_DIR` wins over it. Without either: `coterie/models` in the user's cache folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The model hub; `HF_ENDPOINT` wins over it.
    pub hub: String,
}

impl Default for Models {
    fn default() -> Self {
        Self {
            dir: None,
            hub: defaults::HUB.to_owned(),
        }
    }
}

/// How questions are sorted into categories.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Router {
    /// Text → vector.
    pub encoder: Encoder,
    /// The folder of routes: one YAML file a category.
    pub routes: String,
    /// The folder of fitted routers.
    pub artefacts: String,
    /// Of the questions that are routed, at most this share may be misrouted, with 95 % confidence: a number between 0 and
    /// 1, or a share such as `5%`. What cannot be routed that surely goes to the default expert.
    pub misroute_max: Share,
    /// What is read of a question: any of sparse, static, transformer.
    #[schemars(length(min = 1))]
    pub features: Vec<FeatureKind>,
    /// The folder of a static encoder that `coterie encoder distill` wrote; without one: that of the shipped router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub static_encoder: Option<String>,
    /// The folder of a trained router (`coterie train --out`) to use; without one: the router that is built in, or for
    /// routes of your own one that is learned on top of it at start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artefact: Option<String>,
    /// Whether a session stays with the category of its last question unless the evidence is against it.
    pub sticky: Sticky,
    /// Whether a question whose beginning and end are about different things is doubted.
    pub guard: Guard,
    /// An expert that is asked what a question demands, as the router's last tier. Left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<Instruction>,
}

/// A share: a number between 0 and 1, or a text such as `5%`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(super) enum Share {
    Number(#[schemars(range(min = 0.0, max = 1.0))] f64),
    Text(String),
}

impl Default for Router {
    fn default() -> Self {
        Self {
            encoder: Encoder::default(),
            routes: defaults::ROUTES.to_owned(),
            artefacts: defaults::ARTEFACTS.to_owned(),
            misroute_max: Share::Text(defaults::MISROUTE_MAX.to_owned()),
            features: FeatureKind::ALL.to_vec(),
            static_encoder: None,
            artefact: None,
            sticky: Sticky::On,
            guard: Guard::Off,
            instruction: None,
        }
    }
}

/// Text → vector.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Encoder {
    /// The engine.
    pub kind: EncoderKind,
    /// The folder with `model.safetensors`, `tokenizer.json` and their like; `models/NAME` is inside the model store.
    pub model: String,
    /// The ONNX Runtime library; `ORT_DYLIB_PATH` wins over it.
    pub runtime: String,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            kind: EncoderKind::Fastembed,
            model: defaults::ENCODER_MODEL.to_owned(),
            runtime: defaults::ENCODER_RUNTIME.to_owned(),
        }
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum EncoderKind {
    /// fastembed over ONNX Runtime, on the CPU.
    Fastembed,
}

/// A whole model that answers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Expert {
    /// A GGUF file, run in this process.
    Local(Local),
    /// An endpoint elsewhere.
    Remote(Remote),
}

impl Expert {
    pub(super) fn capabilities(&self) -> &[Capability] {
        match self {
            Self::Local(local) => &local.capabilities,
            Self::Remote(remote) => &remote.capabilities,
        }
    }

    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Local(local) => &local.common,
            Self::Remote(remote) => &remote.common,
        }
    }

    /// Dollars per million tokens read and written.
    pub(super) fn prices(&self) -> (Option<f64>, Option<f64>) {
        let unless_priced = match self {
            Self::Local(_) => Some(defaults::LOCAL_USD),
            Self::Remote(_) => None,
        };
        let Common {
            usd_in, usd_out, ..
        } = self.common();
        (usd_in.or(unless_priced), usd_out.or(unless_priced))
    }
}

/// A GGUF file, run in this process.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Local {
    /// A GGUF file, or a folder that holds exactly one; `models/NAME` is inside the model store.
    #[schemars(required)]
    pub model: Option<String>,
    /// What it can do.
    #[serde(default = "defaults::local_capabilities")]
    pub capabilities: Vec<Capability>,
    #[serde(flatten)]
    pub common: Common,
}

/// An endpoint that speaks OpenAI's dialect or Anthropic's.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Remote {
    /// The endpoint's address up to and including `/v1`.
    #[schemars(required)]
    pub base_url: Option<String>,
    /// What it speaks.
    #[serde(default)]
    pub dialect: Dialect,
    /// The provider's name for the model.
    #[schemars(required)]
    pub model: Option<String>,
    /// Where the provider's key is: `{ env: NAME }` or `{ file: PATH }`. Left out where none is needed.
    pub api_key: Option<Secret>,
    /// What it can do.
    #[serde(default = "defaults::remote_capabilities")]
    pub capabilities: Vec<Capability>,
    /// Further endpoints of the same model: questions are spread over all of them.
    #[serde(default)]
    pub replicas: Vec<Replica>,
    /// Requests that it works on at once. Left out: as many as prove to go well.
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrent_max: Option<usize>,
    /// How it takes up an answer that broke off elsewhere: `none`, or the form in which it takes the beginning of an answer.
    /// Left out: `none`, in Anthropic's dialect `last_message`.
    pub prefill: Option<Prefill>,
    #[serde(flatten)]
    pub common: Common,
}

/// One more endpoint of a model.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replica {
    /// The endpoint's address up to and including `/v1`.
    #[schemars(required)]
    pub base_url: Option<String>,
    /// Where its key is; left out: the expert's.
    pub api_key: Option<Secret>,
}

/// Where a secret is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Secret {
    /// The name of the environment variable that holds it.
    Env(String),
    /// The file that holds it; white space around it is cut off.
    File(String),
}

/// What every kind of expert has.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Common {
    /// Size in billions of parameters.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub params_b: Option<f64>,
    /// Dollars per million tokens read. A local expert costs 0 unless this says otherwise.
    #[schemars(range(min = 0.0))]
    pub usd_in: Option<f64>,
    /// Dollars per million tokens written. A local expert costs 0 unless this says otherwise.
    #[schemars(range(min = 0.0))]
    pub usd_out: Option<f64>,
    /// Most tokens of conversation and answer together.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub context_tokens: Option<u32>,
    /// Requests that may wait for it; one more is refused with status 429.
    #[schemars(range(min = 0, max = 100_000))]
    pub queue_max: usize,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// When it is asked once more after a failure.
    pub retries: Retries,
    /// When it is left alone after failures.
    pub breaker: Breaker,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            params_b: None,
            usd_in: None,
            usd_out: None,
            context_tokens: None,
            queue_max: defaults::QUEUE_MAX,
            timeouts: Timeouts::default(),
            retries: Retries::default(),
            breaker: Breaker::default(),
        }
    }
}

/// How long an expert may take.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timeouts {
    /// To connect (remote).
    pub connect: DurationText,
    /// From the request to the first token, waiting in the queue not counted.
    pub first_token: DurationText,
    /// Between one token and the next.
    pub idle: DurationText,
    /// For the whole answer.
    pub total: DurationText,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: DurationText::new(defaults::CONNECT),
            first_token: DurationText::new(defaults::FIRST_TOKEN),
            idle: DurationText::new(defaults::IDLE),
            total: DurationText::new(defaults::TOTAL),
        }
    }
}

/// One category, named by its file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "A route of Coterie")]
pub(super) struct Route {
    /// What belongs to the category, in words that would let a person sort questions.
    #[schemars(required, length(min = 1))]
    pub description: Option<String>,
    /// Questions that belong to the category: varied, short and long, in the words of those who ask.
    #[schemars(required, length(min = 1))]
    pub examples: Option<Vec<String>>,
    /// Questions that look as if they belonged to the category, but do not.
    #[serde(default)]
    pub negatives: Vec<String>,
}
