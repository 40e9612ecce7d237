//! What a safetensors file of ours says of itself: one text of JSON among its metadata.

use std::collections::HashMap;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The key under which it stands.
pub(super) const KEY: &str = "coterie";

/// What the file says of itself.
///
/// # Errors
/// It says nothing, something else, or has another format than `format`.
pub(crate) fn read<T: DeserializeOwned>(file: &[u8], format: u32) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let (_, metadata) = SafeTensors::read_metadata(file).map_err(|error| error.to_string())?;
    let metadata = metadata.metadata().as_ref();
    let json = metadata
        .and_then(|metadata| metadata.get(KEY))
        .ok_or("its metadata do not say what it is")?;
    // A newer format may have other fields: its number comes first.
    let found: Versioned = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if found.format != format {
        let found = found.format;
        return Err(format!("format {found} where {format} is expected"));
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// The metadata with which a file says `about` of itself.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn of(about: &impl Serialize) -> Result<HashMap<String, String>, serde_json::Error> {
    Ok(HashMap::from([(
        KEY.to_owned(),
        serde_json::to_string(about)?,
    )]))
}
