//! A reply as data: what is sent, in which order, and how it ends.

use std::time::Duration;

use serde_json::Value;

/// What the server does with a request. [`super::sender`] carries it out.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The status line and the headers.
    Head(Head),
    /// Bytes of the body; one chunk of it where it is chunked.
    Bytes(Vec<u8>),
    /// What has been gathered leaves before anything else is.
    Flush,
    /// Waits; to be scaled.
    Wait(Duration),
    /// Bytes of the body, one by one.
    Drip { bytes: Vec<u8>, pace: Duration },
    /// The same bytes of the body again and again.
    Repeat { bytes: Vec<u8>, times: u64 },
}

/// How it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// As HTTP wants it: the body is whole.
    Whole,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing more comes, and the connection stays.
    Silence,
}

/// The status line and the headers.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) framing: Framing,
}

/// How a reader knows where the body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    Chunked,
    Length(u64),
    /// HTTP/1.0: where the connection is closed.
    UntilClose,
}

impl Head {
    pub(super) fn ok(content_type: &str, framing: Framing) -> Self {
        Self {
            status: 200,
            headers: [("content-type", content_type.to_owned())].into(),
            framing,
        }
    }
}

impl Reply {
    /// A JSON document.
    pub(super) fn json(status: u16, document: &Value) -> Self {
        Self::page(status, "application/json", document.to_string())
    }

    /// A body that is sent as a whole.
    pub(super) fn page(status: u16, content_type: &str, body: String) -> Self {
        let head = Head {
            status,
            ..Head::ok(content_type, Framing::Length(body.len() as u64))
        };
        Self {
            steps: [Step::Head(head), Step::Bytes(body.into_bytes())].into(),
            end: End::Whole,
        }
    }

    /// The same with one more header.
    pub(super) fn header(mut self, name: &'static str, value: String) -> Self {
        if let Some(Step::Head(head)) = self.steps.first_mut() {
            head.headers.push((name, value));
        }
        self
    }
}
