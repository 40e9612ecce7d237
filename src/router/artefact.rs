//! A trained router on disk: a folder with `manifest.json`, `router.safetensors` and what its encoders need.
//!
//! | file | holds |
//! | --- | --- |
//! | `manifest.json` | what it is and how good: format, categories, calibration, figures, where it comes from, the sum of each file |
//! | `router.safetensors` | the numbers of the heads |
//! | `table.safetensors`, `tokenizer.json` | the static encoder, where it is used |
//! | `adapter.safetensors` | what tuning changed in the transformer, where it was tuned |
//!
//! The folder takes its final name only when it is whole: whoever reads it gets what was written, or is told why not.

mod manifest;
mod tensors;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process,
};

use sha2::{Digest as _, Sha256};

use self::manifest::Unreadable;
pub use self::manifest::{
    Cascade, EncoderNeeded, Figures, FileFigures, Manifest, Routed, Source, TierReport, Training,
};
use super::{
    encoder::adapter::Adapter,
    model::Model,
    static_encoder::{PIECES_FILE, StaticEncoder, StaticEncoderError, TABLE_FILE},
};
use crate::ids::RouterId;

/// Raised whenever an older reader would misread the files.
pub const FORMAT: u32 = 4;

/// The file that says what the others are.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The file of the heads.
pub const TENSORS_FILE: &str = "router.safetensors";

/// The file of what tuning changed.
pub const ADAPTER_FILE: &str = "adapter.safetensors";

/// All that may lie in the folder: its own files, and what a retraining leaves beside them.
const OWN_FILES: [&str; 11] = [
    MANIFEST_FILE,
    TENSORS_FILE,
    TABLE_FILE,
    PIECES_FILE,
    ADAPTER_FILE,
    "learnt.json",
    "judgement.json",
    "report.md",
    "report.svg",
    "mapping.yaml",
    "mapping.before.yaml",
];

/// A trained router, open.
pub struct Artefact {
    /// What it is.
    pub manifest: Manifest,
    /// What training found.
    pub model: Model,
    /// The static encoder, where the cheap tier reads it.
    pub static_encoder: Option<StaticEncoder>,
    /// What the transformer is changed by, where it was tuned.
    pub adapter: Option<Adapter>,
    /// Confidence of rows held back from training, and whether the category was right: what thresholds are taken from.
    pub held_back: Vec<(f32, bool)>,
    /// Where it lies.
    pub folder: PathBuf,
}

/// A trained router that is to be written.
pub struct Draft<'d> {
    /// What it is; the sums of files are filled in.
    pub manifest: Manifest,
    /// What training found.
    pub model: &'d Model,
    /// See [`Artefact::held_back`].
    pub held_back: &'d [(f32, bool)],
    /// The folder of the static encoder.
    pub static_encoder: Option<&'d Path>,
    /// The file of the adapter.
    pub adapter: Option<&'d Path>,
}

/// Why an artefact could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// A file or its folder.
    #[error("{}", untouched(path, source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Not what was written: cut off, edited or mixed up.
    #[error("the router {} is damaged: {detail}; train it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Written by another version of Coterie.
    #[error(
        "{}: the router has format {found}, and this Coterie reads {FORMAT}; {}",
        path.display(),
        if *found > FORMAT { "use a newer Coterie, or train it again with this one" } else { "train it again" }
    )]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A folder that holds something else.
    #[error(
        "{} has something else in it than a router, which would be lost; name another folder for the router",
        folder.display()
    )]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// Its static encoder.
    #[error("the router's static encoder cannot be used")]
    StaticEncoder {
        /// Why not.
        #[from]
        source: StaticEncoderError,
    },
}

/// What could not be done; a folder without a manifest is mostly another one than was meant.
fn untouched(path: &Path, source: &io::Error) -> String {
    let is_absent = source.kind() == io::ErrorKind::NotFound && path.ends_with(MANIFEST_FILE);
    match path.parent().filter(|_| is_absent) {
        Some(folder) => format!(
            "there is no router in {}; name a folder that `coterie train --out` wrote",
            folder.display()
        ),
        None => format!("{} could not be read or written", path.display()),
    }
}

