//! BERT's encoder (Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>) as an ONNX graph.
//!
//! The graph takes `input_ids`, `attention_mask` and `token_type_ids` (int64, batch × sequence) and gives hidden states
//! (float32, batch × sequence × hidden size); pooling them is the caller's.

use std::{collections::BTreeSet, f32::consts::SQRT_2, fmt};

use super::{
    graph::{Attribute, Dimension, Graph, signed},
    weights::{Affine, Embeddings, Layer, Weights},
};

/// Added to the score of a padded position: exp(-10000) is exactly 0 in float32, and a row of padding alone stays finite.
const PADDING_SCORE: f32 = -10_000.0;

/// What the graph gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Output {
    /// `hidden_state_N`: the hidden states after layer N; the embeddings count as layer 0.
    HiddenState(usize),
    /// `last_hidden_state`: the hidden states after the last layer.
    LastHiddenState,
}

/// A layer was asked for that the model does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no layer {layer}; the model has layers 0 to {last}")]
pub struct NoSuchLayer {
    /// What was asked for.
    pub layer: usize,
    /// The model's last layer.
    pub last: usize,
}

/// Writes the encoder as an ONNX file with these outputs; the same weights and outputs always give the same bytes.
///
/// An output that is named twice is there once.
///
/// # Errors
/// [`NoSuchLayer`]
pub fn bert(weights: &Weights, outputs: &[Output]) -> Result<Vec<u8>, NoSuchLayer> {
    let last = weights.layers.len();
    let mut wanted = BTreeSet::new();
    for output in outputs {
        match *output {
            Output::HiddenState(layer) if layer > last => return Err(NoSuchLayer { layer, last }),
            output => wanted.insert(output),
        };
    }
    let mut encoder = Encoder::new(weights);
    let mut hidden = encoder.embed(&weights.embeddings);
    encoder.give(&wanted, Output::HiddenState(0), &hidden);
    for (layer, number) in weights.layers.iter().zip(1..) {
        hidden = encoder.layer(layer, &hidden);
        encoder.give(&wanted, Output::HiddenState(number), &hidden);
    }
    encoder.give(&wanted, Output::LastHiddenState, &hidden);
    Ok(encoder.graph.into_model())
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HiddenState(layer) => write!(f, "hidden_state_{layer}"),
            Self::LastHiddenState => f.write_str("last_hidden_state"),
        }
    }
}

struct Encoder<'a> {
    graph: Graph<'a>,
    heads: i64,
    hidden_size: i64,
    epsilon: f32,
    token_ids: String,
    token_type_ids: String,
    /// What is added to the attention's scores: 0 for a token, [`PADDING_SCORE`] for padding.
    mask: String,
}

impl<'a> Encoder<'a> {
    fn new(weights: &'a Weights) -> Self {
        let mut graph = Graph::new("bert");
        let batch_sequence = [Dimension::Named("batch"), Dimension::Named("sequence")];
        let token_ids = graph.input("input_ids", &batch_sequence);
        let attention_mask = graph.input("attention_mask", &batch_sequence);
        let token_type_ids = graph.input("token_type_ids", &batch_sequence);
        let mask = padding_scores(&mut graph, &attention_mask);
        Self {
            graph,
            heads: signed(weights.config.heads),
            hidden_size: signed(weights.config.hidden_size),
            epsilon: weights.config.epsilon,
            token_ids,
            token_type_ids,
            mask,
        }
    }

    /// Gives `hidden` out, if `output` is wanted.
    fn give(&mut self, wanted: &BTreeSet<Output>, output: Output, hidden: &str) {
        if wanted.contains(&output) {
            let shape = [
                Dimension::Named("batch"),
                Dimension::Named("sequence"),
                Dimension::Fixed(self.hidden_size),
            ];
            self.graph.output(&output.to_string(), hidden, &shape);
        }
    }

    fn embed(&mut self, embeddings: &'a Embeddings) -> String {
        let graph = &mut self.graph;
        let words = graph.weight(&embeddings.word);
        let words = graph.node("Gather", &[&words, &self.token_ids]);
        let types = graph.weight(&embeddings.token_type);
        let types = graph.node("Gather", &[&types, &self.token_type_ids]);
        // A Slice: ONNX Runtime 1.32 rewrites Gather(positions, Range(sequence)) into something wrong.
        let sequence = [("start", Attribute::Int(1)), ("end", Attribute::Int(2))];
        let sequence = graph.node_with("Shape", &[&self.token_ids], &sequence);
        let positions = graph.weight(&embeddings.position);
        let first = graph.ints("first_position", &[0]);
        let axis = graph.ints("position_axis", &[0]);
        let positions = graph.node("Slice", &[&positions, &first, &sequence, &axis]);
        let sum = graph.node("Add", &[&words, &types]);
        let sum = graph.node("Add", &[&sum, &positions]);
        self.layer_norm(&embeddings.norm, &sum)
    }

