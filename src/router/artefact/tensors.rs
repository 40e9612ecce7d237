//! The numbers of a model ⇄ safetensors.

use std::collections::HashMap;

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::manifest::Manifest;
use crate::router::{
    head::{Head, Quantised},
    lexical::Lexicon,
    model::{self, FullTier, Model, Tier, Transformer},
    novelty::{Novelty, NoveltyParts},
};

/// A model's numbers, and the confidences of rows held back.
pub(super) fn pack(model: &Model, held_back: &[(f32, bool)]) -> Vec<u8> {
    let mut tensors = Tensors::default();
    if let Some(lexicon) = &model.lexicon {
        tensors.halves("lexicon.idf", lexicon.idf());
    }
    if let Some(tier) = &model.cheap {
        tensors.head("cheap", &tier.head);
    }
    if let Some(full) = &model.full {
        tensors.head("full", &full.tier.head);
        tensors.floats("full.cheap_weight", &[full.cheap_weight]);
        match &full.transformer {
            Transformer::Layers { means } => tensors.floats("transformer.means", means),
            Transformer::Tuned { weights, bias } => {
                tensors.floats("transformer.weights", weights);
                tensors.floats("transformer.bias", bias);
            }
        }
        if let Some(novelty) = &full.novelty {
            let parts = novelty.parts();
            tensors.floats("novelty.near", &parts.near);
            tensors.floats("novelty.far", &parts.far);
            tensors.floats("novelty.means", &parts.means);
            tensors.floats("novelty.mean", &parts.mean);
            tensors.floats("novelty.reference", &parts.reference);
        }
    }
    let confidences: Vec<f32> = held_back
        .iter()
        .map(|(confidence, _)| *confidence)
        .collect();
    let right: Vec<u8> = held_back
        .iter()
        .map(|(_, right)| u8::from(*right))
        .collect();
    tensors.floats("held_back.confidence", &confidences);
    tensors.add("held_back.right", Dtype::U8, right.len(), right);
    tensors.serialize()
}

/// What [`pack`] packed; the error says what is missing or does not fit.
pub(super) fn unpack(
    bytes: &[u8],
    manifest: &Manifest,
) -> Result<(Model, Vec<(f32, bool)>), String> {
    let tensors = Packed(SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?);
    let lexicon = tensors.has("lexicon.idf").then(|| {
        Lexicon::from_idf(tensors.halves("lexicon.idf")?)
            .ok_or("`lexicon.idf` has a wrong length".to_owned())
    });
    let tier = |name: &str, report: &Option<super::TierReport>| -> Result<Option<Tier>, String> {
        let Some(report) = report else {
            return Ok(None);
        };
        let head = tensors.head(name)?;
        let fits = head.classes() == manifest.categories.len()
            && report.calibration.is_sound(head.classes());
        let calibration = report.calibration.clone();
        fits.then_some(Some(Tier { head, calibration }))
            .ok_or_else(|| format!("the {name} tier does not fit the categories"))
    };
    let cheap = tier("cheap", &manifest.cheap)?;
    let full = tier("full", &manifest.full)?
        .map(|tier| tensors.full(tier))
        .transpose()?;
    let confidences = tensors.floats("held_back.confidence")?;
    let right = tensors.bytes("held_back.right", Dtype::U8)?;
    let held_back = confidences
        .into_iter()
        .zip(right.iter().map(|right| *right != 0))
        .collect();
    let silent = manifest.silent.iter().map(|silent| {
        let place = manifest.categories.iter().position(|it| it == silent);
        place.ok_or_else(|| format!("`{silent}` is silent and no class"))
    });
    let model = Model {
        silent: silent.collect::<Result<_, _>>()?,
        outside: model::outside(&manifest.categories),
        categories: manifest.categories.clone(),
        lexicon: lexicon.transpose()?,
        cheap,
        full,
        settled_from: manifest.cascade.settled_from.unwrap_or(f32::INFINITY),
    };
    Ok((model, held_back))
}

