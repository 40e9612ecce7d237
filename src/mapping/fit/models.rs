//! What experts are: their size and their prices, from a models file.
//!
//! `{expert: params_b}` or `{expert: {"params_b"?, "usd_in"?, "usd_out"?}}`: billions of parameters, dollars per million
//! tokens.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::ids::ExpertId;

/// What is known of the experts.
pub type Models = BTreeMap<ExpertId, Model>;

/// What is known of one expert.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Model {
    /// Billions of parameters.
    pub params_b: Option<f64>,
    /// Dollars per million tokens that are read.
    pub usd_in: Option<f64>,
    /// Dollars per million tokens that are written.
    pub usd_out: Option<f64>,
}

/// Why a models file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// The file cannot be opened.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not a JSON object.
    #[error("{} is no JSON object; write {{\"EXPERT\": {{\"params_b\": 7}}}}", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// An expert's entry is not what it must be.
    #[error("{}: `{expert}`: {problem}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Whose entry.
        expert: String,
        /// What is wrong with it, and what to write.
        problem: String,
    },
}

/// Reads a models file.
///
/// # Errors
/// It cannot be read, is not a JSON object, or an entry is wrong.
pub fn read(path: &Path) -> Result<Models, ModelsError> {
    let text = fs::read_to_string(path).map_err(|source| ModelsError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let entries: Map<String, Value> =
        serde_json::from_str(&text).map_err(|source| ModelsError::NotJson {
            path: path.to_owned(),
            source,
        })?;
    let entry = |(expert, value): (String, Value)| match model(&value) {
        Ok(model) => Ok((ExpertId::new(expert), model)),
        Err(problem) => Err(ModelsError::Entry {
            path: path.to_owned(),
            expert,
            problem,
        }),
    };
    entries.into_iter().map(entry).collect()
}

fn model(value: &Value) -> Result<Model, String> {
    match value {
        Value::Number(_) => Ok(Model {
            params_b: number("the size", value)?,
            ..Model::default()
        }),
        Value::Object(fields) => {
            let mut model = Model::default();
            for (name, value) in fields {
                let field = match name.as_str() {
                    "params_b" => &mut model.params_b,
                    "usd_in" => &mut model.usd_in,
                    "usd_out" => &mut model.usd_out,
                    _ => {
                        return Err(format!(
                            "`{name}` is not known; known are `params_b`, `usd_in` and `usd_out`"
                        ));
                    }
                };
                *field = number(name, value)?;
            }
            Ok(model)
        }
        _ => Err(format!(
            "{value} is no size; write billions of parameters, such as 7, or {{\"params_b\": 7}}"
        )),
    }
}

/// A number that is not negative; none for null.
fn number(name: &str, value: &Value) -> Result<Option<f64>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let number = value
        .as_f64()
        .filter(|number| number.is_finite() && *number >= 0.0);
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(format!(
            "{name} is {value}; it must be a number of at least 0"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Models, ModelsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.json");
        fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn sizes_and_prices_are_read_in_either_form() {
        let models =
            read_text(r#"{"a": 7, "b": {"params_b": 0.5, "usd_out": 2}, "c": {}}"#).unwrap();
        let model = |name| models[&ExpertId::new(name)];
        assert_eq!(model("a").params_b, Some(7.0));
        assert_eq!(model("b").params_b, Some(0.5));
        assert_eq!((model("b").usd_in, model("b").usd_out), (None, Some(2.0)));
        assert_eq!(model("c"), Model::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, complaint) in [
            ("[]", "is no JSON object; write"),
            (r#"{"a": "7b"}"#, "`a`: \"7b\" is no size; write"),
            (
                r#"{"a": {"params": 7}}"#,
                "`a`: `params` is not known; known are",
            ),
            (r#"{"a": -1}"#, "`a`: the size is -1; it must be"),
            (r#"{"a": {"usd_in": "2"}}"#, "usd_in is \"2\"; it must be"),
        ] {
            let error = read_text(text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
