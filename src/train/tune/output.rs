//! What tuning leaves behind: the changes, the weights with the changes merged in, and the held-back logits.
//!
//! The changes are rounded to fp16, or to levels of few bits where all weights were tuned, before they are merged, and merged by
//! the reader that the router uses: base and adapter give the merged weights to the bit.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Tensor};
use safetensors::{Dtype, tensor::TensorView};

use super::{
    FORMAT, FitReport, Options, Report, TuneError,
    checkpoint::Tensors,
    dataset::{Dataset, Key},
    model::written_scale,
    work::HeldBack,
};
use crate::{
    files::write_whole,
    onnx::{self, Output, Weights},
    router::encoder::{
        adapter::{self, About, Adapter, AdapterError, Levels},
        metadata,
    },
    train::base::{Base, BaseError, COMPANIONS, WEIGHTS, floats},
};

const ADAPTER: &str = "adapter.safetensors";
/// The tuned weights as a graph for ONNX Runtime.
const GRAPH: &str = "model.onnx";
const HELD_BACK: &str = "held_back.safetensors";
pub(super) const REPORT: &str = "tuned.json";

/// What the files are made from, beside the fits.
#[derive(Clone, Copy)]
pub(super) struct Outputs<'a> {
    pub(super) base: &'a Base,
    pub(super) dataset: &'a Dataset,
    pub(super) options: &'a Options,
}

/// A fit as it is written.
pub(super) struct Written {
    /// The adapter's file.
    file: Vec<u8>,
    pub(super) adapter: Adapter,
    /// The base with the changes taken in.
    pub(super) tuned: Base,
}

