//! One layer: attention, then a feed-forward network, each on normed input and added to what came in.

use candle_core::{Module, Result, Tensor, quantized::QMatMul};
use candle_nn::ops::{rms_norm, silu};

use super::{Sizes, attention::Attention, rope::Rotation};
use crate::expert::local::{error::LoadFault, gguf::Gguf};

/// One layer with the keys and values that it has seen.
pub(super) struct Layer {
    attention_norm: Norm,
    attention: Attention,
    feed_forward_norm: Norm,
    feed_forward: FeedForward,
}

/// Scales each row to a root mean square of 1, then by learnt weights.
pub(super) struct Norm {
    weight: Tensor,
    epsilon: f32,
}

/// A network with one inner layer, gated by a second one (arXiv:2002.05202).
struct FeedForward {
    gate: QMatMul,
    up: QMatMul,
    down: QMatMul,
}

impl Layer {
    pub(super) fn load(
        gguf: &Gguf,
        block: usize,
        sizes: &Sizes,
    ) -> std::result::Result<Self, LoadFault> {
        let prefix = format!("blk.{block}");
        Ok(Self {
            attention_norm: Norm::load(gguf, &format!("{prefix}.attn_norm"), sizes)?,
            attention: Attention::load(gguf, &prefix, sizes)?,
            feed_forward_norm: Norm::load(gguf, &format!("{prefix}.ffn_norm"), sizes)?,
            feed_forward: FeedForward::load(gguf, &prefix, sizes)?,
        })
    }

    /// States in and out: `[tokens, width]`; the first token stands at `position`.
    pub(super) fn forward(
        &mut self,
        states: &Tensor,
        position: usize,
        rotation: &Rotation,
    ) -> Result<Tensor> {
        let normed = self.attention_norm.forward(states)?;
        let states = (states + self.attention.forward(&normed, position, rotation)?)?;
        let normed = self.feed_forward_norm.forward(&states)?;
        &states + self.feed_forward.forward(&normed)?
    }
}

impl Layer {
    /// See [`Model::keep`](super::Model::keep).
    pub(super) fn keep(&self, tokens: usize) -> Result<[Tensor; 2]> {
        self.attention.keep(tokens)
    }

    /// See [`Model::recall`](super::Model::recall).
    pub(super) fn recall(&mut self, kept: &[Tensor; 2], tokens: usize) -> Result<()> {
        self.attention.recall(kept, tokens)
    }
}

impl Norm {
    pub(super) fn load(
        gguf: &Gguf,
        name: &str,
        sizes: &Sizes,
    ) -> std::result::Result<Self, LoadFault> {
        Ok(Self {
            weight: gguf.vector(&format!("{name}.weight"), sizes.width)?,
            epsilon: sizes.norm_epsilon,
        })
    }

    pub(super) fn forward(&self, states: &Tensor) -> Result<Tensor> {
        rms_norm(states, &self.weight, self.epsilon)
    }
}

impl FeedForward {
    fn load(gguf: &Gguf, prefix: &str, sizes: &Sizes) -> std::result::Result<Self, LoadFault> {
        let (width, inner) = (sizes.width, sizes.inner_width);
        Ok(Self {
            gate: gguf.matrix(&format!("{prefix}.ffn_gate.weight"), [inner, width])?,
            up: gguf.matrix(&format!("{prefix}.ffn_up.weight"), [inner, width])?,
            down: gguf.matrix(&format!("{prefix}.ffn_down.weight"), [width, inner])?,
        })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let gated = (silu(&self.gate.forward(states)?)? * self.up.forward(states)?)?;
        self.down.forward(&gated)
    }
}