#[derive(Default)]
struct Tensors(Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    fn add(&mut self, name: &str, dtype: Dtype, length: usize, bytes: Vec<u8>) {
        self.0.push((name.to_owned(), dtype, vec![length], bytes));
    }

    fn floats(&mut self, name: &str, values: &[f32]) {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.add(name, Dtype::F32, values.len(), bytes);
    }

    fn halves(&mut self, name: &str, values: &[f32]) {
        let bytes = values
            .iter()
            .flat_map(|value| f16::from_f32(*value).to_le_bytes())
            .collect();
        self.add(name, Dtype::F16, values.len(), bytes);
    }

    fn head(&mut self, name: &str, head: &Head) {
        let sparse = head.sparse();
        if !sparse.scales.is_empty() {
            let bytes: Vec<u8> = sparse
                .values
                .iter()
                .map(|value| value.to_le_bytes()[0])
                .collect();
            self.add(&format!("{name}.sparse"), Dtype::I8, bytes.len(), bytes);
            self.halves(&format!("{name}.sparse_scale"), &sparse.scales);
        }
        if !sparse.columns.is_empty() {
            let columns = sparse.columns.iter();
            let bytes = columns.flat_map(|column| column.to_le_bytes()).collect();
            let name = format!("{name}.sparse_column");
            self.add(&name, Dtype::U16, sparse.columns.len(), bytes);
        }
        self.floats(&format!("{name}.dense"), head.dense());
        self.floats(&format!("{name}.bias"), head.bias());
    }

    fn serialize(self) -> Vec<u8> {
        let views = self.0.iter().filter_map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).ok()?;
            Some((name.clone(), view))
        });
        let views: HashMap<String, TensorView<'_>> = views.collect();
        let mut views: Vec<_> = views.into_iter().collect();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        // The views' lengths fit their shapes by construction, which is all that can be refused.
        safetensors::serialize(views, None).unwrap_or_default()
    }
}

struct Packed<'b>(SafeTensors<'b>);

impl Packed<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    fn bytes(&self, name: &str, dtype: Dtype) -> Result<Vec<u8>, String> {
        match self.0.tensor(name) {
            Ok(view) if view.dtype() == dtype => Ok(view.data().to_vec()),
            Ok(_) => Err(format!("`{name}` is not {dtype:?}")),
            Err(_absent) => Err(format!("there is no `{name}`")),
        }
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>, String> {
        let bytes = self.bytes(name, Dtype::F32)?;
        Ok(bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect())
    }

    fn halves(&self, name: &str) -> Result<Vec<f32>, String> {
        let bytes = self.bytes(name, Dtype::F16)?;
        Ok(bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|bytes| f16::from_le_bytes(*bytes).to_f32())
            .collect())
    }

    fn head(&self, name: &str) -> Result<Head, String> {
        let sparse = if self.has(&format!("{name}.sparse")) {
            let values = self.bytes(&format!("{name}.sparse"), Dtype::I8)?;
            let columns = format!("{name}.sparse_column");
            let columns = match self.has(&columns) {
                true => self.bytes(&columns, Dtype::U16)?,
                false => Vec::new(),
            };
            let columns = columns.as_chunks::<2>().0.iter();
            Quantised {
                columns: columns.map(|bytes| u16::from_le_bytes(*bytes)).collect(),
                scales: self.halves(&format!("{name}.sparse_scale"))?,
                values: values
                    .into_iter()
                    .map(|value| i8::from_le_bytes([value]))
                    .collect(),
            }
        } else {
            Quantised::default()
        };
        let (dense, bias) = (
            self.floats(&format!("{name}.dense"))?,
            self.floats(&format!("{name}.bias"))?,
        );
        Head::from_parts(sparse, dense, bias)
            .ok_or_else(|| format!("the parts of the {name} tier do not fit together"))
    }

    fn full(&self, tier: Tier) -> Result<FullTier, String> {
        let transformer = if self.has("transformer.means") {
            Transformer::Layers {
                means: self.floats("transformer.means")?,
            }
        } else {
            Transformer::Tuned {
                weights: self.floats("transformer.weights")?,
                bias: self.floats("transformer.bias")?,
            }
        };
        let novelty = self.has("novelty.near").then(|| {
            let parts = NoveltyParts {
                near: self.floats("novelty.near")?,
                far: self.floats("novelty.far")?,
                means: self.floats("novelty.means")?,
                mean: self.floats("novelty.mean")?,
                reference: self.floats("novelty.reference")?,
            };
            Novelty::from_parts(parts)
                .ok_or("the parts of the detector do not fit together".to_owned())
        });
        let cheap_weight = match self.floats("full.cheap_weight")?[..] {
            [weight] if weight.is_finite() => weight,
            _ => return Err("`full.cheap_weight` is not one number".to_owned()),
        };
        Ok(FullTier {
            tier,
            cheap_weight,
            transformer,
            novelty: novelty.transpose()?,
        })
    }
}
