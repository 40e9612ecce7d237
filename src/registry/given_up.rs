//! Routers that somebody, or a trial, has decided against since they were last put in force: nothing puts them in force
//! again by itself.

use std::fmt;

use super::{Promotion, PromotionKind};
use crate::{
    clock,
    ids::RouterId,
    trial::{Ending, Trial, TrialKind},
};

/// That a router was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// When, milliseconds since 1970 UTC.
    at_ms: i64,
    /// Who did it.
    by: String,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    RolledBack,
    Worse,
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = clock::rfc3339(self.at_ms);
        match self.how {
            How::RolledBack => write!(f, "it was rolled back by {} on {at}", self.by),
            How::Worse => write!(f, "it was found worse as a canary on {at}"),
        }
    }
}

/// Whether a router was rolled back, or found worse as a canary, after it was put in force last. `promotions`: all, oldest
/// first.
pub fn given_up(id: &RouterId, promotions: &[Promotion], trials: &[Trial]) -> Option<GivenUp> {
    let is_it = |promotion: &Promotion| promotion.router.as_ref() == Some(id);
    let last = promotions.iter().rposition(is_it);
    let rolled_back = last
        .and_then(|last| promotions.get(last + 1))
        .filter(|next| next.kind == PromotionKind::Rollback)
        .map(|next| GivenUp {
            at_ms: next.at_ms,
            by: next.promoted_by.clone(),
            how: How::RolledBack,
        });
    let promoted_at_ms = last
        .and_then(|last| promotions.get(last))
        .map(|it| it.at_ms);
    let canaries = trials
        .iter()
        .filter(|trial| trial.router == *id && trial.kind == TrialKind::Canary);
    let worse = canaries
        .filter_map(|trial| trial.ended.as_ref())
        .filter(|ended| ended.ending == Ending::Worse)
        .filter(|ended| promoted_at_ms.is_none_or(|at_ms| ended.at_ms >= at_ms))
        .map(|ended| GivenUp {
            at_ms: ended.at_ms,
            by: ended.by.clone(),
            how: How::Worse,
        });
    rolled_back
        .into_iter()
        .chain(worse)
        .max_by_key(|it| it.at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{Ended, Places};

    fn id(name: &str) -> RouterId {
        RouterId::new(name)
    }

    /// What came in force, one after the other; `-` before a name: by a roll-back.
    fn history(names: &[&str]) -> Vec<Promotion> {
        let promotion = |(name, number): (&&str, i64)| {
            let back = name.strip_prefix('-');
            let router = back.unwrap_or(name);
            Promotion {
                number,
                at_ms: 10 * number,
                router: (!router.is_empty()).then(|| id(router)),
                kind: match back {
                    Some(_) => PromotionKind::Rollback,
                    None => PromotionKind::Promote,
                },
                replaces: None,
                promoted_by: "ann".to_owned(),
                why: None,
            }
        };
        names.iter().zip(1..).map(promotion).collect()
    }

    fn canary(router: &str, ending: Ending, at_ms: i64) -> Trial {
        Trial {
            number: 1,
            router: id(router),
            kind: TrialKind::Canary,
            share: None,
            champion: None,
            started_at_ms: 0,
            started_by: "ann".to_owned(),
            why: None,
            from: Places::default(),
            ended: Some(Ended {
                at_ms,
                by: "canary".to_owned(),
                ending,
                why: None,
            }),
        }
    }

    #[test]
    fn what_was_rolled_back_is_given_up_until_somebody_promotes_it() {
        for (names, expected) in [
            (&["a"][..], false),
            (&["a", "-"], true),
            (&["b", "a", "-b"], true),
            (&["a", "-", "a"], false),
            (&["a", "-", "b"], true),
            (&["a", "b"], false),
            (&["a", "b", "-a"], false),
            (&["a", "b", "-a", "-"], true),
            (&["b", "-"], false),
        ] {
            let found = given_up(&id("a"), &history(names), &[]);
            assert_eq!(found.is_some(), expected, "{names:?}");
        }
        let told = given_up(&id("a"), &history(&["a", "-"]), &[]).unwrap();
        assert_eq!(
            told.to_string(),
            "it was rolled back by ann on 1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn a_canary_that_was_worse_is_given_up_until_somebody_promotes_it() {
        let worse = [canary("a", Ending::Worse, 15)];
        let told = given_up(&id("a"), &[], &worse).unwrap().to_string();
        assert!(told.starts_with("it was found worse"), "{told}");
        assert!(given_up(&id("a"), &history(&["a"]), &worse).is_some());
        assert_eq!(given_up(&id("a"), &history(&["b", "a"]), &worse), None);
        assert_eq!(given_up(&id("b"), &[], &worse), None);
        let stopped = [canary("a", Ending::Stopped, 15)];
        assert_eq!(given_up(&id("a"), &[], &stopped), None);
    }
}
