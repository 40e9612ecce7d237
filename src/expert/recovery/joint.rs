//! Where the chunks of another answer are joined to what was delivered: what was delivered already is taken out of them.

use std::mem;

use serde_json::{Map, Value};

use super::delivered::{Delivered, Track, says_nothing};
use crate::{
    chat::{Chunk, content},
    expert::ExpertError,
};

/// Characters that an answer must have in common with what was delivered before it counts as that answer said anew, where
/// it was to go on with it: fewer are alike by chance.
const ECHO_CHARS_MIN: usize = 16;

/// How much of what was delivered is looked at for repetitions, in bytes: a text that repeats itself does so early.
const REPETITION_BYTES_MAX: usize = 4 << 10;

/// Most of a new answer that is held back until it has said all that was delivered, in bytes of its JSON: a few tool calls
/// that come before a text.
pub(super) const HELD_BYTES_MAX: usize = 64 << 10;

/// Whether an answer that goes on from `delivered` can be told from one that says it anew. After `1`, a `1` may be either,
/// and so may anything after a text that says one thing again and again; what is taken for said anew wrongly is lost.
pub(super) fn can_be_continued(delivered: &str) -> bool {
    let delivered = delivered.trim();
    delivered.chars().nth(ECHO_CHARS_MIN - 1).is_some() && !repeats_itself(delivered)
}

/// Whether a text is the same when it is shifted by half of its length or less.
fn repeats_itself(text: &str) -> bool {
    let bytes = text.as_bytes();
    let bytes = &bytes[..bytes.len().min(REPETITION_BYTES_MAX)];
    (1..=bytes.len() / 2).any(|shift| bytes[shift..] == bytes[..bytes.len() - shift])
}

/// How another answer meets what was delivered.
#[derive(Debug)]
pub(super) enum Joint {
    /// It must begin with what was delivered.
    Splice(Anew),
    /// It goes on from there.
    Continued(Seam),
}

/// The beginning of an answer that was asked for anew.
#[derive(Debug)]
pub(super) struct Anew {
    /// The rest of each text that is still to be met.
    rest: Vec<(Track, String)>,
    /// What it says beside them, until all of them are met: before that it may be another answer.
    held: Vec<Chunk>,
    held_bytes: usize,
}

/// The beginning of a continued answer.
#[derive(Debug)]
pub(super) struct Seam {
    /// What was delivered.
    delivered: String,
    /// What came of the answer, as long as it may be what was delivered, said once more.
    held: Option<String>,
    /// White space that was delivered and is not in the prefill, so that the answer may begin with it.
    space: String,
}

impl Joint {
    pub(super) fn splice(delivered: &Delivered) -> Self {
        Self::Splice(Anew {
            rest: delivered.tracks().to_vec(),
            held: Vec::new(),
            held_bytes: 0,
        })
    }

    pub(super) fn continued(delivered: &str) -> Self {
        let kept = delivered.trim_end();
        Self::Continued(Seam {
            delivered: kept.to_owned(),
            held: Some(String::new()),
            space: delivered[kept.len()..].to_owned(),
        })
    }

    /// What of the answer is new and may be sent, now that this chunk has come.
    ///
    /// # Errors
    /// The answer is another one.
    pub(super) fn fit(&mut self, chunk: Chunk) -> Result<Vec<Chunk>, ExpertError> {
        let finishes = chunk.finishes();
        let counts = chunk.usage().is_some();
        let mut object = chunk.object();
        let delta = delta_of(&mut object);
        let has_choice = delta.is_some();
        if let Some(delta) = delta {
            // The client knows whose turn it is, and what was thought before the answer began.
            delta.retain(|field, _| field != "role" && !field.starts_with("reasoning"));
            if let Some(said) = delta.get_mut("content")
                && said.is_array()
                && !content::has_more_than_text(said)
            {
                *said = content::text_of(said).into();
            }
            match self {
                Self::Splice(anew) => splice(delta, &mut anew.rest)?,
                Self::Continued(seam) => seam.join(delta, finishes)?,
            }
        }
        if finishes {
            self.end()?;
        }
        let chunk = Chunk::from_object(object);
        let is_new = finishes || counts || !has_choice || chunk.carries_token();
        match self {
            Self::Splice(anew) if !anew.is_met() => anew.hold(chunk).map(|()| Vec::new()),
            Self::Splice(anew) => {
                let held = mem::take(&mut anew.held).into_iter();
                Ok(held.chain(is_new.then_some(chunk)).collect())
            }
            Self::Continued(_) => Ok(is_new.then_some(chunk).into_iter().collect()),
        }
    }

    /// The answer is at its end.
    ///
    /// # Errors
    /// It ended before what was delivered did.
    pub(super) fn end(&self) -> Result<(), ExpertError> {
        match self {
            Self::Splice(anew) if !anew.is_met() => Err(ExpertError::Diverged),
            // It ended before it was clear whether it went on or began anew.
            Self::Continued(seam) if seam.held.as_ref().is_some_and(|held| !held.is_empty()) => {
                Err(ExpertError::Diverged)
            }
            _ => Ok(()),
        }
    }
}

impl Anew {
    /// Whether it has said all that was delivered.
    fn is_met(&self) -> bool {
        self.rest.iter().all(|(_, rest)| rest.is_empty())
    }

