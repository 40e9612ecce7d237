//! The transformer that the llama and qwen2 families share, on candle's quantised matrices.
//!
//! Root-mean-square norms before each half of a layer, rotary positions, grouped-query attention, a gated feed-forward
//! network. The families differ in which numbers a rotation pairs and in whether queries, keys and values have a bias.
//! Sources: arXiv:2302.13971 (Llama), arXiv:2407.10671 (Qwen2), arXiv:2104.09864 (rotary positions).
//!
//! The model keeps keys and values of every position that it has read; who calls it says where the next tokens stand,
//! so going back to an earlier position needs nothing but a smaller number. Synchronous, and knows nothing of text.

mod attention;
mod layer;
mod rope;

use candle_core::{Device, Module, Result, Tensor, quantized::QMatMul};
use rayon::prelude::*;

use self::{
    layer::{Layer, Norm},
    rope::Rope,
};
use super::{error::LoadFault, gguf::Gguf};

/// A family of models that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama and what is built like it: SmolLM2, Llama 3.
    Llama,
    /// Qwen 2 and 2.5.
    Qwen2,
}

/// A model, ready to read tokens.
pub(super) struct Model {
    embedding: QMatMul,
    layers: Vec<Layer>,
    norm: Norm,
    head: QMatMul,
    rope: Rope,
}

/// What a model keeps of the first tokens of a prompt.
pub(super) struct Memory {
    tokens: usize,
    /// Keys and values, `[tokens, kv_heads, head_width]` each, by layer.
    layers: Vec<[Tensor; 2]>,
}

/// The sizes of a model.
struct Sizes {
    /// Numbers that a token is carried as between layers.
    width: usize,
    /// Numbers inside the feed-forward half.
    inner_width: usize,
    heads: usize,
    kv_heads: usize,
    head_width: usize,
    vocabulary: usize,
    norm_epsilon: f32,
    context_tokens: usize,
}

impl Family {
    const ALL: [Self; 2] = [Self::Llama, Self::Qwen2];

    /// The family's name in GGUF files, which is also the prefix of its keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
        }
    }

    /// Reads which family a file's model belongs to.
    pub(super) fn of(gguf: &Gguf) -> std::result::Result<Self, LoadFault> {
        let architecture = gguf.text("general.architecture")?;
        Self::ALL
            .into_iter()
            .find(|family| family.as_str() == architecture)
            .ok_or_else(|| LoadFault::Architecture {
                architecture: architecture.into(),
                supported: Self::ALL.map(Self::as_str).join(" and "),
            })
    }
}

impl Model {
    /// Loads a model that reads at most `context_tokens` tokens.
    pub(super) fn load(
        gguf: &Gguf,
        family: Family,
        context_tokens: usize,
    ) -> std::result::Result<Self, LoadFault> {
        let sizes = Sizes::read(gguf, family, context_tokens)?;
        let blocks = gguf.count(&format!("{}.block_count", family.as_str()))?;
        let (embedding, head) = vocabulary_matrices(gguf, &sizes)?;
        Ok(Self {
            embedding,
            head,
            layers: (0..blocks)
                .into_par_iter()
                .map(|block| Layer::load(gguf, block, &sizes))
                .collect::<std::result::Result<_, _>>()?,
            norm: Norm::load(gguf, "output_norm", &sizes)?,
            rope: Rope::load(gguf, family, sizes.head_width)?,
        })
    }

    /// Reads `tokens`, which stand at `position` and after; all positions before it have been read.
    /// Gives the last token's state, `[1, width]`.
    pub(super) fn read(&mut self, tokens: &[u32], position: usize) -> Result<Tensor> {
        let rotation = self.rope.rotation(position..position + tokens.len())?;
        let mut states = self
            .embedding
            .embedding(&Tensor::new(tokens, &Device::Cpu)?)?;
        for layer in &mut self.layers {
            states = layer.forward(&states, position, &rotation)?;
        }
        states.narrow(0, tokens.len() - 1, 1)?.contiguous()
    }

