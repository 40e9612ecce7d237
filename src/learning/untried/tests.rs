use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::*;
use crate::{
    config::{
        Assignment, BreakerConfig, Capability, ExpertConfig, ExpertKind, MappingConfig, Prefer,
        Preference, Prefill, Retries, Timeouts,
    },
    learning::served::{Said, Voice},
    mapping::{Explore, Mapping, Predicted, Quality, Question, explore::Policy},
};

fn id(expert: &str) -> ExpertId {
    ExpertId::new(expert)
}

fn experts() -> Vec<ExpertId> {
    ["a", "b", "c"].map(ExpertId::new).to_vec()
}

fn expert_config(id: &ExpertId) -> ExpertConfig {
    let second = Duration::from_secs(1);
    ExpertConfig {
        id: id.clone(),
        kind: ExpertKind::Local {
            model_file: "model.gguf".into(),
        },
        params_b: None,
        usd_in: None,
        usd_out: None,
        context_tokens: None,
        capabilities: vec![Capability::Chat],
        concurrent_max: None,
        queue_max: 1,
        timeouts: Timeouts {
            connect: second,
            first_token: second,
            idle: second,
            total: second,
        },
        retries: Retries::default(),
        breaker: BreakerConfig::default(),
        prefill: Prefill::None,
    }
}

/// Coding goes to one, all else to `a`.
fn mapping(coding: &str) -> Mapping {
    mapping_by(coding, None)
}

fn mapping_by(coding: &str, quality: Option<Arc<dyn Quality>>) -> Mapping {
    let assignment = Assignment {
        expert: id(coding),
        fallbacks: vec![id("c")],
    };
    let config = MappingConfig {
        default: id("a"),
        default_fallbacks: Vec::new(),
        categories: vec![(CategoryId::new("coding"), assignment)],
        usd_per_question_max: None,
        usd_per_day_max: None,
        prefer: Prefer::Word(Preference::Balanced),
        prefer_allowed: Vec::new(),
        quality: None,
        cascades: Vec::new(),
        explore: None,
    };
    let configs: Vec<_> = experts().iter().map(expert_config).collect();
    Mapping::new(config, &configs, quality)
}

/// Outcomes of a mapping that sends all to `a` and tries others out; `b` is right in 8 of 10, the others in 4.
fn log(share: f64, questions: usize, seed: u64) -> Vec<Served> {
    let explore = Explore::new(share, Policy::Uniform).unwrap();
    let mut random = SmallRng::seed_from_u64(seed);
    let (own, b, c) = (id("a"), id("b"), id("c"));
    (0..questions)
        .map(|at| {
            let drawn = explore.draw(&own, &[&b, &c], |_| None, random.random());
            let right = if drawn.expert == b { 0.8 } else { 0.4 };
            let is_right: bool = random.random_bool(right);
            let fallbacks = if drawn.explored {
                vec![own.clone()]
            } else {
                Vec::new()
            };
            Served {
                outcome_id: at.to_string(),
                fallbacks,
                propensity: Some(drawn.propensity),
                explored: drawn.explored,
                others: vec![b.clone(), c.clone()],
                said: vec![Said {
                    by: Voice::default(),
                    score: Some(f64::from(u8::from(is_right))),
                    expert: None,
                }],
                ..Served::example(drawn.expert.as_str())
            }
        })
        .collect()
}

fn seen(served: &[Served], mapping: &Mapping) -> Hindsight {
    let experts = experts();
    let target = Target {
        mapping,
        router: None,
        categories: &[],
        experts: &experts,
    };
    hindsight(served, &target, Implicit::Counts)
}

#[test]
fn a_mapping_that_never_served_is_estimated() {
    let served = log(0.3, 3_000, 1);
    let found = seen(&served, &mapping("b"));
    assert!(found.can_tell, "{:?}", found.warnings);
    assert!(found.unchanged < f64::EPSILON);
    for estimate in [
        found.target.doubly_robust,
        found.target.self_normalised,
        found.target.inverse_propensity,
    ] {
        let estimate = estimate.unwrap();
        assert!(estimate.low < 0.8 && 0.8 < estimate.high, "{estimate:?}");
    }
    // 7 of 10 go to `a`, 3 of 20 to each of the others.
    let known = 0.85 * 0.4 + 0.15 * 0.8;
    let on_policy = found.served.unwrap();
    assert!(on_policy.low < known && known < on_policy.high);
    let own = seen(&served, &mapping("a"));
    assert!((own.unchanged - 1.0).abs() < f64::EPSILON);
    assert!(own.target.best().unwrap().high < 0.5);
}

#[test]
fn a_log_without_exploration_cannot_tell_of_others() {
    let mut served = log(0.0, 500, 2);
    for outcome in &mut served {
        outcome.others.clear();
    }
    let found = seen(&served, &mapping("b"));
    assert!(!found.can_tell);
    assert!(
        found
            .warnings
            .iter()
            .any(|it| it.contains("mapping.explore"))
    );
    assert!((found.target.unsupported - 1.0).abs() < 1e-9);
    let own = seen(&served, &mapping("a"));
    assert!(own.can_tell && own.target.best().unwrap().high < 0.5);
}

