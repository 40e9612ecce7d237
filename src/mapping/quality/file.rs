//! A quality model ⇄ the bytes of its safetensors file.
//!
//! | tensor | holds |
//! | --- | --- |
//! | `lexicon.idf` | fp16, the weight of each bucket of words |
//! | `form.means`, `form.deviations` | the scale of each measure of the form |
//! | `form.frequencies`, `form.phases` | the waves over them |
//! | `head.sparse`, `head.scales` | buckets × experts in bytes, and fp16 what a byte of each bucket is worth |
//! | `head.dense`, `head.bias` | measures and waves × experts; one an expert |
//! | `categories` | categories × experts; minus infinity where an expert may not answer a category |
//!
//! Its metadata name the experts, the categories, what experts cost and a digest of the tensors.

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    form::{Form, MEASURES},
    model::QualityModel,
    prefer::{Costs, Preferences},
};
use crate::{
    ids::{CategoryId, ExpertId},
    router::{
        encoder::metadata,
        head::{Head, Quantised},
        lexical::Lexicon,
    },
};

/// Raised whenever an older reader would misread the file.
pub const FORMAT: u32 = 1;

/// Why a quality model cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not what `coterie map fit --per-question` writes ({detail})")]
pub struct Unusable {
    /// What is wrong with the bytes.
    pub detail: String,
}

/// What the file says of itself.
#[derive(Serialize, Deserialize)]
struct About {
    format: u32,
    experts: Vec<ExpertId>,
    categories: Vec<CategoryId>,
    costs: Option<Costs>,
    preferences: Preferences,
    content_sha256: String,
}

impl QualityModel {
    /// The bytes of the model's file; equal models give equal bytes.
    ///
    /// # Errors
    /// The model holds numbers that no file can.
    pub fn to_bytes(&self) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let sparse = self.head.sparse();
        let values = sparse.values.iter().map(|value| value.cast_unsigned());
        let tensors = [
            ("categories", Dtype::F32, floats(&self.of_categories)),
            ("form.deviations", Dtype::F32, floats(&self.form.deviations)),
            (
                "form.frequencies",
                Dtype::F32,
                floats(&self.form.frequencies),
            ),
            ("form.means", Dtype::F32, floats(&self.form.means)),
            ("form.phases", Dtype::F32, floats(&self.form.phases)),
            ("head.bias", Dtype::F32, floats(self.head.bias())),
            ("head.dense", Dtype::F32, floats(self.head.dense())),
            ("head.scales", Dtype::F16, halves(&sparse.scales)),
            ("head.sparse", Dtype::I8, values.collect()),
            ("lexicon.idf", Dtype::F16, halves(self.lexicon.idf())),
        ];
        let about = About {
            format: FORMAT,
            experts: self.experts.clone(),
            categories: self.categories.clone(),
            costs: self.costs.clone(),
            preferences: self.preferences,
            content_sha256: digest(
                tensors
                    .iter()
                    .map(|(name, _, bytes)| (*name, bytes.as_slice())),
            ),
        };
        let views = tensors.iter().map(|(name, dtype, bytes)| {
            let length = bytes.len() * 8 / dtype.bitsize();
            Ok((*name, TensorView::new(*dtype, vec![length], bytes)?))
        });
        let views: Vec<_> = views.collect::<Result<_, safetensors::SafeTensorError>>()?;
        // Names and finite numbers: there is nothing that JSON could not hold.
        safetensors::serialize(views, metadata::of(&about).ok())
    }

    /// Reads the bytes of a model's file.
    ///
    /// # Errors
    /// They are cut off, changed, or of another format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unusable> {
        read(bytes).map_err(|detail| Unusable { detail })
    }
}

