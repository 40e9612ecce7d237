//! What tuning changed in an encoder's weights, a few megabytes beside the base's ninety.
//!
//! A safetensors file, fp16 but for codes. For a weight `NAME` (out × in): `NAME.lora_a` (rank × in) and `NAME.lora_b` (out ×
//! rank), whose product is added (`LoRA`; Hu et al. 2021); or, where all weights were tuned, `NAME.codes` (bytes, out × in numbers)
//! and `NAME.scales` (out), a change of few bits a number ([`Levels`]). For a vector `NAME`: `NAME.delta`, which is added.
//! `head.weight` and `head.bias` are the linear classifier that the encoder was tuned with. Its metadata name the base.

mod levels;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use half::f16;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

pub use levels::{Bits, Levels};

use super::metadata;
use crate::ids::CategoryId;

/// Raised whenever an older reader would misread the file.
pub const FORMAT: u32 = 1;

/// The changes, read.
#[derive(Clone, Debug)]
pub struct Adapter {
    about: About,
    changes: HashMap<String, Change>,
    head: TunedHead,
}

/// What an adapter says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The format of the file.
    pub format: u32,
    /// SHA-256 of the base's `model.safetensors`, hexadecimal.
    pub base_sha256: String,
    /// The categories, in the order of the head's classes.
    pub categories: Vec<CategoryId>,
    /// What a number of a weight's change takes, where all weights were tuned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<Bits>,
}

/// The classifier over the tuned encoder's vectors: logits = weight · vector + bias.
#[derive(Clone, Debug, PartialEq)]
pub struct TunedHead {
    /// classes × dimensions, row by row.
    pub weight: Vec<f32>,
    /// One a class.
    pub bias: Vec<f32>,
}

#[derive(Clone, Debug)]
enum Change {
    /// out × in += `b` (out × rank) · `a` (rank × in).
    LowRank {
        outputs: usize,
        inputs: usize,
        a: Vec<f32>,
        b: Vec<f32>,
    },
    /// Out × in.
    Levels(Levels),
    Delta(Vec<f32>),
}

/// Why an adapter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// Another encoder's weights.
    #[error(
        "the adapter changes the weights with SHA-256 {expected}, and the encoder's `model.safetensors` has {found}; configure the encoder that was tuned"
    )]
    OtherBase {
        /// Of the base that was tuned.
        expected: String,
        /// Of the base that there is.
        found: String,
    },
    /// The file cannot be read.
    #[error("the adapter {} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not what tuning writes: cut off, edited, or of another format.
    #[error("the adapter {} cannot be used: {detail}; write it again with `coterie encoder tune`", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The base has no tensor of a name that the adapter changes.
    #[error(
        "the adapter changes `{name}`, which the base does not have: it was made for another encoder"
    )]
    UnknownName {
        /// The tensor.
        name: String,
    },
    /// A tensor of the base is not of the shape that the adapter changes.
    #[error(
        "the adapter changes `{name}` as {expected:?}, but the base's is {found:?}: it was made for another encoder"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// The shape that is changed.
        expected: Vec<usize>,
        /// The base's shape.
        found: Vec<usize>,
    },
}

impl Adapter {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `Corrupt` if it is no adapter.
    pub fn read(path: &Path) -> Result<Self, AdapterError> {
        let bytes = fs::read(path).map_err(|source| AdapterError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(&bytes).map_err(|detail| AdapterError::Corrupt {
            path: path.to_owned(),
            detail,
        })
    }

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let about: About = metadata::read(bytes, FORMAT)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let head = TunedHead {
            weight: numbers(&tensors, "head.weight")?.1,
            bias: numbers(&tensors, "head.bias")?.1,
        };
        let classes = about.categories.len();
        if classes == 0 || head.bias.len() != classes || !head.weight.len().is_multiple_of(classes)
        {
            return Err("the head does not fit the categories".into());
        }
        let mut changes = HashMap::new();
        for name in tensors.names() {
            let (name, change) = if let Some(name) = name.strip_suffix(".lora_a") {
                (name, Change::low_rank(&tensors, name)?)
            } else if let Some(vector) = name.strip_suffix(".delta") {
                (vector, Change::Delta(numbers(&tensors, name)?.1))
            } else if let Some(name) = name.strip_suffix(".scales") {
                (name, Change::levels(&tensors, name, about.bits)?)
            } else if is_beside_another(name) {
                continue;
            } else {
                return Err(format!("it holds `{name}`, which means nothing"));
            };
            if changes.insert(name.to_owned(), change).is_some() {
                return Err(format!("it changes `{name}` twice"));
            }
        }
        Ok(Self {
            about,
            changes,
            head,
        })
    }

