//! Rotary position embeddings: pairs of numbers in each attention head turn by an angle that grows with the position.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::rotary_emb::{rope, rope_i};

use super::Family;
use crate::expert::local::{
    error::{LoadFault, in_words},
    gguf::Gguf,
};

/// What GGUF leaves out when the base of the angles is the usual one.
const BASE_DEFAULT: f32 = 10_000.0;

/// How the heads of a model turn.
pub(super) struct Rope {
    /// Radians that each pair turns by from one position to the next.
    turns: Vec<f64>,
    pairing: Pairing,
}

/// Which numbers of a head turn together.
#[derive(Clone, Copy)]
enum Pairing {
    /// Neighbours: the order in which llama files store queries and keys.
    Neighbours,
    /// The first with the one half a head further.
    Halves,
}

/// The angles of some positions, ready to turn queries and keys with.
pub(super) struct Rotation {
    /// `[tokens, 1, pairs]`
    cos: Tensor,
    sin: Tensor,
    pairing: Pairing,
}

impl Rope {
    pub(super) fn load(
        gguf: &Gguf,
        family: Family,
        head_width: usize,
    ) -> std::result::Result<Self, LoadFault> {
        const FACTORS: &str = "rope_freqs.weight";
        let key = |name: &str| format!("{}.rope.{name}", family.as_str());
        if gguf
            .text(&key("scaling.type"))
            .is_ok_and(|kind| kind != "none")
        {
            return Err(LoadFault::Variant {
                detail: "it stretches its context by scaling positions (`rope.scaling.type`)"
                    .into(),
            });
        }
        let base = f64::from(gguf.number(&key("freq_base")).unwrap_or(BASE_DEFAULT));
        let pairs = head_width / 2;
        // Llama 3 slows the low frequencies down by factors that are stored beside the weights.
        let factors = if gguf.has(FACTORS) {
            floats(gguf, FACTORS, pairs)?
        } else {
            vec![1.0; pairs]
        };
        let turns = (0..head_width)
            .step_by(2)
            .zip(factors)
            .map(|(at, factor)| base.powf(-(at as f64) / head_width as f64) / f64::from(factor))
            .collect();
        let pairing = match family {
            Family::Llama => Pairing::Neighbours,
            Family::Qwen2 => Pairing::Halves,
        };
        Ok(Self { turns, pairing })
    }

    /// The angles of `positions`, computed anew each time: cheap beside one layer, and no table bounds the context.
    pub(super) fn rotation(&self, positions: Range<usize>) -> Result<Rotation> {
        let shape = (positions.len(), 1, self.turns.len());
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in positions {
            for turn in &self.turns {
                let (sine, cosine) = (position as f64 * turn).sin_cos();
                cos.push(cosine);
                sin.push(sine);
            }
        }
        let floats =
            |values: Vec<f64>| Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::F32);
        Ok(Rotation {
            cos: floats(cos)?,
            sin: floats(sin)?,
            pairing: self.pairing,
        })
    }
}

impl Rotation {
    /// Turns queries or keys, `[tokens, heads, head_width]`.
    pub(super) fn turn(&self, heads: &Tensor) -> Result<Tensor> {
        // To candle each token is a batch of its own with one position, which saves transposing tokens and heads.
        let batches = heads.unsqueeze(2)?;
        let turned = match self.pairing {
            Pairing::Neighbours => rope_i(&batches, &self.cos, &self.sin),
            Pairing::Halves => rope(&batches, &self.cos, &self.sin),
        };
        turned?.squeeze(2)
    }
}

fn floats(gguf: &Gguf, name: &str, len: usize) -> std::result::Result<Vec<f32>, LoadFault> {
    gguf.vector(name, len)?
        .to_vec1()
        .map_err(|error| LoadFault::Tensor {
            name: name.into(),
            detail: in_words(&error),
        })
}