fn read(bytes: &[u8]) -> Result<QualityModel, String> {
    let about: About = metadata::read(bytes, FORMAT)?;
    let tensors = Tensors(SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?);
    let mut names = tensors.0.names();
    names.sort_unstable();
    let content = names
        .iter()
        .filter_map(|name| Some((*name, tensors.0.tensor(name).ok()?.data())));
    if digest(content) != about.content_sha256 {
        return Err("its checksum is not that of its content".into());
    }
    let form = Form {
        means: tensors.floats("form.means")?,
        deviations: tensors.floats("form.deviations")?,
        frequencies: tensors.floats("form.frequencies")?,
        phases: tensors.floats("form.phases")?,
    };
    let sparse = Quantised {
        scales: tensors.halves("head.scales")?,
        values: tensors.signed("head.sparse")?,
        columns: Vec::new(),
    };
    let head = Head::from_parts(
        sparse,
        tensors.floats("head.dense")?,
        tensors.floats("head.bias")?,
    );
    let model = QualityModel {
        lexicon: Lexicon::from_idf(tensors.halves("lexicon.idf")?)
            .ok_or("`lexicon.idf` has a wrong length")?,
        head: head.ok_or("the parts of the head do not fit together")?,
        of_categories: tensors.floats("categories")?,
        form,
        experts: about.experts,
        categories: about.categories,
        costs: about.costs,
        preferences: about.preferences,
    };
    if is_sound(&model) {
        Ok(model)
    } else {
        Err("its parts do not fit together".into())
    }
}

/// Whether every part has the size that the others ask for.
fn is_sound(model: &QualityModel) -> bool {
    let QualityModel { form, head, .. } = model;
    let experts = model.experts.len();
    let fits = form.means.len() == MEASURES
        && form.deviations.len() == form.means.len()
        && form.frequencies.len() == form.phases.len() * form.means.len()
        && form.deviations.iter().all(|deviation| *deviation > 0.0)
        && head.classes() == experts
        && head.dimensions() == form.dimensions()
        && head.sparse().scales.len() == model.lexicon.idf().len()
        && model.of_categories.len() == model.categories.len() * experts;
    let costs = model.costs.as_ref().is_none_or(|costs| {
        costs.of.len() == experts && costs.of.iter().all(|cost| cost.is_finite() && *cost >= 0.0)
    });
    fits && costs && model.categories.is_sorted()
}

struct Tensors<'b>(SafeTensors<'b>);

impl Tensors<'_> {
    fn bytes(&self, name: &str, dtype: Dtype) -> Result<&[u8], String> {
        match self.0.tensor(name) {
            Ok(view) if view.dtype() == dtype => Ok(view.data()),
            Ok(_) => Err(format!("`{name}` is not {dtype:?}")),
            Err(_absent) => Err(format!("there is no `{name}`")),
        }
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>, String> {
        let (numbers, _) = self.bytes(name, Dtype::F32)?.as_chunks::<4>();
        Ok(numbers
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect())
    }

    fn halves(&self, name: &str) -> Result<Vec<f32>, String> {
        let (numbers, _) = self.bytes(name, Dtype::F16)?.as_chunks::<2>();
        Ok(numbers
            .iter()
            .map(|bytes| f16::from_le_bytes(*bytes).to_f32())
            .collect())
    }

    fn signed(&self, name: &str) -> Result<Vec<i8>, String> {
        let bytes = self.bytes(name, Dtype::I8)?;
        Ok(bytes.iter().map(|byte| byte.cast_signed()).collect())
    }
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn halves(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| f16::from_f32(*number).to_le_bytes())
        .collect()
}

/// Of all tensors in the order of their names.
fn digest<'t>(tensors: impl Iterator<Item = (&'t str, &'t [u8])>) -> String {
    let mut sha256 = Sha256::new();
    for (name, bytes) in tensors {
        sha256.update(name.as_bytes());
        sha256.update([0]);
        sha256.update((bytes.len() as u64).to_le_bytes());
        sha256.update(bytes);
    }
    hex::encode(sha256.finalize())
}
