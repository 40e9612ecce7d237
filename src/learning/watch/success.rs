//! How good the answers were of those who were asked. Pure.

use crate::{
    ids::ExpertId,
    learning::{
        reward::{Implicit, reward},
        served::Served,
    },
    router::narrow,
};

/// Of everyone who was asked and of whom something can be said, how good the answer was, 0 to 1, in the order in which they
/// were asked.
///
/// Who failed and is to blame for it has 0, whether or not another answered. Of who answered the clients' scores count, and
/// without one whether the answer came about; an answer that was at hand from before tells nothing of that.
pub(super) fn of_experts(served: &Served) -> Vec<(ExpertId, f32)> {
    let mut asked: Vec<&ExpertId> = Vec::new();
    let tried = served.tries.iter().map(|it| &it.expert);
    for expert in tried.chain(&served.answered_by) {
        if !asked.contains(&expert) {
            asked.push(expert);
        }
    }
    let judged = asked.into_iter().filter_map(|expert| {
        let success = of_expert(served, expert)?;
        Some((expert.clone(), narrow(success)))
    });
    judged.collect()
}

fn of_expert(served: &Served, expert: &ExpertId) -> Option<f64> {
    if served.answered_by.as_ref() != Some(expert) {
        return reward(served, expert, Implicit::Counts);
    }
    let mut tries = served.tries.iter();
    let is_at_hand = tries.any(|it| it.expert == *expert && it.role == "cache");
    reward(served, expert, Implicit::LeftOut).or(match served.ending.as_str() {
        "completed" if !is_at_hand => Some(1.0),
        "expert_failed" | "timed_out" => Some(0.0),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::served::{Said, Try, Voice};

    fn tried(expert: &str, role: &str, error: Option<&str>) -> Try {
        Try {
            expert: ExpertId::new(expert),
            role: role.to_owned(),
            error: error.map(str::to_owned),
            rejected_as: None,
        }
    }

    fn of(served: &Served) -> Vec<(String, f32)> {
        let judged = of_experts(served).into_iter();
        judged
            .map(|(expert, success)| (expert.to_string(), success))
            .collect()
    }

    #[test]
    fn who_failed_is_judged_whether_or_not_another_answered() {
        let down = tried("down", "answer", Some("failed"));
        let fallen_back = Served {
            tries: vec![down.clone(), tried("up", "answer", None)],
            ..Served::example("up")
        };
        assert_eq!(of(&fallen_back), [("down".into(), 0.0), ("up".into(), 1.0)]);
        let nobody = Served {
            tries: vec![down, tried("late", "answer", Some("timed_out"))],
            answered_by: None,
            ending: "timed_out".into(),
            ..Served::example("down")
        };
        assert_eq!(of(&nobody), [("down".into(), 0.0), ("late".into(), 0.0)]);
        // A failure that is nobody's fault, and a judge's, say nothing.
        let blameless = Served {
            tries: vec![
                tried("busy", "answer", Some("busy")),
                tried("judge", "judge", Some("failed")),
                tried("up", "answer", None),
            ],
            ..Served::example("up")
        };
        assert_eq!(of(&blameless), [("up".into(), 1.0)]);
    }

    #[test]
    fn a_score_counts_before_the_ending() {
        let score = |score| Said {
            by: Voice::default(),
            score: Some(score),
            expert: None,
        };
        let scored = Served {
            said: vec![score(1.0), score(0.25)],
            ..Served::example("a")
        };
        assert_eq!(of(&scored), [("a".into(), 0.25)]);
        for (ending, success) in [
            ("completed", vec![("a".to_owned(), 1.0)]),
            ("expert_failed", vec![("a".to_owned(), 0.0)]),
            ("client_left", Vec::new()),
            ("shutdown", Vec::new()),
        ] {
            let served = Served {
                ending: ending.to_owned(),
                ..Served::example("a")
            };
            assert_eq!(of(&served), success, "{ending}");
        }
    }

    #[test]
    fn an_answer_that_was_at_hand_tells_nothing_of_the_expert_now() {
        let mut served = Served {
            tries: vec![tried("a", "cache", None)],
            ..Served::example("a")
        };
        assert_eq!(of(&served), []);
        served.said = vec![Said {
            by: Voice::default(),
            score: Some(0.5),
            expert: None,
        }];
        assert_eq!(of(&served), [("a".into(), 0.5)]);
    }
}
