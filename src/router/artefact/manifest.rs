//! What an artefact says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::FORMAT;
use crate::{
    ids::{CategoryId, OUT_OF_DOMAIN, RouterId},
    router::calibration::{Calibration, Trial},
};

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the files.
    pub format: u32,
    /// A digest of everything that it was trained from.
    pub id: RouterId,
    /// When it was trained, milliseconds since 1970 UTC.
    pub created_at_ms: i64,
    /// The router that it was trained on top of.
    pub parent: Option<RouterId>,
    /// The classes, in the order of the heads'.
    pub categories: Vec<CategoryId>,
    /// Those that no route is of: the router that it was trained on top of tells them apart, and to this one they are all out of
    /// domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<CategoryId>,
    /// What it reads: `sparse`, `static`, `transformer`.
    pub features: Vec<String>,
    /// The transformer that it was trained with.
    pub encoder: Option<EncoderNeeded>,
    /// The cheap tier.
    pub cheap: Option<TierReport>,
    /// The full tier.
    pub full: Option<TierReport>,
    /// When the full tier is asked.
    pub cascade: Cascade,
    /// What it was trained from.
    pub training: Training,
    /// SHA-256 of every other file, hexadecimal.
    pub files: BTreeMap<String, String>,
}

/// A transformer without which the full tier cannot be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderNeeded {
    /// Its name, for people.
    pub name: String,
    /// What [`Encoder::fingerprint`](crate::router::encoder::Encoder::fingerprint) must say.
    pub fingerprint: String,
    /// The layers that are read.
    pub layers: Vec<usize>,
}

/// One tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TierReport {
    /// How its logits become probabilities.
    pub calibration: Calibration,
    /// What each way of calibration reached on rows held back.
    pub trials: Vec<Trial>,
    /// The penalty on the weights of sparse features.
    pub l2_sparse: f64,
    /// The penalty on the weights of dense features.
    pub l2_dense: f64,
    /// How it did on rows held back.
    pub figures: Figures,
}

/// Figures on rows that were held back from training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Share of rows whose likeliest class is right.
    pub accuracy: f64,
    /// The same over rows of categories, with `out_of_domain` left out.
    pub in_domain_accuracy: f64,
    /// Expected calibration error over 15 bins of equal mass.
    pub ece: f64,
    /// Mean negative log-likelihood in nats.
    pub nll: f64,
}

/// How the tiers share the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cascade {
    /// Confidence from which the cheap tier settles a question; none: never.
    pub settled_from: Option<f32>,
    /// Share of rows held back that the cheap tier settles.
    pub cheap_share: f64,
    /// Share that the full tier settles.
    pub full_share: f64,
    /// Both together on rows held back.
    pub figures: Figures,
}

/// What a router was trained from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Rows, examples of routes among them.
    pub rows: usize,
    /// SHA-256 over the texts and labels of all rows, hexadecimal.
    pub data_sha256: String,
    /// SHA-256 over the routes' examples, hexadecimal.
    pub routes_sha256: String,
    /// The seed.
    pub seed: u64,
    /// Public sets that rows were taken from.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// How the router did on the rows of each file of labels, where there were several.
    #[serde(default)]
    pub by_file: BTreeMap<String, FileFigures>,
    /// Rows that the router below it was trained on as well. They are in no threshold, and in no figure unless there are no others.
    #[serde(default)]
    pub seen: usize,
    /// Its own rows that thresholds are taken from; none where too few could be held back: then the figures are of rows that were
    /// seen.
    #[serde(default)]
    pub held_back: usize,
    /// Rows that were left out because their label is probably wrong.
    #[serde(default)]
    pub doubted: usize,
}

/// Figures on the rows of one file, held back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileFigures {
    /// Distinct rows.
    pub rows: usize,
    /// The cheap tier.
    pub cheap: Option<Figures>,
    /// The full tier.
    pub full: Option<Figures>,
    /// Both together.
    pub cascade: Figures,
    /// Share that the cheap tier settles.
    #[serde(default)]
    pub cheap_share: f64,
}

/// A public set of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its licence.
    pub licence: String,
}

/// Why a manifest cannot be read.
pub(super) enum Unreadable {
    /// Another version wrote it.
    Format(u32),
    /// What is wrong with it.
    Detail(String),
}

impl Manifest {
    /// What its router tells apart, to whoever asks: neither `out_of_domain` nor what is silent.
    pub fn told_apart(&self) -> impl Iterator<Item = &CategoryId> {
        let categories = self.categories.iter();
        categories.filter(|category| {
            category.as_str() != OUT_OF_DOMAIN && !self.silent.contains(category)
        })
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        // A newer format may have other fields: its number comes first.
        let detail = |error: serde_json::Error| Unreadable::Detail(error.to_string());
        let Versioned { format } = serde_json::from_slice(text).map_err(detail)?;
        if format != FORMAT {
            return Err(Unreadable::Format(format));
        }
        serde_json::from_slice(text).map_err(detail)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // Numbers, texts and maps with text keys: there is nothing that JSON could not hold.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}
