//! An answer on its way: what is sent before the place where a fault strikes, and what after it.

use std::time::Duration;

use super::{Body, End, Head, Reply, Step};

/// An answer, and the place.
pub(super) struct Flow {
    pub(super) head: Head,
    pub(super) body: Body,
    /// What is sent at the place though it does not belong there; each piece leaves on its own.
    pub(super) inserted: Vec<Vec<u8>>,
    /// How many tokens come before the place.
    pub(super) position: usize,
    /// The wait between two tokens.
    pub(super) pace: Option<Duration>,
    pub(super) streamed: bool,
}

impl Flow {
    /// All of it, with what is inserted.
    pub(super) fn whole(self) -> Reply {
        let mut steps = self.before();
        for piece in &self.inserted {
            steps.push(Step::Bytes(piece.clone()));
            steps.push(Step::Flush);
        }
        steps.extend(self.after());
        ended(steps, End::Whole)
    }

    /// Ends at the place; nothing at all is sent before the first token.
    pub(super) fn broken_off(self, end: End) -> Reply {
        if self.position == 0 {
            return ended(Vec::new(), end);
        }
        self.up_to_here(end)
    }

    /// Ends at the place, headers and opening sent in any case.
    pub(super) fn up_to_here(self, end: End) -> Reply {
        ended(self.before(), end)
    }

    /// Ends amid what follows the place.
    pub(super) fn torn(self) -> Reply {
        let next = self.body.tokens.get(self.position);
        let next = next.unwrap_or(&self.body.closing);
        let half = next[..next.len() / 2].to_vec();
        let mut steps = self.before();
        steps.push(Step::Bytes(half));
        ended(steps, End::Close)
    }

    pub(super) fn headers_alone(self) -> Reply {
        ended([Step::Head(self.head)].into(), End::Silence)
    }

    /// Waits at the place. Before the first token of a stream the headers are out; a whole answer is computed first.
    pub(super) fn paused(self, wait: Duration) -> Reply {
        let mut steps = self.before();
        let at = match (self.position, self.streamed) {
            (0, true) => 1,
            (0, false) => 0,
            _ => steps.len(),
        };
        steps.insert(at, Step::Wait(wait));
        steps.extend(self.after());
        ended(steps, End::Whole)
    }

    /// From the place on, byte by byte.
    pub(super) fn dripping(mut self, pace: Duration) -> Reply {
        let mut steps = self.before();
        let rest = self.body.tokens.split_off(self.position).concat();
        let mut bytes = [rest, self.body.closing].concat();
        if self.position == 0 {
            // The opening, too: nothing but the head comes at once.
            steps.truncate(1);
            bytes.splice(0..0, self.body.opening);
        }
        steps.push(Step::Drip { bytes, pace });
        ended(steps, End::Whole)
    }

    /// The head and what comes before the place.
    fn before(&self) -> Vec<Step> {
        let mut steps = Vec::with_capacity(self.body.tokens.len() + 4);
        if !self.streamed
            && let Some(pace) = self.pace
        {
            // Whoever answers as a whole makes all tokens first.
            let tokens = u32::try_from(self.body.tokens.len()).unwrap_or(u32::MAX);
            wait(&mut steps, pace.saturating_mul(tokens));
        }
        steps.push(Step::Head(self.head.clone()));
        steps.push(Step::Bytes(self.body.opening.clone()));
        self.tokens(&mut steps, 0..self.position);
        steps
    }

    /// What comes after the place.
    fn after(&self) -> Vec<Step> {
        let mut steps = Vec::with_capacity(self.body.tokens.len() + 1);
        self.tokens(&mut steps, self.position..self.body.tokens.len());
        steps.push(Step::Bytes(self.body.closing.clone()));
        steps
    }

    fn tokens(&self, steps: &mut Vec<Step>, range: std::ops::Range<usize>) {
        let first = range.start;
        let tokens = self.body.tokens.get(range).unwrap_or_default();
        for (at, token) in tokens.iter().enumerate() {
            if self.streamed
                && first + at > 0
                && let Some(pace) = self.pace
            {
                wait(steps, pace);
            }
            steps.push(Step::Bytes(token.clone()));
        }
    }
}

impl Reply {
    /// The same with every character of several bytes torn: its first byte in one chunk, the others in the next.
    pub(super) fn split(self) -> Self {
        let mut steps = Vec::with_capacity(self.steps.len());
        for step in self.steps {
            let Step::Bytes(bytes) = step else {
                steps.push(step);
                continue;
            };
            for piece in torn(&bytes) {
                steps.push(Step::Bytes(piece.to_vec()));
                steps.push(Step::Flush);
            }
        }
        ended(steps, self.end)
    }
}

fn ended(steps: Vec<Step>, end: End) -> Reply {
    Reply { steps, end }
}

fn wait(steps: &mut Vec<Step>, wait: Duration) {
    if !wait.is_zero() {
        steps.push(Step::Wait(wait));
    }
}

/// The bytes in pieces, each of which ends behind the first byte of a character that has several.
fn torn(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    /// What the first byte of such a character has at least.
    const LEAD: u8 = 0xc0;
    bytes.split_inclusive(|byte| *byte >= LEAD)
}
