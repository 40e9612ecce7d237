//! Who asked for what, and when: what the state of a fault depends on, and what tests ask for.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use super::{kind::Kind, name::Model};

/// Most names that are told apart; requests for more are refused.
const NAMES_MAX: usize = 10_000;

/// Most requests that are kept; the oldest go first, counts stay.
const KEPT_MAX: usize = 4096;

/// Most bytes of bodies that are kept.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When its last byte was there.
    pub arrived: Instant,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The JSON document that it brought.
    pub body: Value,
}

impl Seen {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        Some(value)
    }
}

/// All requests, by the names that they asked for.
pub(super) struct Book {
    began: Instant,
    counts: HashMap<String, Count>,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

struct Count {
    requests: u64,
    first: Instant,
}

struct Kept {
    model: String,
    seen: Seen,
    bytes: usize,
}

/// A request's place among those for the same name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Turn {
    /// From one.
    pub(super) nth: u64,
    /// How long ago the first one was.
    pub(super) since_first: Duration,
}

impl Turn {
    /// Whether the fault still strikes; `lasts` is how long a provider is down.
    pub(super) fn is_struck(self, model: &Model, lasts: Duration) -> bool {
        let is_over = model.fault.kind == Kind::Down && self.since_first >= lasts;
        self.nth <= model.times && !is_over
    }
}

/// There are too many names.
#[derive(Debug, thiserror::Error)]
#[error("more than {NAMES_MAX} names were asked for; POST /reset forgets them")]
pub(super) struct Full;

impl Book {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            counts: HashMap::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
        }
    }

    /// Takes a request down; its body had this many `bytes`.
    pub(super) fn enter(&mut self, model: &str, seen: Seen, bytes: usize) -> Result<Turn, Full> {
        if self.counts.len() >= NAMES_MAX && !self.counts.contains_key(model) {
            return Err(Full);
        }
        let count = self.counts.entry(model.to_owned()).or_insert(Count {
            requests: 0,
            first: seen.arrived,
        });
        count.requests += 1;
        let turn = Turn {
            nth: count.requests,
            since_first: seen.arrived.saturating_duration_since(count.first),
        };
        self.kept_bytes += bytes;
        self.kept.push_back(Kept {
            model: model.to_owned(),
            seen,
            bytes,
        });
        while self.kept.len() > KEPT_MAX || self.kept_bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= oldest.bytes;
        }
        Ok(turn)
    }

    /// How many requests came for a name.
    pub(super) fn count(&self, model: &str) -> u64 {
        self.counts.get(model).map_or(0, |count| count.requests)
    }

    /// Those that are kept, oldest first.
    pub(super) fn requests(&self, model: &str) -> Vec<Seen> {
        let kept = self.kept.iter().filter(|kept| kept.model == model);
        kept.map(|kept| kept.seen.clone()).collect()
    }

    /// Counts, and when the requests that are kept came, in milliseconds since the beginning.
    pub(super) fn document(&self) -> Value {
        let mut models = Map::new();
        for (model, count) in &self.counts {
            let entry = json!({"requests": count.requests, "arrived_ms": []});
            models.insert(model.clone(), entry);
        }
        for kept in &self.kept {
            let since = kept.seen.arrived.saturating_duration_since(self.began);
            let arrived_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            if let Some(Value::Array(all)) = models
                .get_mut(&kept.model)
                .and_then(|model| model.get_mut("arrived_ms"))
            {
                all.push(arrived_ms.into());
            }
        }
        models.sort_keys();
        let requests: u64 = self.counts.values().map(|count| count.requests).sum();
        json!({"requests": requests, "models": models})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(arrived: Instant) -> Seen {
        Seen {
            arrived,
            headers: [("authorization".to_owned(), "Bearer k".to_owned())].into(),
            body: json!({"n": 1}),
        }
    }

    #[test]
    fn requests_are_counted_by_their_whole_name() {
        let now = Instant::now();
        let later = now + Duration::from_secs(3);
        let mut book = Book::new(now);
        let first = book.enter("cut#a", seen(now), 1).unwrap();
        let second = book.enter("cut#a", seen(later), 1).unwrap();
        let other = book.enter("cut#b", seen(later), 1).unwrap();
        let turn = |nth, seconds| Turn {
            nth,
            since_first: Duration::from_secs(seconds),
        };
        assert_eq!(first, turn(1, 0));
        assert_eq!(second, turn(2, 3));
        assert_eq!(other, turn(1, 0));
        assert_eq!(book.count("cut#a"), 2);
        assert_eq!(book.count("cut"), 0);
        let kept = book.requests("cut#a");
        assert_eq!(kept.len(), 2);
        assert_eq!(kept[1].arrived, later);
        assert_eq!(kept[0].header("authorization"), Some("Bearer k"));
    }

    #[test]
    fn the_document_tells_counts_and_arrivals() {
        let now = Instant::now();
        let mut book = Book::new(now);
        book.enter("b", seen(now), 1).unwrap();
        book.enter("a", seen(now + Duration::from_millis(7)), 1)
            .unwrap();
        let document = json!({"requests": 2, "models": {
            "a": {"requests": 1, "arrived_ms": [7]},
            "b": {"requests": 1, "arrived_ms": [0]},
        }});
        assert_eq!(book.document().to_string(), document.to_string());
    }

    #[test]
    fn what_is_kept_has_a_bound_in_number_and_bytes() {
        let now = Instant::now();
        let mut book = Book::new(now);
        for _request in 0..KEPT_MAX + 5 {
            book.enter("a", seen(now), 1).unwrap();
        }
        assert_eq!(book.count("a"), KEPT_MAX as u64 + 5);
        assert_eq!(book.requests("a").len(), KEPT_MAX);
        book.enter("a", seen(now), KEPT_BYTES_MAX).unwrap();
        assert_eq!(book.requests("a").len(), 1);
    }

    #[test]
    fn names_have_a_bound() {
        let now = Instant::now();
        let mut book = Book::new(now);
        for name in 0..NAMES_MAX {
            book.enter(&name.to_string(), seen(now), 0).unwrap();
        }
        assert!(book.enter("one more", seen(now), 0).is_err());
        assert!(book.enter("0", seen(now), 0).is_ok());
    }

    #[test]
    fn a_fault_strikes_as_often_and_as_long_as_its_name_says() {
        let struck = |name: &str, nth, seconds| {
            let model: Model = name.parse().unwrap();
            let since_first = Duration::from_secs(seconds);
            Turn { nth, since_first }.is_struck(&model, model.lasts)
        };
        assert!(struck("error-once", 1, 0));
        assert!(!struck("error-once", 2, 0));
        assert!(struck("error-once?times=2", 2, 0));
        assert!(struck("cut", 1_000_000, 1_000_000));
        assert!(!struck("cut?times=0", 1, 0));
        assert!(struck("down", 50, 59));
        assert!(!struck("down", 51, 60));
        assert!(!struck("down?times=1", 2, 1));
    }
}
