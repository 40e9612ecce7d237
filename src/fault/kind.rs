//! The faults: their names, where in an answer they strike, and what each does.

use std::{fmt, fmt::Display};

/// What a fault does. [`FAULTS`] says it in words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    missing_docs,
    reason = "the table below describes each of them, for people and for `GET /v1/models`"
)]
pub enum Kind {
    Healthy,
    RateLimitOnce,
    RateLimit,
    ErrorOnce,
    Overloaded,
    Down,
    Auth,
    Context,
    Filter,
    RejectPrefill,
    Reset,
    Close,
    Silent,
    HeaderOnly,
    SlowStart,
    Cut,
    Torn,
    Stall,
    Malformed,
    BadUtf8,
    ErrorEvent,
    RefusalMid,
    NoDone,
    EarlyDone,
    DoubleUsage,
    Tools,
    SplitUtf8,
    Drip,
    WrongType,
    Gzip,
    Http10,
    Huge,
    HugeEvent,
}

/// Where a fault strikes when its name gives no position.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// It concerns the answer as a whole, and takes no position.
    Whole,
    /// Before anything is sent.
    Start,
    /// After half of the tokens.
    Middle,
    /// After the last token.
    End,
}

/// A fault that a model's name can ask for.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What it does, for the program.
    pub kind: Kind,
    /// How a model's name begins that asks for it.
    pub name: &'static str,
    /// Where it strikes.
    pub place: Place,
    /// What it does, in a line.
    pub about: &'static str,
}

impl Fault {
    /// The fault of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FAULTS.iter().find(|fault| fault.name == name)
    }

    /// Whether it is told by a status and an error object.
    pub fn is_refusal(&self) -> bool {
        use Kind::{Auth, Context, Down, ErrorOnce, Filter, Overloaded, RateLimit, RateLimitOnce};
        matches!(
            self.kind,
            RateLimitOnce | RateLimit | ErrorOnce | Overloaded | Down | Auth | Context | Filter
        )
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn fault(kind: Kind, name: &'static str, place: Place, about: &'static str) -> Fault {
    Fault {
        kind,
        name,
        place,
        about,
    }
}

/// All of them, in the order of docs/faults.md.
#[rustfmt::skip]
pub static FAULTS: [Fault; 33] = {
    use Kind::*;
    use Place::*;
    [
        fault(Healthy, "healthy", Whole, "answers"),
        fault(RateLimitOnce, "rate-limit-once", Start, "429 with Retry-After, once; then answers"),
        fault(RateLimit, "rate-limit", Start, "429 without Retry-After, for ever"),
        fault(ErrorOnce, "error-once", Start, "500, once; then answers"),
        fault(Overloaded, "overloaded", Start, "503, for ever"),
        fault(Down, "down", Start, "503 for a minute from the first request on; then answers"),
        fault(Auth, "auth", Start, "401: the key is wrong"),
        fault(Context, "context", Start, "400: the context length is exceeded"),
        fault(Filter, "filter", Start, "400: the content filter refuses"),
        fault(RejectPrefill, "reject-prefill", Whole, "400 where the last message is the assistant's; else answers"),
        fault(Reset, "reset", Start, "resets the connection (RST), by default before the headers"),
        fault(Close, "close", Start, "closes the connection (FIN), by default before the headers"),
        fault(Silent, "silent", Start, "takes the request and says nothing"),
        fault(HeaderOnly, "header-only", Whole, "sends the headers, then nothing"),
        fault(SlowStart, "slow-start", Start, "waits 20 s, by default before the first token"),
        fault(Cut, "cut", Middle, "closes the connection without the end of the body"),
        fault(Torn, "torn", Middle, "closes the connection in the middle of an event"),
        fault(Stall, "stall", Middle, "goes silent in the middle of the answer"),
        fault(Malformed, "malformed", Middle, "sends something that is no JSON, then goes on"),
        fault(BadUtf8, "bad-utf8", Middle, "sends bytes that are no UTF-8, split across chunks, then goes on"),
        fault(ErrorEvent, "error-event", Middle, "200, then an error object in place of the rest"),
        fault(RefusalMid, "refusal-mid", Middle, "ends the answer with the finish reason content_filter"),
        fault(NoDone, "no-done", End, "ends without [DONE]; before the last token, without a finish reason too"),
        fault(EarlyDone, "early-done", Middle, "says [DONE] without a finish reason"),
        fault(DoubleUsage, "double-usage", End, "tells the usage twice"),
        fault(Tools, "tools", Whole, "calls a tool; streamed, in deltas of its arguments"),
        fault(SplitUtf8, "split-utf8", Whole, "splits characters of several bytes across chunks"),
        fault(Drip, "drip", Start, "sends byte by byte, by default one in 10 ms"),
        fault(WrongType, "wrong-type", Whole, "200 with a page of HTML"),
        fault(Gzip, "gzip", Whole, "compresses the body (gzip), asked to or not"),
        fault(Http10, "http10", Whole, "answers in HTTP/1.0; closing the connection ends the body"),
        fault(Huge, "huge", Whole, "an answer of 1 GB, in many events"),
        fault(HugeEvent, "huge-event", Whole, "an answer of 1 GB, in a single event"),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_and_a_kind_of_its_own() {
        for (at, fault) in FAULTS.iter().enumerate() {
            assert_eq!(Fault::named(fault.name).unwrap().kind, fault.kind);
            for other in &FAULTS[..at] {
                assert_ne!(other.kind, fault.kind, "{fault}");
            }
        }
    }

    #[test]
    fn names_keep_clear_of_the_grammar() {
        for fault in &FAULTS {
            assert!(!fault.name.contains(['@', '?', '#', '&', '=']), "{fault}");
        }
    }
}