    /// Where it comes from.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The classifier that the encoder was tuned with.
    pub fn head(&self) -> &TunedHead {
        &self.head
    }

    /// Whether [`Self::apply`] changes the tensor `name`.
    pub fn changes(&self, name: &str) -> bool {
        self.changes.contains_key(name)
    }

    /// Checks that `sha256`, of a base's `model.safetensors`, is that of the base that was tuned.
    ///
    /// # Errors
    /// `OtherBase` if it is not.
    pub fn check_base(&self, sha256: &str) -> Result<(), AdapterError> {
        if self.about.base_sha256 == sha256 {
            return Ok(());
        }
        Err(AdapterError::OtherBase {
            expected: self.about.base_sha256.clone(),
            found: sha256.to_owned(),
        })
    }

    /// Checks that every change has its tensor among those of the base, given by name and shape.
    ///
    /// # Errors
    /// `UnknownName` or `Shape` for the first that has not.
    pub fn check<'b>(
        &self,
        base: impl IntoIterator<Item = (&'b str, &'b [usize])>,
    ) -> Result<(), AdapterError> {
        let base: HashMap<&str, &[usize]> = base.into_iter().collect();
        let mut names: Vec<&String> = self.changes.keys().collect();
        names.sort();
        for name in names {
            let Some(shape) = base.get(name.as_str()) else {
                return Err(AdapterError::UnknownName { name: name.clone() });
            };
            self.changes[name].check(name, shape)?;
        }
        Ok(())
    }

    /// Merges the change of the base's tensor `name` into its numbers; one that the adapter does not change stays.
    ///
    /// Each number is the sum of the same products in the same order wherever it is made, so that merged weights are
    /// the same to the bit.
    ///
    /// # Errors
    /// `Shape` if the tensor is not the one that was changed.
    pub fn apply(
        &self,
        name: &str,
        shape: &[usize],
        values: &mut [f32],
    ) -> Result<(), AdapterError> {
        let Some(change) = self.changes.get(name) else {
            return Ok(());
        };
        change.check(name, shape)?;
        match change {
            Change::LowRank { inputs, a, b, .. } => {
                let rank = a.len() / inputs;
                let rows = values.par_chunks_mut(*inputs).zip(b.par_chunks(rank));
                rows.for_each(|(row, b)| add_product(row, b, a));
            }
            Change::Levels(levels) => levels.add_to(values),
            Change::Delta(delta) => {
                for (value, delta) in values.iter_mut().zip(delta) {
                    *value += delta;
                }
            }
        }
        Ok(())
    }
}

/// Whether a tensor is read together with another one.
fn is_beside_another(name: &str) -> bool {
    name.ends_with(".lora_b") || name.ends_with(".codes") || name.starts_with("head.")
}

/// `row` += `b` (1 × rank) · `a` (rank × in).
fn add_product(row: &mut [f32], b: &[f32], a: &[f32]) {
    for (b, a) in b.iter().zip(a.chunks(row.len())) {
        for (value, a) in row.iter_mut().zip(a) {
            *value += b * a;
        }
    }
}

impl Change {
    fn low_rank(tensors: &SafeTensors<'_>, name: &str) -> Result<Self, String> {
        let (a_shape, a) = numbers(tensors, &format!("{name}.lora_a"))?;
        let (b_shape, b) = numbers(tensors, &format!("{name}.lora_b"))?;
        match (&a_shape[..], &b_shape[..]) {
            (&[rank, inputs], &[outputs, same]) if rank == same && rank > 0 && inputs > 0 => {
                Ok(Self::LowRank {
                    outputs,
                    inputs,
                    a,
                    b,
                })
            }
            _ => Err(format!(
                "the factors of `{name}` are {b_shape:?} and {a_shape:?}"
            )),
        }
    }

