//! A value of a request and where it stands, so that whatever is wrong can be named. `null` counts as absent, as OpenAI's
//! and Anthropic's clients send it.

use serde_json::{Map, Value};

use crate::chat::InvalidRequest;

/// A value and the path to it, such as `messages[2].content`.
#[derive(Clone, Debug)]
pub(super) struct Node<'v> {
    value: Option<&'v Value>,
    path: String,
}

impl<'v> Node<'v> {
    /// A field of a body.
    pub(super) fn of(body: &'v Map<String, Value>, name: &str) -> Self {
        Self {
            value: body.get(name).filter(|value| !value.is_null()),
            path: name.to_owned(),
        }
    }

    /// The value; `null` where there is none.
    pub(super) fn value(&self) -> Value {
        self.value.cloned().unwrap_or_default()
    }

    /// Whether it is there.
    pub(super) fn is_there(&self) -> bool {
        self.value.is_some()
    }

    /// A mistake at this place.
    pub(super) fn wrong(&self, message: impl Into<String>) -> InvalidRequest {
        InvalidRequest::at(&self.path, message)
    }

    /// The mistake that it must be something else.
    pub(super) fn must_be(&self, what: &str) -> InvalidRequest {
        let is = if self.is_there() {
            "must be"
        } else {
            "is missing; send"
        };
        self.wrong(format!("`{}` {is} {what}", self.path))
    }

    /// The mistake that it stands for something that is not offered.
    pub(super) fn unsupported(&self, instead: &str) -> InvalidRequest {
        self.wrong(format!("`{}` is not supported; {instead}", self.path))
    }

    /// A field of this object.
    pub(super) fn at(&self, name: &str) -> Self {
        Self {
            value: self
                .value
                .and_then(|value| value.get(name))
                .filter(|value| !value.is_null()),
            path: format!("{}.{name}", self.path),
        }
    }

    /// This, unless it is absent; it must be an object.
    pub(super) fn object(&self) -> Result<Option<&'v Map<String, Value>>, InvalidRequest> {
        match self.value {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(self.must_be("an object")),
        }
    }

    /// The items of this list; none where it is absent.
    pub(super) fn items(&self) -> Result<Vec<Self>, InvalidRequest> {
        self.list("a list")
    }

    /// The same of what may also be written as [a text](Self::as_text), and is none.
    pub(super) fn parts(&self) -> Result<Vec<Self>, InvalidRequest> {
        self.list("a text or a list")
    }

    fn list(&self, must_be: &str) -> Result<Vec<Self>, InvalidRequest> {
        let list = match self.value {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.must_be(must_be)),
        };
        Ok(list
            .iter()
            .enumerate()
            .map(|(at, value)| Self {
                value: Some(value),
                path: format!("{}[{at}]", self.path),
            })
            .collect())
    }

    /// The text, if this is one and no list: what may be written either way.
    pub(super) fn as_text(&self) -> Option<&'v str> {
        self.value?.as_str()
    }

    /// The text; none where it is absent.
    pub(super) fn text(&self) -> Result<Option<&'v str>, InvalidRequest> {
        match self.value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.must_be("a text")),
        }
    }

    /// The text, which must be there.
    pub(super) fn required_text(&self) -> Result<&'v str, InvalidRequest> {
        self.text()?.ok_or_else(|| self.must_be("a text"))
    }

    /// A name or an id: a text that is there and not empty.
    pub(super) fn required_name(&self) -> Result<&'v str, InvalidRequest> {
        let text = self.required_text()?;
        if text.is_empty() {
            return Err(self.must_be("a text that is not empty"));
        }
        Ok(text)
    }

    /// Whether it is `true`; absent is not.
    pub(super) fn is_true(&self) -> Result<bool, InvalidRequest> {
        match self.value {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.must_be("true or false")),
        }
    }
}
