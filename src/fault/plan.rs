//! From a question to a reply: which fault strikes where. Pure.

mod flow;

use super::{
    answer::Answer,
    asked::Asked,
    body::{Body, Ending, event, token_event, token_event_around, usage_event},
    gzip::gzipped,
    kind::Kind,
    name::{Model, Prefill},
    refusal::{Refusal, retry_after_value},
    reply::{End, Framing, Head, Reply, Step},
};
use flow::Flow;

/// Bytes of text in each piece of a huge answer.
const HUGE_PIECE_BYTES: usize = 16 * 1024;

/// What no reader takes for JSON: inside a document it ends a string, and nothing that may follow does.
const NO_JSON: &[u8] = b"\"no json{";

/// A four-byte character that breaks off after its second byte. The border between two chunks comes behind the first.
const NO_UTF8: [&[u8]; 2] = [b"\xf0", b"\x9f("];

const PAGE: &str = "<!doctype html>\n<title>Sign in</title>\n<p>Sign in to use this network.</p>\n";

/// A question, and what is known of those before it.
pub(super) struct Question<'q> {
    pub(super) asked: &'q Asked,
    pub(super) model: &'q Model,
    /// The how-manieth request for this name it is, from one.
    pub(super) nth: u64,
    /// Whether the fault still strikes.
    pub(super) struck: bool,
    /// When it came.
    pub(super) now_ms: i64,
}

/// What the server does with it.
pub(super) fn reply(question: &Question<'_>) -> Reply {
    let Question { asked, model, .. } = *question;
    let kind = if question.struck {
        model.fault.kind
    } else {
        Kind::Healthy
    };
    let rejects = kind == Kind::RejectPrefill || model.prefill == Prefill::Reject;
    if rejects && asked.prefill.is_some() {
        return Refusal::prefill().reply();
    }
    let answer = Answer::new(asked, model, question.nth);
    // What was begun may leave fewer tokens than the name counts on.
    let position = model.position.min(answer.tokens.len());
    let case = Case {
        asked,
        model,
        kind,
        position,
    };
    match (kind, Refusal::of(kind)) {
        (Kind::RejectPrefill, _) => case.answered(answer),
        (Kind::ErrorEvent, Some(refusal)) if !asked.stream => Reply::json(200, &refusal.object()),
        (Kind::ErrorEvent, Some(refusal)) => case.broken_by(&refusal, answer),
        // Once tokens are out, no status can tell it any more.
        (_, Some(refusal)) if asked.stream && position > 0 => case.broken_by(&refusal, answer),
        (_, Some(refusal)) => refused(&refusal, question),
        (Kind::WrongType, None) => Reply::page(200, "text/html; charset=utf-8", PAGE.to_owned()),
        (Kind::Huge | Kind::HugeEvent, None) => case.huge(answer),
        (_, None) => case.answered(answer),
    }
}

fn refused(refusal: &Refusal, question: &Question<'_>) -> Reply {
    let reply = refusal.reply();
    match question.model.retry_after {
        Some(retry_after) => {
            let value = retry_after_value(retry_after, question.now_ms);
            reply.header("retry-after", value)
        }
        None => reply,
    }
}

/// A question whose fault is known to strike, and where.
struct Case<'q> {
    asked: &'q Asked,
    model: &'q Model,
    kind: Kind,
    position: usize,
}