    fn levels(tensors: &SafeTensors<'_>, name: &str, bits: Option<Bits>) -> Result<Self, String> {
        let bits = bits.ok_or_else(|| format!("it does not say of how many bits `{name}` is"))?;
        let (_, scales) = numbers(tensors, &format!("{name}.scales"))?;
        let codes = format!("{name}.codes");
        let codes = tensors
            .tensor(&codes)
            .map_err(|_absent| format!("there is no `{codes}`"))?;
        if codes.dtype() != Dtype::U8 {
            return Err(format!("the codes of `{name}` are no bytes"));
        }
        Levels::from_parts(bits, scales, codes.data().to_vec())
            .map(Self::Levels)
            .ok_or_else(|| format!("the codes of `{name}` do not fit its scales"))
    }

    fn check(&self, name: &str, shape: &[usize]) -> Result<(), AdapterError> {
        let expected = match self {
            Self::Levels(levels) => levels.shape().to_vec(),
            Self::LowRank {
                outputs, inputs, ..
            } => vec![*outputs, *inputs],
            Self::Delta(delta) => vec![delta.len()],
        };
        if expected == shape {
            return Ok(());
        }
        Err(AdapterError::Shape {
            name: name.to_owned(),
            expected,
            found: shape.to_vec(),
        })
    }
}

fn numbers(tensors: &SafeTensors<'_>, name: &str) -> Result<(Vec<usize>, Vec<f32>), String> {
    let view = tensors
        .tensor(name)
        .map_err(|_absent| format!("there is no `{name}`"))?;
    if view.dtype() != Dtype::F16 {
        return Err(format!("`{name}` is not fp16"));
    }
    Ok((view.shape().to_vec(), halves(&view)))
}