    /// The score of every token of the vocabulary to come next, from a state that [`Self::read`] gave.
    pub(super) fn logits(&self, state: &Tensor) -> Result<Vec<f32>> {
        self.head
            .forward(&self.norm.forward(state)?)?
            .squeeze(0)?
            .to_vec1()
    }

    /// The scores of a few tokens alone, in their order: a vocabulary has a third of a small model's weights.
    pub(super) fn logits_of(&self, state: &Tensor, tokens: &[u32]) -> Result<Vec<f32>> {
        let rows = self.head.embedding(&Tensor::new(tokens, &Device::Cpu)?)?;
        let state = self.norm.forward(state)?.squeeze(0)?.unsqueeze(1)?;
        rows.matmul(&state)?.squeeze(1)?.to_vec1()
    }

    /// A copy of the keys and values of the first `tokens` positions, all of which have been read.
    pub(super) fn keep(&self, tokens: usize) -> Result<Memory> {
        let layers = self.layers.iter().map(|layer| layer.keep(tokens));
        Ok(Memory {
            tokens,
            layers: layers.collect::<Result<_>>()?,
        })
    }

    /// Puts them back: as if the positions had just been read.
    pub(super) fn recall(&mut self, memory: &Memory) -> Result<()> {
        for (layer, kept) in self.layers.iter_mut().zip(&memory.layers) {
            layer.recall(kept, memory.tokens)?;
        }
        Ok(())
    }
}

impl Sizes {
    fn read(
        gguf: &Gguf,
        family: Family,
        context_tokens: usize,
    ) -> std::result::Result<Self, LoadFault> {
        let key = |name: &str| format!("{}.{name}", family.as_str());
        let width = gguf.count(&key("embedding_length"))?;
        let heads = gguf.count(&key("attention.head_count"))?;
        let kv_heads = gguf.count(&key("attention.head_count_kv")).unwrap_or(heads);
        let head_width = match gguf.count(&key("attention.key_length")) {
            Ok(head_width) => head_width,
            Err(_) => width.checked_div(heads).unwrap_or(0),
        };
        let variant = |detail: &str| {
            Err(LoadFault::Variant {
                detail: detail.into(),
            })
        };
        if kv_heads == 0 || heads % kv_heads != 0 || head_width == 0 || head_width % 2 != 0 {
            return variant("its attention heads do not divide evenly");
        }
        if gguf
            .count(&key("rope.dimension_count"))
            .is_ok_and(|rotated| rotated != head_width)
        {
            return variant("it rotates only a part of each attention head");
        }
        if gguf
            .count(&key("expert_count"))
            .is_ok_and(|experts| experts > 0)
        {
            return variant("it is a mixture of experts inside");
        }
        Ok(Self {
            width,
            heads,
            kv_heads,
            head_width,
            inner_width: gguf.count(&key("feed_forward_length"))?,
            vocabulary: gguf.texts("tokenizer.ggml.tokens")?.len(),
            norm_epsilon: gguf.number(&key("attention.layer_norm_rms_epsilon"))?,
            context_tokens,
        })
    }
}