impl Case<'_> {
    /// An answer that is given at least in part.
    fn answered(&self, answer: Answer) -> Reply {
        let (answer, ending) = self.ended(answer);
        let inserted = self.inserted(&answer);
        let body = self.body(&answer, ending);
        let body = match self.kind {
            Kind::Gzip => gzipped(body),
            Kind::DoubleUsage if !self.asked.stream => body.counted_twice(&answer),
            _ => body,
        };
        let flow = Flow {
            head: self.head(body.len() + inserted.concat().len() as u64),
            body,
            inserted,
            position: self.position,
            // The pace of a drip is that of its bytes.
            pace: (self.kind != Kind::Drip).then_some(self.model.pace),
            streamed: self.asked.stream,
        };
        match self.kind {
            Kind::Reset => flow.broken_off(End::Reset),
            Kind::Close => flow.broken_off(End::Close),
            Kind::Silent => flow.broken_off(End::Silence),
            Kind::HeaderOnly => flow.headers_alone(),
            Kind::Cut => flow.up_to_here(End::Close),
            Kind::Torn => flow.torn(),
            Kind::Stall => flow.up_to_here(End::Silence),
            Kind::SlowStart => flow.paused(self.model.lasts),
            Kind::Drip => flow.dripping(self.model.pace),
            Kind::SplitUtf8 => flow.whole().split(),
            _ => flow.whole(),
        }
    }

    /// A stream that ends with an error object.
    fn broken_by(&self, refusal: &Refusal, answer: Answer) -> Reply {
        let unfinished = Ending {
            finish: None,
            done: false,
        };
        let answer = answer.first(self.position);
        let flow = Flow {
            head: self.head(0),
            body: self.body(&answer, unfinished),
            inserted: [event(&refusal.object())].into(),
            position: self.position,
            pace: Some(self.model.pace),
            streamed: true,
        };
        flow.whole()
    }

    /// An answer that is longer than anyone wants to keep.
    fn huge(&self, answer: Answer) -> Reply {
        let pieces = self.model.bytes.div_ceil(HUGE_PIECE_BYTES as u64);
        let answer = Answer {
            completion_tokens: pieces,
            ..answer.first(0)
        };
        let ending = Ending::healthy(&answer);
        let body = self.body(&answer, ending);
        let text = "x".repeat(HUGE_PIECE_BYTES);
        let repeat = |bytes| Step::Repeat {
            bytes,
            times: pieces,
        };
        let middle = match (self.asked.stream, self.kind) {
            (false, _) => [repeat(text.into_bytes())].into(),
            (true, Kind::HugeEvent) => {
                let (before, after) = token_event_around(&answer);
                Vec::from([
                    Step::Bytes(before),
                    repeat(text.into_bytes()),
                    Step::Bytes(after),
                ])
            }
            (true, _) => [repeat(token_event(&answer, &text))].into(),
        };
        let head = self.head(body.len() + pieces * HUGE_PIECE_BYTES as u64);
        let mut steps = Vec::from([Step::Head(head), Step::Bytes(body.opening)]);
        steps.extend(middle);
        steps.push(Step::Bytes(body.closing));
        Reply {
            steps,
            end: End::Whole,
        }
    }

    /// What is said of the answer, and how it ends.
    fn ended(&self, answer: Answer) -> (Answer, Ending) {
        let healthy = Ending::healthy(&answer);
        let finish = match self.kind {
            Kind::RefusalMid => Some("content_filter"),
            Kind::NoDone if self.position == answer.tokens.len() => healthy.finish,
            Kind::NoDone | Kind::EarlyDone => None,
            _ => return (answer, healthy),
        };
        let done = self.kind != Kind::NoDone;
        (answer.first(self.position), Ending { finish, done })
    }

    fn body(&self, answer: &Answer, ending: Ending) -> Body {
        if !self.asked.stream {
            return Body::document(answer, ending);
        }
        // Usage that is told twice is told whether it was asked for or not.
        let usage = self.asked.include_usage || self.kind == Kind::DoubleUsage;
        Body::stream(answer, ending, usage)
    }

    /// What comes between two tokens and does not belong there, in the pieces in which it is sent.
    fn inserted(&self, answer: &Answer) -> Vec<Vec<u8>> {
        let streamed = self.asked.stream;
        match self.kind {
            Kind::Malformed if streamed => [[b"data: {", NO_JSON, b"\n\n"].concat()].into(),
            Kind::Malformed => [NO_JSON.to_vec()].into(),
            Kind::BadUtf8 if streamed => {
                let (before, after) = token_event_around(answer);
                let [first, second] = NO_UTF8;
                [[&before, first].concat(), [second, &after].concat()].into()
            }
            Kind::BadUtf8 => NO_UTF8.map(<[u8]>::to_vec).into(),
            Kind::DoubleUsage if streamed => {
                let so_far = self.position as u64;
                [usage_event(answer, so_far)].into()
            }
            _ => Vec::new(),
        }
    }

    /// The head of a body of this length.
    fn head(&self, length: u64) -> Head {
        let framing = match self.kind {
            Kind::Http10 => Framing::UntilClose,
            // There must be chunks to split across.
            Kind::SplitUtf8 | Kind::BadUtf8 => Framing::Chunked,
            _ if self.asked.stream => Framing::Chunked,
            _ => Framing::Length(length),
        };
        let content_type = if self.asked.stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let mut head = Head::ok(content_type, framing);
        if self.kind == Kind::Gzip {
            head.headers.push(("content-encoding", "gzip".to_owned()));
        }
        head
    }
}

#[cfg(test)]
mod tests;