fn halves(view: &TensorView<'_>) -> Vec<f32> {
    let (halves, _) = view.data().as_chunks::<2>();
    let halves = halves.iter().map(|bytes| f16::from_le_bytes(*bytes));
    halves.map(f32::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Tensors<'t> = Vec<(&'t str, Vec<usize>, Vec<f32>)>;

    fn tensors() -> Tensors<'static> {
        vec![
            ("w.lora_a", vec![2, 3], vec![1.0, 2.0, 3.0, 0.5, 0.0, -1.0]),
            ("w.lora_b", vec![2, 2], vec![1.0, 0.0, 2.0, 4.0]),
            ("u.scales", vec![1], vec![0.5]),
            ("v.delta", vec![2], vec![0.25, -0.5]),
            ("head.weight", vec![2, 1], vec![1.0, 2.0]),
            ("head.bias", vec![2], vec![0.0, 3.0]),
        ]
    }

    /// The codes of `u`: 0, 1, 2, 3.
    const CODES: [u8; 1] = [0b1110_0100];

    fn file(tensors: &Tensors<'_>, about: &str) -> Vec<u8> {
        let halves = |numbers: &[f32]| -> Vec<u8> {
            let halves = numbers.iter().map(|x| f16::from_f32(*x));
            halves.flat_map(f16::to_le_bytes).collect()
        };
        let data: Vec<_> = tensors.iter().map(|(_, _, x)| halves(x)).collect();
        let codes = TensorView::new(Dtype::U8, vec![1, 1], &CODES).unwrap();
        let views = tensors.iter().zip(&data).map(|((name, shape, _), data)| {
            let view = TensorView::new(Dtype::F16, shape.clone(), data).unwrap();
            (*name, view)
        });
        let views = views.chain([("u.codes", codes)]);
        let metadata = HashMap::from([(metadata::KEY.to_owned(), about.to_owned())]);
        safetensors::serialize(views, Some(metadata)).unwrap()
    }

    const ABOUT: &str =
        r#"{"format": 1, "base_sha256": "ab", "categories": ["x", "y"], "bits": 2}"#;

    fn adapter() -> Adapter {
        Adapter::from_bytes(&file(&tensors(), ABOUT)).unwrap()
    }

    #[test]
    fn changes_are_added_to_what_they_belong_to_and_to_nothing_else() {
        let adapter = adapter();
        let mut weight = vec![10.0; 6];
        adapter.apply("w", &[2, 3], &mut weight).unwrap();
        assert_eq!(weight, [11.0, 12.0, 13.0, 14.0, 14.0, 12.0]);
        let mut coded = vec![1.0; 4];
        adapter.apply("u", &[1, 4], &mut coded).unwrap();
        assert_eq!(coded, [-0.5, 0.5, 1.5, 2.5]);
        let mut vector = vec![1.0, 1.0];
        adapter.apply("v", &[2], &mut vector).unwrap();
        assert_eq!(vector, [1.25, 0.5]);
        let mut other = vec![7.0];
        adapter.apply("other", &[1], &mut other).unwrap();
        assert_eq!(other, [7.0]);
        assert_eq!(adapter.head().bias, [0.0, 3.0]);
        assert!(adapter.changes("w") && !adapter.changes("other"));
    }

    #[test]
    fn another_base_is_refused_by_name_and_by_shape() {
        let adapter = adapter();
        let error = adapter.apply("w", &[3, 2], &mut [0.0; 6]).unwrap_err();
        assert!(error.to_string().contains("[2, 3]"), "{error}");
        let (two, square, four): (&[usize], &[usize], &[usize]) = (&[2], &[2, 3], &[1, 4]);
        adapter
            .check([("w", square), ("v", two), ("u", four), ("t", two)])
            .unwrap();
        let error = adapter.check([("v", two), ("u", four)]).unwrap_err();
        assert!(matches!(error, AdapterError::UnknownName { name } if name == "w"));
        let error = adapter.check([("u", two), ("v", two), ("w", square)]);
        assert!(matches!(error, Err(AdapterError::Shape { name, .. }) if name == "u"));
        let error = adapter
            .check([("u", four), ("v", square), ("w", square)])
            .unwrap_err();
        assert!(matches!(error, AdapterError::Shape { name, .. } if name == "v"));
    }

    #[test]
    fn what_is_no_adapter_is_refused() {
        let without = |name: &str| -> Tensors<'_> {
            let tensors = tensors().into_iter();
            tensors.filter(|(other, _, _)| *other != name).collect()
        };
        let mut stray = tensors();
        stray.push(("stray", vec![1], vec![0.0]));
        let mut skewed = tensors();
        skewed[0].1 = vec![3, 2];
        let mut lonely = tensors();
        lonely.push(("t.scales", vec![1], vec![0.5]));
        let mut doubled = tensors();
        doubled.push(("u.delta", vec![1], vec![0.5]));
        let mut many = tensors();
        many[2] = ("u.scales", vec![2], vec![0.5, 0.5]);
        let bitless = ABOUT.replace(", \"bits\": 2", "");
        let newer = ABOUT.replace("\"format\": 1", "\"format\": 2");
        let cases = [
            (file(&tensors(), &newer), "format 2"),
            (file(&tensors(), "{}"), "format"),
            (file(&tensors(), &ABOUT.replace("[\"x\", ", "[")), "head"),
            (file(&without("w.lora_b"), ABOUT), "w.lora_b"),
            (file(&lonely, ABOUT), "t.codes"),
            (file(&doubled, ABOUT), "`u` twice"),
            (file(&many, ABOUT), "the codes of `u`"),
            (file(&tensors(), &bitless), "how many bits `u`"),
            (file(&tensors(), &ABOUT.replace(": 2}", ": 3}")), "2 or 4"),
            (file(&without("head.bias"), ABOUT), "head.bias"),
            (file(&stray, ABOUT), "stray"),
            (file(&skewed, ABOUT), "factors"),
            (file(&tensors(), ABOUT)[..60].to_vec(), ""),
        ];
        for (bytes, complaint) in cases {
            let error = Adapter::from_bytes(&bytes).unwrap_err();
            assert!(error.contains(complaint), "{error}");
        }
        let absent = Adapter::read(Path::new("absent")).unwrap_err();
        assert!(matches!(absent, AdapterError::Io { .. }));
    }
}