impl Outputs<'_> {
    /// Writes everything into `out`; the report comes last, and says that the rest is there.
    pub(super) fn write(
        &self,
        out: &Path,
        (last, report): (&Written, FitReport),
        folds: &[HeldBack],
    ) -> Result<Report, TuneError> {
        let write = |name: &str, bytes: &[u8]| {
            let path = out.join(name);
            write_whole(&path, bytes).map_err(TuneError::io(&path))
        };
        for name in COMPANIONS {
            let from = self.base.dir.join(name);
            write(name, &fs::read(&from).map_err(TuneError::io(&from))?)?;
        }
        write(ADAPTER, &last.file)?;
        write(WEIGHTS, &last.tuned.weights)?;
        write(GRAPH, &graph(out)?)?;
        if !folds.is_empty() {
            write(HELD_BACK, &self.held_back(folds)?)?;
        }
        let report = self.report((&last.tuned.sha256, report), folds);
        let json = serde_json::to_vec_pretty(&report).map_err(|error| TuneError::Io {
            path: out.join(REPORT),
            source: error.into(),
        })?;
        write(REPORT, &json)?;
        Ok(report)
    }

    /// A fit with these parameters, as it is to be written.
    pub(super) fn written(&self, parameters: &Tensors) -> Result<Written, TuneError> {
        let file = self.adapter(parameters)?;
        let adapter = read_back(&file)?;
        let tuned = self.base.with_weights(self.merged(&adapter)?);
        Ok(Written {
            file,
            adapter,
            tuned,
        })
    }

    fn adapter(&self, parameters: &Tensors) -> Result<Vec<u8>, TuneError> {
        let mut tensors = Vec::new();
        for (name, value) in parameters {
            tensors.extend(self.entries(name, value)?);
        }
        let about = About {
            format: adapter::FORMAT,
            base_sha256: self.base.sha256.clone(),
            categories: self.dataset.categories.clone(),
            bits: self.options.all_weights.then_some(self.options.bits),
        };
        let metadata = metadata::of(&about).map_err(packing)?;
        safetensors::serialize(tensors, Some(metadata)).map_err(packing)
    }

    /// What the adapter's file holds of a parameter.
    fn entries(&self, name: &str, value: &Tensor) -> Result<Vec<(String, Tensor)>, TuneError> {
        if name.starts_with("head.") || name.contains(".lora_") {
            let value = value.affine(written_scale(name), 0.0)?;
            return Ok(vec![(name.to_owned(), value.to_dtype(DType::F16)?)]);
        }
        let change = (value - self.base.tensor(name, value.dims(), value.device())?)?;
        let [outputs, inputs] = *change.dims() else {
            return Ok(vec![(
                format!("{name}.delta"),
                change.to_dtype(DType::F16)?,
            )]);
        };
        let levels = self.levels(name, &change, inputs)?;
        let (scales, codes) = (levels.scales(), levels.codes());
        let of_row = (outputs, codes.len() / outputs);
        let scales = Tensor::from_slice(scales, outputs, value.device())?;
        let codes = Tensor::from_slice(codes, of_row, value.device())?;
        Ok(vec![
            (format!("{name}.scales"), scales.to_dtype(DType::F16)?),
            (format!("{name}.codes"), codes),
        ])
    }

    fn levels(&self, name: &str, change: &Tensor, inputs: usize) -> Result<Levels, TuneError> {
        let numbers: Vec<f32> = change.flatten_all()?.to_vec1()?;
        if numbers.iter().any(|number| !number.is_finite()) {
            let told = format!("{name} has numbers that are not finite; tune with another --seed");
            return Err(TuneError::from(candle_core::Error::msg(told)));
        }
        Levels::nearest(self.options.bits, &numbers, inputs).ok_or_else(|| {
            TuneError::from(BaseError::Unusable {
                path: self.base.dir.join(WEIGHTS),
                detail: format!("{name} has rows of {inputs} numbers, which fill no bytes"),
            })
        })
    }

    /// The base's file with the changes taken in.
    fn merged(&self, adapter: &Adapter) -> Result<Vec<u8>, TuneError> {
        let base = self.base.tensors()?;
        let mut tensors = base.tensors();
        tensors.sort_by(|(one, _), (other, _)| one.cmp(other));
        adapter.check(
            tensors
                .iter()
                .map(|(name, view)| (name.as_str(), view.shape())),
        )?;
        let mut changed: HashMap<&str, Vec<u8>> = HashMap::new();
        for (name, view) in tensors.iter().filter(|(name, _)| adapter.changes(name)) {
            let mut values = floats(view);
            adapter.apply(name, view.shape(), &mut values)?;
            let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
            changed.insert(name, bytes);
        }
        let views = tensors.iter().map(|(name, view)| {
            let data = changed.get(name.as_str()).map_or(view.data(), |data| data);
            let view = TensorView::new(view.dtype(), view.shape().to_vec(), data)?;
            Ok((name.as_str(), view))
        });
        let views = views
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(packing)?;
        // What other readers of such files look for.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize(views, Some(metadata)).map_err(packing)
    }

    /// `logits` (rows × classes) and `keys`, by which a row's text is found, in the order of the rows.
    fn held_back(&self, folds: &[HeldBack]) -> Result<Vec<u8>, TuneError> {
        let (rows, classes) = (self.dataset.rows.len(), self.dataset.categories.len());
        let mut logits = vec![0.0_f32; rows * classes];
        for fold in folds {
            for (row, scored) in fold.rows.iter().zip(fold.logits.chunks(classes)) {
                logits[row * classes..][..classes].copy_from_slice(scored);
            }
        }
        let logits: Vec<u8> = logits.into_iter().flat_map(f32::to_le_bytes).collect();
        let keys: Vec<u8> = self.dataset.rows.iter().flat_map(|row| row.key).collect();
        let view = |dtype, width, data| TensorView::new(dtype, vec![rows, width], data);
        let views = [
            ("logits", view(Dtype::F32, classes, &logits)),
            ("keys", view(Dtype::U8, size_of::<Key>(), &keys)),
        ];
        let views = views
            .into_iter()
            .map(|(name, view)| Ok((name, view.map_err(packing)?)))
            .collect::<Result<Vec<_>, TuneError>>()?;
        safetensors::serialize(views, None).map_err(packing)
    }

    fn report(&self, (model_sha256, last): (&str, FitReport), folds: &[HeldBack]) -> Report {
        let held_back: Vec<usize> = folds.iter().flat_map(|fold| fold.rows.clone()).collect();
        let logits: Vec<f32> = folds.iter().flat_map(|fold| fold.logits.clone()).collect();
        let fits: Vec<FitReport> = folds
            .iter()
            .map(|fold| fold.report.clone())
            .chain([last])
            .collect();
        Report {
            format: FORMAT,
            base_sha256: self.base.sha256.clone(),
            model_sha256: model_sha256.to_owned(),
            data_sha256: self.dataset.sha256.clone(),
            rows: self.dataset.rows.len(),
            categories: self.dataset.categories.clone(),
            options: self.options.clone(),
            held_back_accuracy: self.dataset.accuracy(&held_back, &logits),
            seconds: fits.iter().map(|fit| fit.seconds).sum(),
            fits,
        }
    }
}

fn read_back(adapter: &[u8]) -> Result<Adapter, TuneError> {
    Adapter::from_bytes(adapter).map_err(|detail| {
        TuneError::from(AdapterError::Corrupt {
            path: ADAPTER.into(),
            detail,
        })
    })
}

/// Tensors that do not fit their own shapes: a fault of this program.
fn packing(error: impl std::error::Error + Send + Sync + 'static) -> TuneError {
    TuneError::from(candle_core::Error::wrap(error))
}

/// The tuned encoder as an ONNX graph, from what was written to the folder `out`.
fn graph(out: &Path) -> Result<Vec<u8>, TuneError> {
    let weights = Weights::read(out).map_err(|source| TuneError::Graph {
        source: source.into(),
    })?;
    onnx::bert(&weights, &[Output::LastHiddenState]).map_err(|source| TuneError::Graph {
        source: source.into(),
    })
}