#[test]
fn what_says_nothing_of_the_choice_is_left_out() {
    let mut served = log(0.3, 400, 3);
    served[0].category = None;
    served[1].has_cascade = true;
    served[2].propensity = Some(1.0);
    served[3].said.clear();
    served[3].ending = "shutdown".into();
    let found = seen(&served, &mapping("b"));
    let expected = LeftOut {
        expert_named: 1,
        cascade: 1,
        certain: 1,
        ..LeftOut::default()
    };
    assert_eq!((found.left_out, found.questions), (expected, 397));
    assert_eq!((found.target.rows, found.target.left_out), (396, 1));
}

#[test]
fn who_could_not_have_been_asked_leaves_the_place_to_the_next() {
    let mut served = log(1.0, 50, 4);
    for outcome in &mut served {
        outcome.others = vec![id("c")];
        outcome.expert = id("c");
        outcome.propensity = Some(0.5);
        outcome.passed_over = vec![id("b")];
    }
    let found = seen(&served, &mapping("b"));
    assert!(found.target.unsupported < f64::EPSILON, "`c` is next");
    assert!((found.target.weight_mean - 2.0).abs() < 1e-9);
}

#[test]
fn of_whom_the_log_has_never_heard_it_tells_nothing_though_another_would_stand_in() {
    let mut served = log(1.0, 50, 4);
    for outcome in &mut served {
        outcome.others = vec![id("c")];
        outcome.expert = id("c");
        outcome.propensity = Some(0.5);
    }
    let found = seen(&served, &mapping("b"));
    assert!((found.target.unsupported - 1.0).abs() < 1e-9, "{found:?}");
    assert!(!found.can_tell && !found.warnings.is_empty());
}

#[test]
fn another_router_is_asked_what_it_would_have_acted_on() {
    let served = log(0.5, 2_000, 5);
    let mapping = mapping("b");
    let experts = experts();
    let mut categories = vec![Some(None); served.len()];
    categories[0] = None;
    let target = Target {
        mapping: &mapping,
        router: Some(RouterId::new("r2")),
        categories: &categories,
        experts: &experts,
    };
    let found = hindsight(&served, &target, Implicit::Counts);
    assert_eq!(found.left_out.unread, 1);
    let best = found.target.best().unwrap();
    assert!(best.high < 0.5, "the default is `a`: {best:?}");
}

#[test]
fn with_implicit_signals_left_out_scores_alone_count() {
    let mut served = log(0.3, 200, 6);
    for outcome in &mut served[..50] {
        outcome.said.clear();
        outcome.ending = "timed_out".into();
    }
    let experts = experts();
    let mapping = mapping("b");
    let target = Target {
        mapping: &mapping,
        router: None,
        categories: &[],
        experts: &experts,
    };
    let rows = |implicit| hindsight(&served, &target, implicit).target.rows;
    assert_eq!(
        (rows(Implicit::Counts), rows(Implicit::LeftOut)),
        (200, 150)
    );
}

/// Says the same of every question.
#[derive(Debug)]
struct Fixed(Vec<(&'static str, f64)>);

impl Quality for Fixed {
    fn predict(&self, _question: &Question<'_>) -> Vec<Predicted> {
        let predicted = self.0.iter().map(|&(expert, score)| Predicted {
            expert: id(expert),
            score,
            value: score,
        });
        predicted.collect()
    }
}

#[test]
fn of_the_predicted_the_best_who_could_be_asked_goes_first() {
    let mut served = log(1.0, 50, 4);
    for outcome in &mut served {
        outcome.others = vec![id("c")];
        outcome.expert = id("c");
        outcome.propensity = Some(0.5);
        outcome.passed_over = vec![id("b")];
    }
    let quality = Arc::new(Fixed(vec![("a", 0.1), ("b", 0.9), ("c", 0.5)]));
    let found = seen(&served, &mapping_by("a", Some(quality)));
    assert!(found.target.unsupported < f64::EPSILON);
    assert!(
        (found.target.weight_mean - 2.0).abs() < 1e-9,
        "`b` could not be asked, and `c` is the next of the predicted"
    );
}

#[test]
fn what_a_quality_model_cannot_read_is_left_out() {
    let mut served = log(0.3, 400, 3);
    served[0].question = None;
    served[1].question = Some(String::new());
    let quality = Arc::new(Fixed(vec![("b", 0.9)]));
    let found = seen(&served, &mapping_by("a", Some(quality)));
    assert_eq!((found.left_out.unread, found.questions), (2, 398));
    let found = seen(&served, &mapping("a"));
    assert_eq!(
        found.left_out.unread, 0,
        "no mapping without one reads texts"
    );
}

#[test]
fn rewards_that_one_expert_gets_more_often_are_doubted() {
    let mut served = log(0.5, 3_000, 8);
    let mut left = 0;
    for outcome in &mut served {
        if outcome.expert == id("b") && left % 4 != 0 {
            outcome.said.clear();
            outcome.ending = "shutdown".into();
        }
        left += usize::from(outcome.expert == id("b"));
    }
    let found = seen(&served, &mapping("b"));
    assert!(!found.can_tell);
    assert!(
        found
            .warnings
            .iter()
            .any(|it| it.contains("rewards are known")),
        "{:?}",
        found.warnings
    );
    assert!(
        !found.warnings.iter().any(|it| it.contains("propensities")),
        "which are true: {:?}",
        found.warnings
    );
}
