//! A GGUF file opened for reading: typed metadata, and tensors in forms that run fast.

use std::{
    fs::File,
    io::BufReader,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Mutex, PoisonError},
};

use candle_core::{
    Device, Tensor,
    quantized::{
        GgmlDType, QMatMul, QTensor,
        gguf_file::{Content, Value},
    },
};

use super::error::LoadFault;

/// Bytes read ahead: headers are hundreds of thousands of short strings.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// An open GGUF file. Shared between the threads that load its tensors.
pub(super) struct Gguf {
    content: Content,
    file: Mutex<BufReader<File>>,
}

impl Gguf {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, LoadFault> {
        let file = File::open(path).map_err(|source| LoadFault::Unreadable { source })?;
        let mut file = BufReader::with_capacity(READ_AHEAD_BYTES, file);
        // The reader checks every length against the file's size, but divides by the alignment that the file states.
        let content = catch_unwind(AssertUnwindSafe(|| Content::read(&mut file)))
            .map_err(|_panic| "its header makes no sense".to_owned())
            .and_then(|content| content.map_err(|error| error.to_string()))
            .map_err(|detail| LoadFault::NotGguf { detail })?;
        Ok(Self {
            content,
            file: Mutex::new(file),
        })
    }

    /// A text of the metadata.
    pub(super) fn text(&self, key: &str) -> Result<&str, LoadFault> {
        match self.content.metadata.get(key) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(missing(key)),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&str>, LoadFault> {
        self.list(key, |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A whole number below 2³², of whichever width it was written with.
    pub(super) fn count(&self, key: &str) -> Result<usize, LoadFault> {
        self.content
            .metadata
            .get(key)
            .and_then(whole_number)
            .ok_or_else(|| missing(key))
    }

    /// A list of whole numbers.
    pub(super) fn counts(&self, key: &str) -> Result<Vec<usize>, LoadFault> {
        self.list(key, whole_number)
    }

    /// A real number.
    pub(super) fn number(&self, key: &str) -> Result<f32, LoadFault> {
        match self.content.metadata.get(key) {
            Some(Value::F32(number)) => Ok(*number),
            _ => Err(missing(key)),
        }
    }

    /// Parameters of all tensors together.
    pub(super) fn parameters(&self) -> u64 {
        self.content
            .tensor_infos
            .values()
            .map(|info| {
                let dims = info.shape.dims().iter();
                dims.fold(1, |product: u64, &dim| product.saturating_mul(dim as u64))
            })
            .fold(0, u64::saturating_add)
    }

    /// Whether the file has this tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// A matrix to multiply with, `shape` being outputs × inputs, in a type that has vector instructions.
    pub(super) fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<QMatMul, LoadFault> {
        self.stored(name, &shape)
            .and_then(|tensor| {
                fast(tensor)
                    .and_then(QMatMul::from_qtensor)
                    .map_err(|error| error.to_string())
            })
            .map_err(|detail| unusable(name, detail))
    }

    /// A matrix whose rows are only looked up, in the type that it is stored in.
    pub(super) fn table(&self, name: &str, shape: [usize; 2]) -> Result<QMatMul, LoadFault> {
        self.stored(name, &shape)
            .and_then(|tensor| QMatMul::from_qtensor(tensor).map_err(|error| error.to_string()))
            .map_err(|detail| unusable(name, detail))
    }

    /// A vector of `len` floats.
    pub(super) fn vector(&self, name: &str, len: usize) -> Result<Tensor, LoadFault> {
        self.stored(name, &[len])
            .and_then(|tensor| {
                tensor
                    .dequantize(&Device::Cpu)
                    .map_err(|error| error.to_string())
            })
            .map_err(|detail| unusable(name, detail))
    }

    /// Reads a tensor whose shape is what the metadata promise; nothing is allocated for any other.
    fn stored(&self, name: &str, shape: &[usize]) -> Result<QTensor, String> {
        let info = self
            .content
            .tensor_infos
            .get(name)
            .ok_or("the file does not have it")?;
        if info.shape.dims() != shape {
            let found = info.shape.dims();
            return Err(format!("its shape is {found:?}, it should be {shape:?}"));
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        info.read(&mut *file, self.content.tensor_data_offset, &Device::Cpu)
            .map_err(|error| error.to_string())
    }

    fn list<'gguf, T>(
        &'gguf self,
        key: &str,
        item: impl Fn(&'gguf Value) -> Option<T>,
    ) -> Result<Vec<T>, LoadFault> {
        match self.content.metadata.get(key) {
            Some(Value::Array(values)) => values
                .iter()
                .map(item)
                .collect::<Option<_>>()
                .ok_or_else(|| missing(key)),
            _ => Err(missing(key)),
        }
    }
}

/// Requantises to `Q8_0` what candle multiplies without vector instructions: four to six times faster then, for about
/// 0.4 % of rounding on top of the coarser rounding that the file brings.
fn fast(tensor: QTensor) -> candle_core::Result<QTensor> {
    match tensor.dtype() {
        GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1 => {
            QTensor::quantize(&tensor.dequantize(&Device::Cpu)?, GgmlDType::Q8_0)
        }
        _ => Ok(tensor),
    }
}

/// Numbers beyond 32 bits count nothing in a model; refusing them keeps products of two from overflowing.
fn whole_number(value: &Value) -> Option<usize> {
    let number = match *value {
        Value::U8(number) => number.into(),
        Value::U16(number) => number.into(),
        Value::U32(number) => number,
        Value::U64(number) => u32::try_from(number).ok()?,
        Value::I8(number) => u32::try_from(number).ok()?,
        Value::I16(number) => u32::try_from(number).ok()?,
        Value::I32(number) => u32::try_from(number).ok()?,
        Value::I64(number) => u32::try_from(number).ok()?,
        _ => return None,
    };
    usize::try_from(number).ok()
}

fn missing(key: &str) -> LoadFault {
    LoadFault::Metadata { key: key.into() }
}

fn unusable(name: &str, detail: String) -> LoadFault {
    LoadFault::Tensor {
        name: name.into(),
        detail,
    }
}