/// The matrix that tokens are looked up in and the one that scores them: the same where the file has only one.
fn vocabulary_matrices(
    gguf: &Gguf,
    sizes: &Sizes,
) -> std::result::Result<(QMatMul, QMatMul), LoadFault> {
    const EMBEDDING: &str = "token_embd.weight";
    const HEAD: &str = "output.weight";
    let shape = [sizes.vocabulary, sizes.width];
    if gguf.has(HEAD) {
        return Ok((gguf.table(EMBEDDING, shape)?, gguf.matrix(HEAD, shape)?));
    }
    let shared = gguf.matrix(EMBEDDING, shape)?;
    Ok((shared.clone(), shared))
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::gguf_file::{Content, Value};
    use candle_transformers::models::{quantized_llama, quantized_qwen2};

    use super::*;
    use crate::expert::local::tiny;

    const TOKENS: [u32; 11] = [5, 200, 17, 3, 3, 90, 41, 255, 0, 128, 64];

    fn load(file: &tiny::File) -> (Model, Family) {
        let dir = tempfile::tempdir().unwrap();
        let gguf = Gguf::open(&file.write(dir.path())).unwrap();
        let family = Family::of(&gguf).unwrap();
        (Model::load(&gguf, family, 64).unwrap(), family)
    }

    fn logits(model: &mut Model, tokens: &[u32], position: usize) -> Vec<f32> {
        let state = model.read(tokens, position).unwrap();
        model.logits(&state).unwrap()
    }

    /// The logits of candle's own implementations.
    fn reference(file: &tiny::File, family: Family) -> Vec<f32> {
        let mut reader = std::io::Cursor::new(file.bytes());
        let content = Content::read(&mut reader).unwrap();
        let tokens = Tensor::new(&TOKENS[..], &Device::Cpu)
            .unwrap()
            .unsqueeze(0)
            .unwrap();
        let logits = match family {
            Family::Llama => {
                quantized_llama::ModelWeights::from_gguf(content, &mut reader, &Device::Cpu)
                    .unwrap()
                    .forward(&tokens, 0)
            }
            Family::Qwen2 => {
                quantized_qwen2::ModelWeights::from_gguf(content, &mut reader, &Device::Cpu)
                    .unwrap()
                    .forward(&tokens, 0)
            }
        };
        logits.unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_close(ours: &[f32], theirs: &[f32]) {
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() < 1e-4, "{ours} is not {theirs}");
        }
    }

    #[test]
    fn both_families_agree_with_the_reference() {
        for file in [tiny::llama(), tiny::qwen2()] {
            let (mut model, family) = load(&file);
            assert_close(&logits(&mut model, &TOKENS, 0), &reference(&file, family));
        }
    }

    #[test]
    fn reading_in_parts_is_reading_at_once() {
        for file in [tiny::llama(), tiny::qwen2()] {
            let (mut model, _) = load(&file);
            let at_once = logits(&mut model, &TOKENS, 0);
            model.read(&TOKENS[..4], 0).unwrap();
            model.read(&TOKENS[4..10], 4).unwrap();
            assert_close(&logits(&mut model, &TOKENS[10..], 10), &at_once);
        }
    }

    #[test]
    fn a_few_scores_are_those_of_the_whole_vocabulary() {
        for file in [tiny::llama(), tiny::qwen2()] {
            let (mut model, _) = load(&file);
            let state = model.read(&TOKENS, 0).unwrap();
            let all = model.logits(&state).unwrap();
            let few = model.logits_of(&state, &[200, 3, 255]).unwrap();
            assert_close(&few, &[all[200], all[3], all[255]]);
        }
    }

    #[test]
    fn what_is_recalled_is_as_if_it_had_just_been_read() {
        let (mut model, _) = load(&tiny::qwen2());
        let expected = logits(&mut model, &TOKENS, 0);
        let memory = model.keep(6).unwrap();
        model.read(&[9; 20], 0).unwrap();
        model.recall(&memory).unwrap();
        assert_eq!(
            logits(&mut model, &TOKENS[6..], 6),
            logits(&mut model, &TOKENS[6..], 6)
        );
        assert_close(&logits(&mut model, &TOKENS[6..], 6), &expected);
    }

    #[test]
    fn going_back_forgets_what_came_after() {
        let (mut model, _) = load(&tiny::llama());
        let expected = logits(&mut model, &TOKENS, 0);
        model.read(&[9; 20], 4).unwrap();
        assert_close(&logits(&mut model, &TOKENS[4..], 4), &expected);
    }

    #[test]
    fn another_architecture_is_named_with_the_supported_ones() {
        let dir = tempfile::tempdir().unwrap();
        let file = tiny::llama().with("general.architecture", Value::String("gemma3".into()));
        let gguf = Gguf::open(&file.write(dir.path())).unwrap();
        let message = Family::of(&gguf).unwrap_err().to_string();
        assert!(
            message.contains("`gemma3`") && message.contains("llama and qwen2"),
            "{message}"
        );
    }
}
