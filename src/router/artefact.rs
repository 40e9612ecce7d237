//! A fitted router on disk: `<artefacts>/<id>/router.json`.
//!
//! The file carries its format's version and a checksum over its content, and takes its final name only when it is
//! whole: whoever reads it gets what was written, or is told why not.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::head::{FitReport, Head};
use crate::ids::{CategoryId, RouterId};

/// Raised whenever an older reader would misread the file.
pub const FORMAT: u32 = 1;

/// The file inside the artefact's folder.
const FILE_NAME: &str = "router.json";

/// What a fit leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Artefact {
    /// A digest of everything that it was fitted from.
    pub id: RouterId,
    /// When it was fitted, milliseconds since 1970 UTC.
    pub created_at_ms: i64,
    /// The router that it was made to replace; none for one that was fitted from the routes' examples.
    pub parent: Option<RouterId>,
    /// The encoder whose vectors it reads ([`super::encoder::Encoder::fingerprint`]).
    pub encoder: String,
    /// The categories, in the order of the head's classes.
    pub categories: Vec<CategoryId>,
    /// The classifier.
    pub head: Head,
    /// How the fit went.
    pub report: FitReport,
}

/// Why an artefact could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// The file or its folder.
    #[error("{} could not be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Not what [`Artefact::save`] writes: cut off, edited, or of another format.
    #[error("{}: {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl ArtefactError {
    /// Whether there simply is no such artefact.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Artefact {
    /// Reads the artefact `id` under the folder `artefacts`.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `Corrupt` if it is not what was written.
    pub fn load(artefacts: &Path, id: &RouterId) -> Result<Self, ArtefactError> {
        let folder = artefacts.join(id.as_str());
        let artefact = Self::read(&folder)?;
        if artefact.id == *id {
            return Ok(artefact);
        }
        Err(ArtefactError::Corrupt {
            path: folder.join(FILE_NAME),
            detail: format!("it is router {}, not {id}", artefact.id),
        })
    }

    /// Reads the artefact in `folder`, whatever its id.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `Corrupt` if it is not what was written.
    pub fn read(folder: &Path) -> Result<Self, ArtefactError> {
        let path = folder.join(FILE_NAME);
        let text = fs::read(&path).map_err(|source| ArtefactError::Io {
            path: path.clone(),
            source,
        })?;
        let corrupt = |detail: String| ArtefactError::Corrupt {
            path: path.clone(),
            detail,
        };
        let file: File =
            serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
        if file.format != FORMAT {
            let detail = format!("format {} where {FORMAT} is expected", file.format);
            return Err(corrupt(detail));
        }
        if file.sha256 != file.router.sha256() {
            return Err(corrupt("the checksum does not match the content".into()));
        }
        file.router
            .into_artefact()
            .ok_or_else(|| corrupt("the weights do not fit together".into()))
    }

    /// Writes the artefact under the folder `artefacts`, in place of one with the same id.
    ///
    /// # Errors
    /// `Io`; what was there before is then still there.
    pub fn save(&self, artefacts: &Path) -> Result<(), ArtefactError> {
        let path = path_of(artefacts, &self.id);
        let router = Content::from(self);
        let file = File {
            format: FORMAT,
            sha256: router.sha256(),
            router,
        };
        write_whole(&path, &file).map_err(|source| ArtefactError::Io { path, source })
    }
}

fn path_of(artefacts: &Path, id: &RouterId) -> PathBuf {
    artefacts.join(id.as_str()).join(FILE_NAME)
}

/// Two processes may write the same artefact at once: each has a temporary file of its own, and the last one wins.
fn write_whole(path: &Path, file: &File) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!("{FILE_NAME}.{}.tmp", process::id()));
    let written = fs::File::create(&temporary).and_then(|mut out| {
        serde_json::to_writer_pretty(&mut out, file)?;
        out.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The first error is the one to report.
        drop(fs::remove_file(&temporary));
    }
    written
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    /// Of `router`, as compact JSON.
    sha256: String,
    router: Content,
}

/// Every number is an `f32` or an integer: those survive JSON to the bit, so the checksum can be taken of the content
/// and not of its spelling.
#[derive(Serialize, Deserialize)]
struct Content {
    id: RouterId,
    created_at_ms: i64,
    parent: Option<RouterId>,
    encoder: String,
    categories: Vec<CategoryId>,
    report: FitReport,
    temperature: f32,
    bias: Vec<f32>,
    /// classes × dimensions, row by row, each number as eight hexadecimal digits of its little-endian bytes.
    weights: String,
}

impl Content {
    fn sha256(&self) -> String {
        // Nothing in it can fail to be written; if it did, no checksum would match.
        let json = serde_json::to_vec(self).unwrap_or_default();
        hex::encode(Sha256::digest(json))
    }