impl ArtefactError {
    /// Whether there simply is no such artefact.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { path, source }
            if source.kind() == io::ErrorKind::NotFound && path.ends_with(MANIFEST_FILE))
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }

    fn corrupt(path: &Path) -> impl FnOnce(String) -> Self {
        let path = path.to_owned();
        |detail| Self::Corrupt { path, detail }
    }
}

impl Artefact {
    /// Reads the artefact in `folder`.
    ///
    /// # Errors
    /// `Io` if a file cannot be read, `Format` if another version wrote it, `Corrupt` if it is not what was written.
    pub fn read(folder: &Path) -> Result<Self, ArtefactError> {
        let path = folder.join(MANIFEST_FILE);
        let text = fs::read(&path).map_err(ArtefactError::io(&path))?;
        let manifest = Manifest::parse(&text).map_err(|unreadable| match unreadable {
            manifest::Unreadable::Format(found) => ArtefactError::Format {
                path: path.clone(),
                found,
            },
            manifest::Unreadable::Detail(detail) => ArtefactError::corrupt(&path)(detail),
        })?;
        let file = |name: &str| -> Result<Vec<u8>, ArtefactError> {
            let path = folder.join(name);
            let bytes = fs::read(&path).map_err(ArtefactError::io(&path))?;
            let sum = hex::encode(Sha256::digest(&bytes));
            match manifest.files.get(name) {
                Some(expected) if *expected == sum => Ok(bytes),
                _ => Err(ArtefactError::corrupt(&path)(
                    "its checksum is not the manifest's".into(),
                )),
            }
        };
        let tensors_path = folder.join(TENSORS_FILE);
        let (model, held_back) = tensors::unpack(&file(TENSORS_FILE)?, &manifest)
            .map_err(ArtefactError::corrupt(&tensors_path))?;
        let has = |name: &str| manifest.files.contains_key(name);
        let static_encoder = has(TABLE_FILE).then(|| {
            file(TABLE_FILE)?;
            file(PIECES_FILE)?;
            let encoder = StaticEncoder::open(folder)?;
            let read = model.cheap.as_ref().map(|tier| tier.head.dimensions());
            if read.is_some_and(|read| read != encoder.dimensions()) {
                let detail = "its vectors are not as long as those that the router reads";
                return Err(ArtefactError::corrupt(&folder.join(TABLE_FILE))(
                    detail.into(),
                ));
            }
            Ok(encoder)
        });
        let adapter = has(ADAPTER_FILE).then(|| {
            let adapter = Adapter::from_bytes(&file(ADAPTER_FILE)?);
            adapter.map_err(ArtefactError::corrupt(&folder.join(ADAPTER_FILE)))
        });
        Ok(Self {
            static_encoder: static_encoder.transpose()?,
            adapter: adapter.transpose()?,
            manifest,
            model,
            held_back,
            folder: folder.to_owned(),
        })
    }

    /// SHA-256 of the adapter's file, where there is one.
    pub fn adapter_sha256(&self) -> Option<&str> {
        self.manifest.files.get(ADAPTER_FILE).map(String::as_str)
    }

    /// Its id.
    pub fn id(&self) -> &RouterId {
        &self.manifest.id
    }
}

impl Draft<'_> {
    /// Writes the artefact as `folder`, in place of what was there.
    ///
    /// # Errors
    /// `Taken` if something else is there; `Io`, and what was there before is then still there.
    pub fn write(mut self, folder: &Path) -> Result<Manifest, ArtefactError> {
        free(folder)?;
        let read = |path: PathBuf| fs::read(&path).map_err(ArtefactError::io(&path));
        let mut files = vec![(TENSORS_FILE, tensors::pack(self.model, self.held_back))];
        if let Some(from) = self.static_encoder {
            for name in [TABLE_FILE, PIECES_FILE] {
                files.push((name, read(from.join(name))?));
            }
        }
        if let Some(adapter) = self.adapter {
            files.push((ADAPTER_FILE, read(adapter.to_owned())?));
        }
        let sums = files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), hex::encode(Sha256::digest(bytes))));
        self.manifest.files = sums.collect();
        self.manifest.thresholds = Routed::of(self.held_back);
        files.push((MANIFEST_FILE, self.manifest.seal()));
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (*name, bytes.as_slice()))
            .collect();
        write_whole(folder, &files).map_err(ArtefactError::io(folder))?;
        Ok(self.manifest)
    }
}

