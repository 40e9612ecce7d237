//! The right end of every fault.

/// Who gives an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// The row's own expert.
    Own,
    /// Its fallback.
    Fallback,
    /// The fallback goes on with what the own expert began, and counts so many tokens.
    Both(u64),
}

/// What a client must get.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// All of the answer, once, with its end, and named and counted as whoever gives it does.
    Whole(By),
    /// An end as the provider made it: the finish reason, after so many words.
    Finished(&'static str, usize),
    /// No answer: a status, and the error's code.
    Told(u16, &'static str),
    /// So many words, then an error with this code instead of an end.
    BrokeOff(usize, &'static str),
    /// All of the own expert's answer that has at least so many bytes.
    Long(usize),
    /// All of what the fallback that uses other words says.
    Other,
    /// All of the own expert's answer, whose tokens nobody counted.
    Uncounted,
}

use By::{Both, Fallback, Own};
use Expected::{BrokeOff, Finished, Long, Other, Told, Uncounted, Whole};

/// Tokens of the whole answer.
const TOKENS: u64 = 17;

/// A fallback that takes a prefill; one that rejects it and says the same; one that rejects it and says something else.
pub(super) const HEALTHY: &str = "healthy";
pub(super) const REJECTS: &str = "rejects";
pub(super) const REJECTS_AND_DIFFERS: &str = "other";

/// A fault, and what comes of it.
pub(super) struct Row {
    /// The model's name at the fault server.
    pub(super) model: &'static str,
    /// The text that a healthy provider would give.
    pub(super) text: &'static str,
    /// Which fallback it has, where it has one.
    pub(super) fallback: &'static str,
    /// Who else is asked, and how often the own expert.
    pub(super) asked: Asked,
    /// Alone: plain, streamed.
    alone: [Expected; 2],
    /// With a fallback: plain, streamed.
    with_fallback: [Expected; 2],
}

/// How often whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// As often as it takes.
    Any,
    /// The own expert a single time, which would only say the same again; then the fallback.
    Once,
    /// The own expert a single time, and nobody else.
    Alone,
}

impl Row {
    /// What is right.
    pub(super) fn expected(&self, stream: bool, has_fallback: bool) -> Expected {
        let both = if has_fallback {
            self.with_fallback
        } else {
            self.alone
        };
        both[usize::from(stream)]
    }
}

const fn row(model: &'static str, alone: [Expected; 2], with_fallback: [Expected; 2]) -> Row {
    Row {
        model,
        text: "trees",
        fallback: HEALTHY,
        asked: Asked::Any,
        alone,
        with_fallback,
    }
}

/// The client gets all of it, whether or not there is a fallback.
const fn whole(model: &'static str) -> Row {
    row(model, [Whole(Own); 2], [Whole(Own); 2])
}

/// Without a fallback nothing can be got; with one, everything.
const fn needs_fallback(model: &'static str, status: u16, code: &'static str) -> Row {
    let told = Told(status, code);
    row(model, [told, told], [Whole(Fallback); 2])
}

/// A stream that breaks off after five words, and a plain answer that is none.
const fn breaks(model: &'static str, status: u16, code: &'static str) -> Row {
    row(
        model,
        [Told(status, code), BrokeOff(5, code)],
        [Whole(Fallback), Whole(Both(TOKENS - 5))],
    )
}

/// The sixteen faults that gateways are measured by, then what else a provider can do.
pub(super) const ROWS: &[Row] = &[
    whole("rate-limit-once"),
    whole("rate-limit-once?date#date"),
    needs_fallback("rate-limit", 429, "rate_limit_exceeded"),
    whole("error-once"),
    needs_fallback("overloaded", 503, "expert_overloaded"),
    needs_fallback("reset", 502, "expert_unreachable"),
    needs_fallback("silent", 504, "expert_timeout"),
    row(
        "slow-start?for=40s",
        // A plain answer may take its time.
        [Whole(Own), Told(504, "expert_timeout")],
        [Whole(Own), Whole(Fallback)],
    ),
    breaks("cut@5", 502, "expert_broken"),
    breaks("stall@5", 504, "expert_timeout"),
    row(
        "malformed@5",
        [Told(502, "expert_broken"), Whole(Own)],
        [Whole(Fallback), Whole(Own)],
    ),
    whole("no-done"),
    needs_fallback("context", 400, "context_length_exceeded").asking(Asked::Once),
    row(
        "filter",
        [Told(400, "content_filter"); 2],
        [Told(400, "content_filter"); 2],
    )
    .asking(Asked::Alone),
    Row {
        fallback: REJECTS_AND_DIFFERS,
        ..row(
            "cut@5#rejected",
            [Told(502, "expert_broken"), BrokeOff(5, "expert_broken")],
            [Other, BrokeOff(5, "expert_broken")],
        )
    },
    Row {
        fallback: REJECTS,
        ..breaks("cut@5#spliced", 502, "expert_broken").after(5, TOKENS)
    },
    // For as long as a busy machine may need to ask all of its retries.
    needs_fallback("down?for=600s", 503, "expert_overloaded"),
    whole("healthy"),
    // What passes within the retries needs no fallback.
    row(
        "cut@5?times=1",
        [Whole(Own); 2],
        [Whole(Own), Whole(Both(TOKENS - 5))],
    ),
    row(
        "stall@5?times=1",
        [Told(504, "expert_timeout"), Whole(Own)],
        [Whole(Fallback), Whole(Both(TOKENS - 5))],
    ),
    whole("reset?times=1"),
    // Too little to be continued: the fallback says all of it.
    breaks("cut@1#early", 502, "expert_broken").after(1, TOKENS),
    breaks("cut@16#late", 502, "expert_broken").after(16, 1),
    breaks("torn@5", 502, "expert_broken"),
    // All was said, and what counts it is lost.
    row(
        "torn@17",
        [Told(502, "expert_broken"), Uncounted],
        [Whole(Fallback), Uncounted],
    ),
    breaks("no-done@5", 502, "expert_broken"),
    breaks("reset@5", 502, "expert_broken"),
    breaks("close@5", 502, "expert_broken"),
    breaks("silent@5", 504, "expert_timeout"),
    needs_fallback("close", 502, "expert_unreachable"),
    needs_fallback("auth", 502, "expert_refused_us").asking(Asked::Once),
    needs_fallback("header-only", 504, "expert_timeout"),
    breaks("error-event@5", 502, "expert_failed"),
    row(
        "refusal-mid@5",
        [Finished("content_filter", 5); 2],
        [Finished("content_filter", 5); 2],
    )
    .asking(Asked::Alone),
    row(
        "early-done@5",
        [Told(502, "expert_broken"), BrokeOff(5, "expert_broken")],
        [Whole(Fallback), Whole(Both(TOKENS - 5))],
    ),
    row(
        "bad-utf8@5",
        [Told(502, "expert_broken"), Whole(Own)],
        [Whole(Fallback), Whole(Own)],
    ),
    whole("double-usage"),
    Row {
        text: "tools",
        ..whole("tools")
    },
    Row {
        text: "accents",
        ..whole("split-utf8")
    },
    whole("drip?pace=1ms"),
    needs_fallback("wrong-type", 502, "expert_broken"),
    whole("gzip"),
    whole("http10"),
    whole("reject-prefill#healthy"),
];

/// Long is fine; longer than what is held in memory is not. They keep a machine busy, so that others' clocks would strike.
pub(super) const LONG_ROWS: &[Row] = &[
    row(
        "huge?bytes=2000000#fits",
        [Long(2_000_000), Long(2_000_000)],
        [Long(2_000_000), Long(2_000_000)],
    ),
    row(
        "huge?bytes=34000000",
        [Told(502, "expert_broken"), Long(34_000_000)],
        [Whole(Fallback), Long(34_000_000)],
    )
    .asking(Asked::Once),
    row(
        "huge-event?bytes=17000000",
        // As one document it fits; as one event of a stream it does not.
        [Long(17_000_000), Told(502, "expert_broken")],
        [Long(17_000_000), Whole(Fallback)],
    )
    .asking(Asked::Once),
];

impl Row {
    /// The same where a stream breaks off after so many words, and whoever goes on counts so many tokens.
    const fn after(mut self, words: usize, counted: u64) -> Self {
        if let BrokeOff(_, code) = self.alone[1] {
            self.alone[1] = BrokeOff(words, code);
        }
        self.with_fallback[1] = Whole(Both(counted));
        self
    }

    /// The same where it matters who is asked how often.
    const fn asking(mut self, asked: Asked) -> Self {
        self.asked = asked;
        self
    }
}