    fn into_artefact(self) -> Option<Artefact> {
        let bytes = hex::decode(&self.weights).ok()?;
        let (weights, rest) = bytes.as_chunks::<4>();
        let weights = weights.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let head = Head::from_parts(weights.collect(), self.bias, self.temperature)?;
        let sound = rest.is_empty() && head.classes() == self.categories.len();
        sound.then_some(Artefact {
            id: self.id,
            created_at_ms: self.created_at_ms,
            parent: self.parent,
            encoder: self.encoder,
            categories: self.categories,
            head,
            report: self.report,
        })
    }
}

impl From<&Artefact> for Content {
    fn from(artefact: &Artefact) -> Self {
        let weights = artefact.head.weights().iter();
        Self {
            id: artefact.id.clone(),
            created_at_ms: artefact.created_at_ms,
            parent: artefact.parent.clone(),
            encoder: artefact.encoder.clone(),
            categories: artefact.categories.clone(),
            report: artefact.report.clone(),
            temperature: artefact.head.temperature(),
            bias: artefact.head.bias().to_vec(),
            weights: hex::encode(weights.flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn artefact(weights: Vec<f32>, bias: Vec<f32>, temperature: f32) -> Artefact {
        Artefact {
            id: RouterId::new("0123456789ab"),
            created_at_ms: 1_700_000_000_123,
            parent: None,
            encoder: "e5".into(),
            categories: (0..bias.len())
                .map(|n| CategoryId::new(format!("c{n}")))
                .collect(),
            report: FitReport {
                rows: 7,
                l2: 3e-4,
                temperature,
                accuracy: Some(0.912_345_7),
                nll: None,
            },
            head: Head::from_parts(weights, bias, temperature).unwrap(),
        }
    }

    fn any_artefact() -> impl Strategy<Value = Artefact> {
        let number = || prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::SUBNORMAL;
        (2..5_usize, 1..6_usize)
            .prop_flat_map(move |(classes, dimensions)| {
                (
                    prop::collection::vec(number(), classes * dimensions),
                    prop::collection::vec(number(), classes),
                    1e-3_f32..1e3,
                )
            })
            .prop_map(|(weights, bias, temperature)| artefact(weights, bias, temperature))
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written_to_the_bit(written in any_artefact()) {
            let folder = tempfile::tempdir().unwrap();
            written.save(folder.path()).unwrap();
            let read = Artefact::load(folder.path(), &written.id).unwrap();
            let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(read.head.weights()), bits(written.head.weights()));
            prop_assert_eq!(bits(read.head.bias()), bits(written.head.bias()));
            prop_assert_eq!(read, written);
        }
    }

    fn saved() -> (tempfile::TempDir, Artefact, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let artefact = artefact(vec![0.1, 0.2, 0.3, 0.4], vec![0.5, 0.6], 1.5);
        artefact.save(folder.path()).unwrap();
        let path = path_of(folder.path(), &artefact.id);
        (folder, artefact, path)
    }

    #[test]
    fn every_kind_of_damage_is_noticed() {
        let (folder, artefact, path) = saved();
        let whole = fs::read_to_string(&path).unwrap();
        let damages = [
            (whole[..whole.len() / 2].to_owned(), "EOF"),
            (String::new(), "EOF"),
            (whole.replace("\"format\": 1", "\"format\": 2"), "format 2"),
            (
                whole.replace("\"temperature\": 1.5", "\"temperature\": 1.6"),
                "checksum",
            ),
            (whole.replace("\"c1\"", "\"c7\""), "checksum"),
            (whole.replace("cdcccc3d", "cdcccc3e"), "checksum"),
        ];
        for (damaged, complaint) in damages {
            assert_ne!(damaged, whole, "{complaint}: nothing was damaged");
            fs::write(&path, damaged).unwrap();
            let error = Artefact::load(folder.path(), &artefact.id).unwrap_err();
            assert!(error.to_string().contains(complaint), "{error}");
            assert!(!error.is_absent());
        }
    }

    #[test]
    fn another_routers_file_is_refused() {
        let (folder, _, path) = saved();
        let other = RouterId::new("ba9876543210");
        fs::create_dir(folder.path().join(other.as_str())).unwrap();
        fs::copy(path, path_of(folder.path(), &other)).unwrap();
        let error = Artefact::load(folder.path(), &other).unwrap_err();
        assert!(error.to_string().contains("not ba9876543210"), "{error}");
    }

    #[test]
    fn an_absent_artefact_is_told_from_a_broken_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = Artefact::load(folder.path(), &RouterId::new("none")).unwrap_err();
        assert!(error.is_absent());
    }

    #[test]
    fn nothing_is_left_beside_the_file() {
        let (_folder, artefact, path) = saved();
        let parent = path.parent().unwrap();
        artefact.save(parent.parent().unwrap()).unwrap();
        assert_eq!(fs::read_dir(parent).unwrap().count(), 1);
    }
}
