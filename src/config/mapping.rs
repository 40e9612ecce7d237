//! Where the mapping is written, and how it is read once more while the rest of the configuration stands.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    CascadeConfig, MappingConfig,
    check::{self, Known, Layer},
    document::Document,
    mistake::Mistakes,
    raw, schema, shape,
};

/// Longest file of a mapping, in bytes: ten thousand categories with ten fallbacks each.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// `mapping` as the configuration has it, with all that it may name.
#[derive(Debug)]
pub struct MappingSource {
    /// The configuration, for the places of what is wrong.
    pub(super) document: Document,
    pub(super) mapping: raw::Mapping,
    pub(super) experts: Option<BTreeMap<String, raw::Expert>>,
    /// The category of every route.
    pub(super) categories: Vec<String>,
    /// Whether the dollars of clients are limited, so that whoever may answer needs a price.
    pub(super) clients_pay: bool,
}

impl MappingSource {
    /// The file that the mapping is in; none where it stands in the configuration itself.
    pub fn file(&self) -> Option<PathBuf> {
        self.mapping.file.as_deref().map(PathBuf::from)
    }

    /// Checks the mapping whose file has these bytes, exactly as a start would.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn judge(&self, bytes: &[u8]) -> Result<MappingConfig, Mistakes> {
        let mut mistakes = Mistakes::default();
        let file = self.file().unwrap_or_default();
        let config = self.of_bytes(&file, bytes, &mut mistakes);
        mistakes.or(config)
    }

    /// Checks the mapping in another file, as if the configuration named it; what the configuration itself says wins.
    ///
    /// # Errors
    /// The file cannot be read, or every mistake in it.
    pub fn judge_file(&self, file: &Path) -> Result<MappingConfig, Mistakes> {
        let mut mistakes = Mistakes::default();
        let config = self.of_file(file, &mut mistakes);
        mistakes.or(config)
    }

    /// Reads and checks the mapping for the first time.
    pub(super) fn read(&self, mistakes: &mut Mistakes) -> Option<MappingConfig> {
        let Some(file) = self.file() else {
            return check::mapping(self.house(), self.house(), self.known(), mistakes);
        };
        self.of_file(&file, mistakes)
    }

    fn of_file(&self, file: &Path, mistakes: &mut Mistakes) -> Option<MappingConfig> {
        match read(file) {
            Ok(bytes) => self.of_bytes(file, &bytes, mistakes),
            Err(error) => {
                let message = format!("the mapping `{}` cannot be read: {error}", file.display());
                let help = "`coterie map fit --out` writes one".to_owned();
                mistakes.add(self.house().place.at("file"), message, help);
                None
            }
        }
    }

    fn of_bytes(
        &self,
        file: &Path,
        bytes: &[u8],
        mistakes: &mut Mistakes,
    ) -> Option<MappingConfig> {
        let name = file.display().to_string();
        let document = Document::of_bytes(name, bytes, mistakes)?;
        let place = document.place();
        let raw: raw::Mapping =
            shape::read("the file", place, &schema::mapping_schema(), mistakes)?;
        let content = Layer { raw: &raw, place };
        check::mapping(self.house(), content, self.known(), mistakes)
    }

    /// What the configuration itself says.
    fn house(&self) -> Layer<'_> {
        Layer {
            raw: &self.mapping,
            place: self.document.place().key("mapping"),
        }
    }

    fn known(&self) -> Known<'_> {
        Known {
            experts_place: self.document.place().at("experts"),
            experts: self.experts.as_ref(),
            categories: &self.categories,
            clients_pay: self.clients_pay,
        }
    }
}

/// The bytes of a mapping's file.
///
/// # Errors
/// It cannot be read, or is longer than any mapping.
pub fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(file)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is longer than any mapping"));
    }
    Ok(bytes)
}

/// The quality model that a mapping's file names, where its bytes can be read so far.
pub fn quality_named(file: &Path, bytes: &[u8]) -> Option<PathBuf> {
    /// All else is left to the checks.
    #[derive(Deserialize)]
    struct Naming {
        quality: String,
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let naming: Naming = serde_saphyr::from_str(text).ok()?;
    Some(file.with_file_name(naming.quality))
}

impl MappingConfig {
    /// What it says that will do nothing, and keeps no server from starting: a house may have a cascade that waits for a
    /// quality model, which a fit leaves out as long as it does not pay.
    pub fn warnings(&self) -> Vec<String> {
        let waits = |cascade: &CascadeConfig| {
            cascade.accept.predicted_success_min.is_some() && self.quality.is_none()
        };
        let idle = self.cascades.iter().filter(|(_, cascade)| waits(cascade));
        idle.map(|(category, CascadeConfig { first, .. })| {
            format!(
                "the cascade of `{category}` never asks `{first}`: `predicted_success_min` needs a quality model, and the \
                 mapping has none; `coterie map fit --per-question` makes one where it pays"
            )
        })
        .collect()
    }
}
