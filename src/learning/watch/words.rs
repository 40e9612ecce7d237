//! What the tests found, for people and for metrics.

use crate::{
    clock,
    drift::{Alarm, Reference, Signal},
};

/// An alarm for a person.
pub fn in_words(alarm: &Alarm) -> String {
    let of_router = alarm.router.as_ref();
    let of_router = of_router.map_or_else(String::new, |id| format!(" (router {id})"));
    format!(
        "{}{of_router} changed from {:.3} to {:.3} about {}, noticed {} after {} questions",
        what(&alarm.signal),
        alarm.before,
        alarm.after,
        clock::rfc3339(alarm.since_ms),
        clock::rfc3339(alarm.noticed_ms),
        alarm.rows_after
    )
}

/// What the tests cannot tell yet, a line for each kind that has too few rows; nothing where every reference is whole.
pub fn references_in_words(references: &[Reference]) -> Vec<String> {
    let is_success = |it: &&Reference| matches!(it.signal, Signal::Success { .. });
    let others = references.iter().filter(|it| !is_success(it));
    let mut lines: Vec<String> = others
        .filter(|it| !it.is_whole())
        .map(|it| {
            let what = what(&it.signal);
            format!("{what}: {} of {} questions", it.rows, it.needs)
        })
        .collect();
    let cells = references.iter().filter(is_success);
    let (all, whole) = (
        cells.clone().count(),
        cells.clone().filter(|it| it.is_whole()).count(),
    );
    let nearest = cells
        .filter(|it| !it.is_whole())
        .max_by_key(|it| it.rows)
        .filter(|_| whole < all);
    lines.extend(nearest.map(|it| {
        format!(
            "the success of {} of {all} pairs of category and expert: {} of {} answers at most, {}",
            all - whole,
            it.rows,
            it.needs,
            what(&it.signal)
        )
    }));
    lines
}

fn what(signal: &Signal) -> String {
    match signal {
        Signal::Confidence => "the router's confidence".to_owned(),
        Signal::OutOfDomain => "the share of refused questions".to_owned(),
        Signal::Strangeness => "how strange questions are".to_owned(),
        Signal::Feature(at) => format!("what questions are about (direction {at})"),
        Signal::Novelty => "how little questions resemble those before".to_owned(),
        Signal::Success { category, expert } => format!("the success of {expert} in {category}"),
    }
}

/// What an alarm is about, in one word for metrics.
pub fn signal_word(signal: &Signal) -> &'static str {
    match signal {
        Signal::Confidence => "confidence",
        Signal::OutOfDomain => "out_of_domain",
        Signal::Strangeness => "strangeness",
        Signal::Feature(_) => "features",
        Signal::Novelty => "novelty",
        Signal::Success { .. } => "success",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CategoryId, ExpertId};

    #[test]
    fn what_is_still_collecting_is_told_and_what_is_whole_is_not() {
        let of = |signal, rows| Reference {
            signal,
            router: None,
            rows,
            needs: 200,
        };
        let success = |expert| Signal::Success {
            category: CategoryId::new("law"),
            expert: ExpertId::new(expert),
        };
        let mut references = vec![
            of(Signal::Confidence, 200),
            of(Signal::Strangeness, 10),
            of(success("a"), 200),
            of(success("b"), 150),
            of(success("c"), 20),
        ];
        let lines = references_in_words(&references);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].contains("strange") && lines[0].contains("10 of 200"));
        assert!(lines[1].contains("2 of 3 pairs") && lines[1].contains("150 of 200"));
        assert!(lines[1].contains("b in law"), "{lines:#?}");
        references.retain(Reference::is_whole);
        assert_eq!(references_in_words(&references), [""; 0]);
    }
}
