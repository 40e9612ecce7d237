//! Causal attention with grouped queries, over a cache of the keys and values of all earlier positions.

use candle_core::{DType, Device, Module, Result, Tensor, quantized::QMatMul};
use candle_nn::attention::{AttnMask, flash_attn};

use super::{Sizes, rope::Rotation};
use crate::expert::local::{
    error::{LoadFault, in_words},
    gguf::Gguf,
};

/// Positions that a cache first has room for; it doubles as a conversation grows, up to the context.
const CACHE_TOKENS_MIN: usize = 256;

/// The attention half of a layer.
pub(super) struct Attention {
    query: Projection,
    key: Projection,
    value: Projection,
    output: QMatMul,
    cache: Cache,
}

/// States → heads: `[tokens, width]` → `[tokens, heads, head_width]`.
struct Projection {
    weight: QMatMul,
    bias: Option<Tensor>,
    heads: usize,
    head_width: usize,
}

/// Keys and values by position, `[room, kv_heads, head_width]` each.
struct Cache {
    keys: Tensor,
    values: Tensor,
    tokens_max: usize,
}

impl Attention {
    pub(super) fn load(
        gguf: &Gguf,
        prefix: &str,
        sizes: &Sizes,
    ) -> std::result::Result<Self, LoadFault> {
        let projection =
            |name: &str, heads| Projection::load(gguf, &format!("{prefix}.{name}"), heads, sizes);
        let attended_width = sizes.heads * sizes.head_width;
        Ok(Self {
            query: projection("attn_q", sizes.heads)?,
            key: projection("attn_k", sizes.kv_heads)?,
            value: projection("attn_v", sizes.kv_heads)?,
            output: gguf.matrix(
                &format!("{prefix}.attn_output.weight"),
                [sizes.width, attended_width],
            )?,
            cache: Cache::new(sizes).map_err(|error| LoadFault::Variant {
                detail: format!("no room for its keys and values ({})", in_words(&error)),
            })?,
        })
    }

    /// `[tokens, width]` in and out; the first token stands at `position`.
    pub(super) fn forward(
        &mut self,
        states: &Tensor,
        position: usize,
        rotation: &Rotation,
    ) -> Result<Tensor> {
        let queries = rotation.turn(&self.query.forward(states)?)?;
        let keys = rotation.turn(&self.key.forward(states)?)?;
        let values = self.value.forward(states)?;
        let (keys, values) = self.cache.extend(&keys, &values, position)?;
        let scale = 1.0 / (self.query.head_width as f32).sqrt();
        let attended = flash_attn::<f32>(
            &queries.unsqueeze(0)?,
            &keys.unsqueeze(0)?,
            &values.unsqueeze(0)?,
            scale,
            AttnMask::causal_with_offset(position),
            None,
            None,
        )?;
        // `[1, heads, tokens, head_width]`
        let attended = attended.squeeze(0)?.transpose(0, 1)?.flatten_from(1)?;
        self.output.forward(&attended)
    }

    /// A copy of the keys and values of the first `tokens` positions.
    pub(super) fn keep(&self, tokens: usize) -> Result<[Tensor; 2]> {
        let Cache { keys, values, .. } = &self.cache;
        Ok([
            widened(keys, tokens, tokens)?,
            widened(values, tokens, tokens)?,
        ])
    }

    /// Writes them over whatever stands at the first `tokens` positions.
    pub(super) fn recall(&mut self, [keys, values]: &[Tensor; 2], tokens: usize) -> Result<()> {
        self.cache.make_room(tokens, 0)?;
        self.cache.keys.slice_set(keys, 0, 0)?;
        self.cache.values.slice_set(values, 0, 0)
    }
}

impl Projection {
    fn load(
        gguf: &Gguf,
        name: &str,
        heads: usize,
        sizes: &Sizes,
    ) -> std::result::Result<Self, LoadFault> {
        let outputs = heads * sizes.head_width;
        let bias = format!("{name}.bias");
        Ok(Self {
            weight: gguf.matrix(&format!("{name}.weight"), [outputs, sizes.width])?,
            bias: match gguf.has(&bias) {
                true => Some(gguf.vector(&bias, outputs)?),
                false => None,
            },
            heads,
            head_width: sizes.head_width,
        })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let projected = self.weight.forward(states)?;
        let projected = match &self.bias {
            Some(bias) => projected.broadcast_add(bias)?,
            None => projected,
        };
        projected.reshape(((), self.heads, self.head_width))
    }
}

impl Cache {
    fn new(sizes: &Sizes) -> Result<Self> {
        let room = CACHE_TOKENS_MIN.min(sizes.context_tokens);
        let empty = || {
            Tensor::zeros(
                (room, sizes.kv_heads, sizes.head_width),
                DType::F32,
                &Device::Cpu,
            )
        };
        Ok(Self {
            keys: empty()?,
            values: empty()?,
            tokens_max: sizes.context_tokens,
        })
    }

    /// Writes the keys and values of the tokens from `position` on; gives those of all tokens up to the last of them.
    fn extend(
        &mut self,
        keys: &Tensor,
        values: &Tensor,
        position: usize,
    ) -> Result<(Tensor, Tensor)> {
        let end = position + keys.dim(0)?;
        self.make_room(end, position)?;
        self.keys.slice_set(keys, 0, position)?;
        self.values.slice_set(values, 0, position)?;
        Ok((self.keys.narrow(0, 0, end)?, self.values.narrow(0, 0, end)?))
    }

    /// Makes room for positions up to `end`, of which the first `kept` are not lost.
    fn make_room(&mut self, end: usize, kept: usize) -> Result<()> {
        let room = self.keys.dim(0)?;
        if end > room {
            let room = end.max(2 * room).min(self.tokens_max);
            self.keys = widened(&self.keys, kept, room)?;
            self.values = widened(&self.values, kept, room)?;
        }
        Ok(())
    }
}

/// A copy of the first `kept` rows with room for `room`.
fn widened(rows: &Tensor, kept: usize, room: usize) -> Result<Tensor> {
    let (_, heads, width) = rows.dims3()?;
    let wide = Tensor::zeros((room, heads, width), DType::F32, &Device::Cpu)?;
    if kept > 0 {
        wide.slice_set(&rows.narrow(0, 0, kept)?, 0, 0)?;
    }
    Ok(wide)
}
