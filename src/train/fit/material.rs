//! What the encoders say of rows, before anything is fitted.

use ndarray::{Array2, Axis};

use crate::router::model::Transformer;

/// What is known of the rows of a dataset; every matrix has a row for each of them.
#[derive(Default)]
pub struct Material {
    /// Whether lexical features are read.
    pub sparse: bool,
    /// The static encoder's vectors.
    pub vectors: Option<Array2<f32>>,
    /// The transformer's readings.
    pub readings: Option<Readings>,
}

impl Material {
    /// What is known of some of the rows.
    #[must_use]
    pub fn of(&self, rows: &[usize]) -> Self {
        let some = |matrix: &Array2<f32>| matrix.select(Axis(0), rows);
        let readings = self.readings.as_ref().map(|readings| match readings {
            Readings::Layers { vectors, width } => Readings::Layers {
                vectors: some(vectors),
                width: *width,
            },
            Readings::Tuned {
                logits,
                teacher,
                head,
            } => Readings::Tuned {
                logits: some(logits),
                teacher: teacher.as_ref().map(some),
                head: head.clone(),
            },
        });
        Self {
            sparse: self.sparse,
            vectors: self.vectors.as_ref().map(some),
            readings,
        }
    }
}

/// What the transformer says of the rows.
pub enum Readings {
    /// The vectors of some layers, one layer's after the other.
    Layers {
        /// rows × (layers · width).
        vectors: Array2<f32>,
        /// How long one layer's vector is.
        width: usize,
    },
    /// The logits of a tuned encoder's head.
    Tuned {
        /// rows × the tuned head's classes, each by an encoder that has not seen the row; of excerpts by one that has seen their question.
        logits: Array2<f32>,
        /// The same in the dataset's classes, for teaching the cheap tier.
        teacher: Option<Array2<f32>>,
        /// What reads the encoder's vector at run time.
        head: Transformer,
    },
}
