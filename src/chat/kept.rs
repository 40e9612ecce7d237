//! An object of an answer as the very text that came.

use memchr::{memchr2, memmem};
use serde_json::{Map, Value, json};

use super::{
    NotAChatObject,
    facts::{Facts, First},
};
use crate::ids::ExpertId;

/// Where Coterie adds to an object what OpenAI has no field for.
const OURS: &str = "coterie";

/// A JSON object, with every field that the expert sent, and what is read of it.
///
/// Hundreds of them pass through in a second, and nobody needs more of most than another name for the model. So they are
/// read once, and neither taken apart nor put together again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// An object, on one line.
    json: String,
    facts: Facts,
}

impl Kept {
    /// Reads an object.
    ///
    /// # Errors
    /// The bytes are none.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, NotAChatObject> {
        let json = String::from_utf8(bytes).map_err(NotAChatObject::new)?;
        if can_stay(json.as_bytes())
            && let Some(facts) = Facts::of(&json)
        {
            return Ok(Self { json, facts });
        }
        // Written anew, it is on one line, has no field twice, and is whole.
        let object: Map<String, Value> =
            serde_json::from_str(&json).map_err(NotAChatObject::new)?;
        Ok(Self::from_object(object))
    }

    pub(super) fn from_object(object: Map<String, Value>) -> Self {
        let json = Value::Object(object).to_string();
        let facts = Facts::of(&json).unwrap_or_default();
        Self { json, facts }
    }

    pub(super) fn json(&self) -> &str {
        &self.json
    }

    pub(super) fn into_json(self) -> String {
        self.json
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What is said of the first choice.
    pub(super) fn first(&self) -> Option<&First> {
        self.facts.first.as_ref()
    }

    /// All that the expert says of the tokens.
    pub(super) fn whole_usage(&self) -> Option<Value> {
        self.facts
            .has_usage
            .then(|| self.object().remove("usage"))?
    }

    /// The same object that tells the mean log-probability.
    pub(super) fn with_mean_logprob(self, mean: Option<f64>) -> Self {
        let Some(mean) = mean else { return self };
        let mut object = self.object();
        object.insert(OURS.into(), json!({"mean_logprob": mean}));
        Self::from_object(object)
    }

    /// The object, taken apart.
    pub(super) fn object(&self) -> Map<String, Value> {
        serde_json::from_str(&self.json).unwrap_or_default()
    }

    /// The same under an expert's name.
    pub(super) fn named(mut self, expert: &ExpertId) -> Self {
        let name = Value::from(expert.as_str()).to_string();
        let place = self.facts.model.clone().unwrap_or_else(|| {
            let separator = if self.json.contains(':') { "," } else { "" };
            let opening = self.json.find('{').map_or(0, |at| at + 1);
            let field = r#""model":"#;
            self.json
                .insert_str(opening, &format!("{field}{separator}"));
            let start = opening + field.len();
            start..start
        });
        self.facts.model = Some(place.start..place.start + name.len());
        self.json.replace_range(place, &name);
        self
    }

    /// The model's name, where it is a text.
    pub(super) fn model(&self) -> Option<String> {
        let name = self.json.get(self.facts.model.clone()?)?;
        serde_json::from_str(name).ok()
    }

    /// Whether it bears an expert's name.
    pub(super) fn is_named(&self, expert: &ExpertId) -> bool {
        let name = self.facts.model.clone().and_then(|it| self.json.get(it));
        name == Some(Value::from(expert.as_str()).to_string().as_str())
    }
}

/// Whether JSON is on one line, and has no half characters, which would be found only when it is taken apart.
fn can_stay(json: &[u8]) -> bool {
    let has = |escape: &[u8]| memmem::find(json, escape).is_some();
    memchr2(b'\n', b'\r', json).is_none() && !has(br"\ud") && !has(br"\uD")
}
