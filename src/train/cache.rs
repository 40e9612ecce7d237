//! What a transformer said of texts, kept on disk by their content: a text is read once, however often it is trained on.
//!
//! One file a transformer, as it is or as it was tuned: records of a key and the numbers, one after the other. A record that was
//! cut off by a crash is passed over.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use ndarray::{Array2, ArrayView1};

use super::dataset::{KEY_BYTES, Key};

/// Bytes of a cache file, at most; beyond, nothing more is kept. Some 300,000 texts.
const BYTES_MAX: u64 = 1 << 30;

/// The readings of one encoder.
pub struct Cache {
    /// None: what is read is known to this process alone.
    path: Option<PathBuf>,
    dimensions: usize,
    known: HashMap<Key, Vec<f32>>,
}

impl Cache {
    /// Opens the cache of the encoder `fingerprint`, whose readings have so many numbers, in `folder`.
    ///
    /// # Errors
    /// If there is a file that cannot be read.
    pub fn open(folder: &Path, fingerprint: &str, dimensions: usize) -> io::Result<Self> {
        let path = folder.join(format!("{fingerprint}-{dimensions}.readings"));
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let records = bytes.chunks_exact(KEY_BYTES + dimensions * size_of::<f32>());
        let known = records.filter_map(|record| {
            let (key, numbers) = record.split_first_chunk::<KEY_BYTES>()?;
            let numbers = numbers
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes));
            Some((*key, numbers.collect()))
        });
        Ok(Self {
            known: known.collect(),
            path: Some(path),
            dimensions,
        })
    }

    /// One that has no file.
    pub fn in_memory(dimensions: usize) -> Self {
        Self {
            path: None,
            dimensions,
            known: HashMap::new(),
        }
    }

    /// What was said of a text.
    pub fn get(&self, key: &Key) -> Option<&[f32]> {
        self.known.get(key).map(Vec::as_slice)
    }

    /// What was said of each of some texts, a row each; zeros where nothing was.
    pub fn matrix(&self, keys: &[Key]) -> Array2<f32> {
        let mut matrix = Array2::zeros((keys.len(), self.dimensions));
        for (mut row, key) in matrix.rows_mut().into_iter().zip(keys) {
            if let Some(numbers) = self.get(key) {
                row.assign(&ArrayView1::from(numbers));
            }
        }
        matrix
    }

    /// Keeps what was said of some texts.
    ///
    /// # Errors
    /// If the file cannot be written; the numbers are then known to this process alone.
    pub fn extend(&mut self, readings: Vec<(Key, Vec<f32>)>) -> io::Result<()> {
        let record = KEY_BYTES + self.dimensions * size_of::<f32>();
        let mut bytes = Vec::with_capacity(readings.len() * record);
        for (key, numbers) in readings
            .into_iter()
            .filter(|(_, numbers)| numbers.len() == self.dimensions)
        {
            bytes.extend_from_slice(&key);
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            self.known.insert(key, numbers);
        }
        let Some(path) = &self.path else {
            return Ok(());
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        if length + bytes.len() as u64 > BYTES_MAX {
            return Ok(());
        }
        // What a crash cut off goes first, or every record behind it would be read askew.
        file.set_len(length - length % record as u64)?;
        file.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_again_and_a_torn_record_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let open = |dimensions| Cache::open(folder.path(), "abc", dimensions).unwrap();
        let mut cache = open(2);
        cache
            .extend(vec![([1; 16], vec![0.5, -1.0]), ([2; 16], vec![1.0])])
            .unwrap();
        assert!(cache.get(&[2; 16]).is_none(), "it has the wrong length");
        let path = folder.path().join("abc-2.readings");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&[9; 7]).unwrap();
        let mut cache = open(2);
        assert_eq!(cache.get(&[1; 16]), Some(&[0.5, -1.0][..]));
        cache.extend(vec![([3; 16], vec![7.0, 8.0])]).unwrap();
        assert_eq!(open(2).get(&[3; 16]), Some(&[7.0, 8.0][..]));
        assert!(open(3).get(&[1; 16]).is_none());
        let matrix = cache.matrix(&[[3; 16], [4; 16]]);
        assert_eq!(matrix, ndarray::array![[7.0, 8.0], [0.0, 0.0]]);
    }
}