/// Whether a router may be written as `folder`: a router that is there is replaced, anything else is not.
///
/// # Errors
/// `Taken` if there is something else, or something else beside a router.
pub fn free(folder: &Path) -> Result<(), ArtefactError> {
    let is_there = fs::symlink_metadata(folder).is_ok();
    if is_there && !holds_a_router_alone(folder).unwrap_or(false) {
        let folder = folder.to_owned();
        return Err(ArtefactError::Taken { folder });
    }
    Ok(())
}

/// Whether nothing is in a folder, or a router with what may lie beside one and nothing else.
fn holds_a_router_alone(folder: &Path) -> io::Result<bool> {
    let names = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    let manifest = || Manifest::parse(&fs::read(folder.join(MANIFEST_FILE)).unwrap_or_default());
    let of_a_router = || {
        names.iter().any(|name| name == TENSORS_FILE)
            || !matches!(manifest(), Err(Unreadable::Detail(_)))
    };
    let is_ours = |name: &OsString| OWN_FILES.iter().any(|own| name == own);
    Ok(names.is_empty() || (of_a_router() && names.iter().all(is_ours)))
}

/// Writes the files into a new folder beside `folder`, which then takes its place.
///
/// Two processes may write the same artefact at once: each has a folder of its own first, and the last one wins.
pub fn write_whole(folder: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    let aside = |what: &str| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        folder.with_file_name(format!(".{name}.{what}-{}", process::id()))
    };
    let (new, old) = (aside("new"), aside("old"));
    fs::create_dir_all(&new)?;
    let written = files.iter().try_for_each(|(name, bytes)| {
        let file = fs::File::create(new.join(name))?;
        io::Write::write_all(&mut &file, bytes)?;
        file.sync_all()
    });
    let placed = written.and_then(|()| match fs::rename(&new, folder) {
        // A folder that is not empty is not replaced: it steps aside first.
        Err(_) if folder.exists() => {
            fs::rename(folder, &old)?;
            let placed = fs::rename(&new, folder);
            if placed.is_err() {
                fs::rename(&old, folder)?;
            }
            placed
        }
        renamed => renamed,
    });
    // What could not be placed, and what was replaced, is of no more use.
    for left in [&new, &old] {
        if left.exists() {
            fs::remove_dir_all(left)?;
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_router_or_nothing_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let holding = |name: &str, files: &[(&str, &str)]| {
            let folder = folder.path().join(name);
            fs::create_dir(&folder).unwrap();
            for (file, text) in files {
                fs::write(folder.join(file), text).unwrap();
            }
            free(&folder).is_ok()
        };
        assert!(free(&folder.path().join("absent")).is_ok());
        assert!(holding("empty", &[]));
        assert!(holding(
            "damaged",
            &[(MANIFEST_FILE, "{"), (TENSORS_FILE, "")]
        ));
        assert!(holding(
            "of another format",
            &[(MANIFEST_FILE, r#"{"format": 99}"#)]
        ));
        let other = r#"{"name": "an extension of a browser"}"#;
        assert!(!holding("foreign", &[(MANIFEST_FILE, other)]));
        assert!(!holding("notes", &[("notes.txt", "precious")]));
        let beside = [(MANIFEST_FILE, "{"), (TENSORS_FILE, ""), ("notes.txt", "")];
        assert!(!holding("notes beside a router", &beside));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(free(&file).is_err());
    }

    #[test]
    fn a_folder_without_a_router_is_told_with_what_to_name_instead() {
        let folder = tempfile::tempdir().unwrap();
        let error = Artefact::read(&folder.path().join("nope")).err().unwrap();
        let told = error.to_string();
        assert!(
            told.starts_with("there is no router in ")
                && told.ends_with("nope; name a folder that `coterie train --out` wrote"),
            "{told}"
        );
        assert!(error.is_absent());
    }
}