    /// Attention and a feed-forward network, each added to its input and normalised.
    fn layer(&mut self, layer: &'a Layer, hidden: &str) -> String {
        let attended = self.attention(layer, hidden);
        let attended = self.linear(&layer.attention_output, &attended);
        let sum = self.graph.node("Add", &[&attended, hidden]);
        let hidden = self.layer_norm(&layer.attention_norm, &sum);
        let inner = self.linear(&layer.intermediate, &hidden);
        let inner = self.gelu(&inner);
        let outer = self.linear(&layer.output, &inner);
        let sum = self.graph.node("Add", &[&outer, &hidden]);
        self.layer_norm(&layer.output_norm, &sum)
    }

    /// Scaled dot-product attention; a head's keys are transposed, so that the product needs no further step.
    fn attention(&mut self, layer: &'a Layer, hidden: &str) -> String {
        let head_size = self.hidden_size / self.heads;
        let query = self.split_heads(&layer.query, hidden, &[0, 2, 1, 3]);
        let key = self.split_heads(&layer.key, hidden, &[0, 2, 3, 1]);
        let value = self.split_heads(&layer.value, hidden, &[0, 2, 1, 3]);
        let graph = &mut self.graph;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a head has some dozens of dimensions"
        )]
        let scale = graph.scalar("score_scale", (head_size as f32).sqrt());
        let scores = graph.node("MatMul", &[&query, &key]);
        let scores = graph.node("Div", &[&scores, &scale]);
        let scores = graph.node("Add", &[&scores, &self.mask]);
        let shares = graph.node_with("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let context = graph.node("MatMul", &[&shares, &value]);
        let context = transpose(graph, &context, &[0, 2, 1, 3]);
        let merged = graph.ints("merged_heads", &[0, 0, self.hidden_size]);
        graph.node("Reshape", &[&context, &merged])
    }

    /// batch × sequence × hidden size → batch × sequence × heads × head size, its axes then put in the order `axes`.
    fn split_heads(&mut self, linear: &'a Affine, hidden: &str, axes: &'static [i64]) -> String {
        let projected = self.linear(linear, hidden);
        let shape = [0, 0, self.heads, self.hidden_size / self.heads];
        let shape = self.graph.ints("split_heads", &shape);
        let split = self.graph.node("Reshape", &[&projected, &shape]);
        transpose(&mut self.graph, &split, axes)
    }

    /// The weights are kept as outputs × inputs; `MatMul` wants inputs × outputs.
    fn linear(&mut self, linear: &'a Affine, x: &str) -> String {
        let weight = self.graph.transposed_weight(&linear.weight);
        let product = self.graph.node("MatMul", &[x, &weight]);
        let bias = self.graph.weight(&linear.bias);
        self.graph.node("Add", &[&product, &bias])
    }

    fn layer_norm(&mut self, norm: &'a Affine, x: &str) -> String {
        let weight = self.graph.weight(&norm.weight);
        let bias = self.graph.weight(&norm.bias);
        let settings = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(self.epsilon)),
        ];
        self.graph
            .node_with("LayerNormalization", &[x, &weight, &bias], &settings)
    }

    /// The exact GELU: x (1 + erf(x / √2)) / 2.
    fn gelu(&mut self, x: &str) -> String {
        let graph = &mut self.graph;
        let sqrt_two = graph.scalar("sqrt_two", SQRT_2);
        let (one, half) = (graph.scalar("one", 1.0), graph.scalar("half", 0.5));
        let scaled = graph.node("Div", &[x, &sqrt_two]);
        let erf = graph.node("Erf", &[&scaled]);
        let sum = graph.node("Add", &[&erf, &one]);
        let product = graph.node("Mul", &[x, &sum]);
        graph.node("Mul", &[&product, &half])
    }
}

/// 1 for a token and 0 for padding → what is added to the scores, batch × 1 × 1 × sequence.
fn padding_scores(graph: &mut Graph<'_>, attention_mask: &str) -> String {
    const FLOAT: i64 = 1;
    let axes = graph.ints("mask_axes", &[1, 2]);
    let seen = graph.node("Unsqueeze", &[attention_mask, &axes]);
    let seen = graph.node_with("Cast", &[&seen], &[("to", Attribute::Int(FLOAT))]);
    let one = graph.scalar("one", 1.0);
    let padded = graph.node("Sub", &[&one, &seen]);
    let score = graph.scalar("padding_score", PADDING_SCORE);
    graph.node("Mul", &[&padded, &score])
}

fn transpose(graph: &mut Graph<'_>, x: &str, axes: &'static [i64]) -> String {
    graph.node_with("Transpose", &[x], &[("perm", Attribute::Ints(axes))])
}
