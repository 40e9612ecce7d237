//! What an artefact says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::FORMAT;
use crate::{
    ids::{CategoryId, OUT_OF_DOMAIN, RouterId},
    risk,
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
    /// What the rows held back promise for some shares of misrouted questions that may be asked for, the strictest first; what they
    /// cannot promise is left out. The threshold for what is configured is taken from the same rows when the router is opened.
    #[serde(default)]
    pub thresholds: Vec<Routed>,
    /// What it was trained from.
    pub training: Training,
    /// SHA-256 of every other file, hexadecimal.
    pub files: BTreeMap<String, String>,
    /// SHA-256 of this file with zeros in this field's place, hexadecimal.
    pub sha256: String,
}

/// From which confidence on questions are routed, so that few enough are misrouted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routed {
    /// Share of the routed questions that may be misrouted.
    pub misroute_max: f64,
    /// The confidence.
    pub confidence_min: f32,
    /// Share of the rows held back that are routed then.
    pub coverage: f64,
    /// Share of these that are misrouted.
    pub misrouted: f64,
    /// What that share is at most, with 95 % confidence.
    pub misroute_upper95: f64,
}

/// Shares of misrouted questions for which thresholds are told.
const MISROUTE_TOLD: [f64; 4] = [0.01, 0.02, 0.05, 0.1];

impl Routed {
    /// The thresholds that rows held back allow for: their confidences, and whether they were right.
    pub(super) fn of(held_back: &[(f32, bool)]) -> Vec<Self> {
        let routed = MISROUTE_TOLD.iter().filter_map(|misroute_max| {
            let found = risk::threshold_for(held_back, *misroute_max, risk::CONFIDENCE_LEVEL)?;
            Some(Self {
                misroute_max: *misroute_max,
                confidence_min: found.confidence_min,
                coverage: found.coverage,
                misrouted: found.misrouted,
                misroute_upper95: found.misroute_upper,
            })
        });
        routed.collect()
    }
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
    /// Those of them that taught the cheap tier alone, and are in no figure.
    #[serde(default)]
    pub further: usize,
    /// Parts of rows that taught the cheap tier what a teacher says of them; they are none of the rows.
    #[serde(default)]
    pub excerpts: usize,
    /// SHA-256 over the texts and labels of all rows, hexadecimal.
    pub data_sha256: String,
    /// SHA-256 over the routes' examples, hexadecimal.
    pub routes_sha256: String,
    /// The seed.
    pub seed: u64,
    /// Public sets that rows were taken from.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// How the router did on the rows of each file of labels, unless one had all rows.
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
    /// Questions that nobody labelled and that were learnt all the same, as of a category that is new; they are none of the rows.
    #[serde(default)]
    pub guessed: usize,
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
        let manifest: Self = serde_json::from_slice(text).map_err(detail)?;
        let sum = sealed(&String::from_utf8_lossy(text), &manifest.sha256);
        if sum != manifest.sha256 {
            let edited = "it is not what was written: its checksum is another";
            return Err(Unreadable::Detail(edited.to_owned()));
        }
        Ok(manifest)
    }

    /// The file, sealed with its checksum.
    pub(super) fn seal(&mut self) -> Vec<u8> {
        self.sha256 = ZEROS.to_owned();
        // Numbers, texts and maps with text keys: there is nothing that JSON could not hold.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        self.sha256 = sealed(&text, ZEROS);
        text.replacen(ZEROS, &self.sha256, 1).into_bytes()
    }
}

/// What stands in the place of a checksum while it is taken.
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The checksum of a manifest that has `sum` in its place.
fn sealed(text: &str, sum: &str) -> String {
    hex::encode(Sha256::digest(text.replacen(sum, ZEROS, 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = include_str!("../../../config/router/manifest.json");

    /// Why a manifest is refused; none where it is not.
    fn refusal(text: &str) -> Option<String> {
        match Manifest::parse(text.as_bytes()) {
            Ok(_) => None,
            Err(Unreadable::Detail(detail)) => Some(detail),
            Err(Unreadable::Format(found)) => Some(format!("format {found}")),
        }
    }

    #[test]
    fn a_manifest_is_refused_whose_checksum_is_another_or_was_taken_off() {
        assert_eq!(refusal(WRITTEN), None);
        let field = WRITTEN
            .lines()
            .find(|line| line.starts_with("  \"sha256\""));
        let field = field.unwrap();
        for sum in ["", ZEROS] {
            let with = WRITTEN.replace(field, &format!("  \"sha256\": \"{sum}\""));
            let told = refusal(&with).unwrap_or_default();
            assert!(told.ends_with("its checksum is another"), "{sum}: {told}");
        }
        let without = WRITTEN.replace(&format!(",\n{field}"), "");
        assert!(without.len() < WRITTEN.len());
        assert!(refusal(&without).is_some_and(|told| told.contains("missing field `sha256`")));
    }
}
