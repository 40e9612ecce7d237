//! What the encoders say of rows, before anything is fitted.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};

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
        let vectors = self.vectors.as_ref();
        Self {
            sparse: self.sparse,
            vectors: vectors.map(|vectors| vectors.select(Axis(0), rows)),
            readings: self.readings.as_ref().map(|readings| readings.of(rows)),
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

impl Readings {
    /// The readings of some of the rows.
    #[must_use]
    pub fn of(&self, rows: &[usize]) -> Self {
        let some = |matrix: &Array2<f32>| matrix.select(Axis(0), rows);
        match self {
            Self::Layers { vectors, width } => Self::Layers {
                vectors: some(vectors),
                width: *width,
            },
            Self::Tuned {
                logits,
                teacher,
                head,
            } => Self::Tuned {
                logits: some(logits),
                teacher: teacher.as_ref().map(some),
                head: head.clone(),
            },
        }
    }

    /// The vectors of the first layer that is read: rows × width; none of a tuned encoder.
    pub fn first_layer(&self) -> Option<ArrayView2<'_, f32>> {
        match self {
            Self::Layers { vectors, width } => Some(vectors.slice(s![.., ..*width])),
            Self::Tuned { .. } => None,
        }
    }

    /// What the full tier's head reads of each row, as [`Transformer::features`] does it at run time: rows × features.
    pub fn features(&self, transformer: &Transformer) -> Array2<f32> {
        match (self, transformer) {
            (Self::Layers { vectors, width }, Transformer::Layers { means }) => {
                centred(vectors.view(), means, *width)
            }
            (Self::Layers { vectors, .. }, Transformer::Tuned { .. }) => vectors.clone(),
            (Self::Tuned { logits, .. }, _) => logits.clone(),
        }
    }
}

/// Each layer's vector less its mean, brought to length 1.
fn centred(vectors: ArrayView2<'_, f32>, means: &[f32], width: usize) -> Array2<f32> {
    let mut features = &vectors - &ArrayView1::from(means);
    for mut row in features.rows_mut() {
        for mut layer in row.axis_chunks_iter_mut(Axis(0), width) {
            let length = layer.dot(&layer).sqrt();
            if length > 0.0 {
                layer /= length;
            }
        }
    }
    features
}
