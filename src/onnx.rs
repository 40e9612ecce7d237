//! Writes BERT-shaped sentence encoders as ONNX, the graph format that ONNX Runtime reads.
//!
//! Made from the weights as they are published: `config.json` and `model.safetensors`. Knows nothing of runtimes or of
//! what the vectors are for.

mod bert;
mod graph;
mod proto;
mod weights;

pub use bert::{NoSuchLayer, Output, bert};
pub use weights::{Form, Weights, WeightsError};
