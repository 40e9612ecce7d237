//! SHA-256 sums of the store's files, and the note of those that were taken (`verified.json`), so that half a gigabyte
//! is not read again each time. Everything here blocks.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, Metadata},
    io,
    path::{Path, PathBuf},
    str::FromStr,
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256 as Hasher};

/// A file's digest; written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

/// Sums by `model/file`, each with what told the file from a later one when the sum was taken.
#[derive(Debug)]
pub(super) struct Sums {
    file: PathBuf,
    taken: BTreeMap<String, Taken>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Taken {
    bytes: u64,
    modified_ns: u64,
    sha256: Sha256,
}

impl Sums {
    /// The sums of the store at `dir`; none if the note cannot be read, since each can be taken again.
    pub(super) fn load(dir: &Path) -> Self {
        let file = dir.join("verified.json");
        let taken = fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { file, taken }
    }

    /// Forgets every sum.
    pub(super) fn forget(&mut self) {
        self.taken.clear();
    }

    /// The sum of the file at `path`: from the note, unless its size or time of change differ from the note's.
    pub(super) fn of(&mut self, name: &str, path: &Path) -> io::Result<Sha256> {
        let metadata = fs::metadata(path)?;
        if let Some(taken) = self.taken.get(name)
            && *taken == Taken::new(&metadata, taken.sha256)
        {
            return Ok(taken.sha256);
        }
        let sha256 = Sha256::of_file(path)?;
        // A store that cannot be written to is read each time.
        self.note(name, &metadata, sha256).ok();
        Ok(sha256)
    }

    /// Notes the sum of a file whose metadata were read before the sum was taken.
    pub(super) fn note(&mut self, name: &str, metadata: &Metadata, sum: Sha256) -> io::Result<()> {
        self.taken
            .insert(name.to_owned(), Taken::new(metadata, sum));
        let scratch = self.file.with_extension(std::process::id().to_string());
        fs::write(&scratch, serde_json::to_vec_pretty(&self.taken)?)?;
        fs::rename(&scratch, &self.file)
    }
}

impl Taken {
    fn new(metadata: &Metadata, sha256: Sha256) -> Self {
        let modified_ns = metadata
            .modified()
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| {
                u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
            });
        Self {
            bytes: metadata.len(),
            modified_ns,
            sha256,
        }
    }
}

impl Sha256 {
    /// The digest of a file, which is read whole.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut hasher = HashWriter(Hasher::new());
        io::copy(
            &mut io::BufReader::with_capacity(1 << 20, File::open(path)?),
            &mut hasher,
        )?;
        Ok(Self(hasher.0.finalize().into()))
    }

    /// The digest of these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Hasher::digest(bytes).into())
    }
}

struct HashWriter(Hasher);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Sha256 {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)?;
        Ok(Self(digest))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(sum: Sha256) -> Self {
        sum.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_taken_again_only_when_the_file_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one").unwrap();
        let mut sums = Sums::load(dir.path());
        assert_eq!(sums.of("f", &path).unwrap(), Sha256::of_bytes(b"one"));

        let lie = Sha256::of_bytes(b"a note that is believed");
        sums.note("f", &fs::metadata(&path).unwrap(), lie).unwrap();
        let mut sums = Sums::load(dir.path());
        assert_eq!(sums.of("f", &path).unwrap(), lie);

        fs::write(&path, "three").unwrap();
        assert_eq!(sums.of("f", &path).unwrap(), Sha256::of_bytes(b"three"));
    }

    #[test]
    fn a_broken_note_is_no_note() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one").unwrap();
        fs::write(dir.path().join("verified.json"), "{").unwrap();
        let sum = Sums::load(dir.path()).of("f", &path).unwrap();
        assert_eq!(sum, Sha256::of_bytes(b"one"));
    }

    #[test]
    fn sums_are_read_and_written_as_hexadecimal_digits() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of_bytes(b"abc").to_string(), text);
        assert_eq!(text.parse(), Ok(Sha256::of_bytes(b"abc")));
        assert!("ba78".parse::<Sha256>().is_err());
    }
}