    /// Keeps a chunk until that is so. What carries nothing of the answer is not kept: a count that comes so early is not
    /// the last.
    fn hold(&mut self, chunk: Chunk) -> Result<(), ExpertError> {
        if chunk.carries_token() {
            self.held_bytes += chunk.json().len();
            self.held.push(chunk);
        }
        if self.held_bytes > HELD_BYTES_MAX {
            return Err(ExpertError::Diverged);
        }
        Ok(())
    }
}

fn delta_of(chunk: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    let choice = chunk.get_mut("choices")?.as_array_mut()?.first_mut()?;
    choice.get_mut("delta")?.as_object_mut()
}

/// Takes out of a delta what was delivered already.
fn splice(delta: &mut Map<String, Value>, rest: &mut [(Track, String)]) -> Result<(), ExpertError> {
    for (field, track) in [("content", Track::Content), ("refusal", Track::Refusal)] {
        if let Some(Value::String(text)) = delta.get_mut(field) {
            *text = beyond(text, track, rest)?;
        }
    }
    let Some(Value::Array(calls)) = delta.get_mut("tool_calls") else {
        return Ok(());
    };
    for call in calls.iter_mut() {
        splice_call(call, rest)?;
    }
    calls.retain(|call| call.get("function").is_some());
    if calls.is_empty() {
        delta.remove("tool_calls");
    }
    Ok(())
}

/// A call whose beginning was delivered keeps its index and what is new of its arguments; its id was delivered too.
fn splice_call(call: &mut Value, rest: &mut [(Track, String)]) -> Result<(), ExpertError> {
    let index = call.get("index").and_then(Value::as_u64).unwrap_or(0);
    let Some(call) = call.as_object_mut() else {
        return Ok(());
    };
    let was_delivered = rest
        .iter()
        .any(|(track, _)| matches!(track, Track::ToolName(known) | Track::ToolArguments(known) if *known == index));
    let Some(Value::Object(function)) = call.get_mut("function") else {
        return Ok(());
    };
    for (field, track) in [
        ("name", Track::ToolName(index)),
        ("arguments", Track::ToolArguments(index)),
    ] {
        if let Some(Value::String(text)) = function.get_mut(field) {
            *text = beyond(text, track, rest)?;
        }
    }
    if was_delivered {
        if function.get("name").is_some_and(|name| !says_nothing(name)) {
            // The call has its name; one that goes on is another function's.
            return Err(ExpertError::Diverged);
        }
        function.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
        if function.is_empty() {
            call.remove("function");
        }
        call.retain(|field, _| field != "id" && field != "type");
    }
    Ok(())
}

/// What of `text` goes beyond what was delivered on its track.
fn beyond(text: &str, track: Track, rest: &mut [(Track, String)]) -> Result<String, ExpertError> {
    let Some((_, rest)) = rest.iter_mut().find(|(known, _)| *known == track) else {
        return Ok(text.to_owned());
    };
    if let Some(left) = rest.strip_prefix(text) {
        *rest = left.to_owned();
        return Ok(String::new());
    }
    let new = text
        .strip_prefix(rest.as_str())
        .ok_or(ExpertError::Diverged)?
        .to_owned();
    rest.clear();
    Ok(new)
}

impl Seam {
    fn join(&mut self, delta: &mut Map<String, Value>, finishes: bool) -> Result<(), ExpertError> {
        if self.held.is_none() && self.space.is_empty() {
            return Ok(());
        }
        let text = match delta.get("content") {
            Some(Value::String(text)) => text.as_str(),
            None | Some(Value::Null) => "",
            // Parts other than text cannot be what was delivered.
            Some(_) => return Err(ExpertError::Diverged),
        };
        let new = match &mut self.held {
            None => text.to_owned(),
            Some(held) => {
                held.push_str(text);
                // Where a call or a refusal begins, the text before it has ended.
                let begins = |field| delta.get(field).is_some_and(|it| !says_nothing(it));
                let is_over = finishes || ["refusal", "tool_calls"].into_iter().any(begins);
                let new = self.told_apart(is_over)?;
                if new.is_some() {
                    self.held = None;
                }
                new.unwrap_or_default()
            }
        };
        let new = self.after_space(&new);
        if delta.contains_key("content") || !new.is_empty() {
            delta.insert("content".into(), new.into());
        }
        Ok(())
    }

    /// What is new of what is held, once it is clear whether the answer goes on or begins anew; at its end it must be.
    fn told_apart(&self, is_over: bool) -> Result<Option<String>, ExpertError> {
        let held = self.held.as_deref().unwrap_or_default();
        if let Some(new) = held.strip_prefix(self.delivered.as_str()) {
            return Ok(Some(new.to_owned()));
        }
        if self.delivered.starts_with(held) && !is_over {
            return Ok(None);
        }
        if alike_chars(held, &self.delivered) >= ECHO_CHARS_MIN {
            // It was said anew, and otherwise.
            return Err(ExpertError::Diverged);
        }
        Ok(Some(held.to_owned()))
    }

    /// The text without the white space that was delivered before it.
    fn after_space(&mut self, text: &str) -> String {
        let alike = text
            .char_indices()
            .zip(self.space.chars())
            .take_while(|((_, a), b)| a == b)
            .map(|((at, a), _)| at + a.len_utf8())
            .last()
            .unwrap_or(0);
        if alike < text.len() {
            // It goes on with something else, or all of the space was met.
            self.space.clear();
        } else {
            self.space.drain(..alike);
        }
        text[alike..].to_owned()
    }
}

fn alike_chars(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}
