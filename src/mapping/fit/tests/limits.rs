//! What a mapping must keep to, and what is said where it cannot.

use super::*;
use crate::mapping::quality::prefer::{CostUnit, Costs};

fn ids(category: &str, expert: &str) -> (CategoryId, ExpertId) {
    (CategoryId::new(category), ExpertId::new(expert))
}

fn pins(pins: &[(&str, &str)]) -> Rules {
    let pins = pins.iter().map(|(category, expert)| ids(category, expert));
    Rules {
        pins: pins.collect(),
        ..Rules::default()
    }
}

#[test]
fn rules_hold() {
    let ruled = |rules| {
        divided(&Options {
            rules,
            ..Options::default()
        })
        .unwrap()
    };
    assert_eq!(
        expert(&ruled(pins(&[("math", "large-70")])), "math"),
        "large-70"
    );
    let forbidden = Rules {
        forbidden: vec![ids("art", "large-70")],
        ..Rules::default()
    };
    assert_eq!(expert(&ruled(forbidden), "art"), "small-7");
    let good = Rules {
        scores_min: vec![(CategoryId::new("math"), 0.6)],
        ..pins(&[("art", "large-70")])
    };
    assert_eq!(expert(&ruled(good), "math"), "small-7");
}

#[test]
fn what_cannot_hold_is_named_with_the_least_that_can() {
    let refused = |rules: Rules, limits: Limits| {
        divided(&Options {
            rules,
            limits,
            ..Options::default()
        })
        .unwrap_err()
        .to_string()
    };
    let pinned = || pins(&[("math", "large-70")]);
    let active = Limits {
        active_b: Some(20.0),
        ..Limits::default()
    };
    let told = refused(pinned(), active);
    assert!(
        told.contains("20 billion active parameters are too few")
            && told.ends_with("the least is 28"),
        "{told}"
    );
    let resident = Limits {
        resident_b: Some(60.0),
        ..Limits::default()
    };
    let told = refused(pinned(), resident);
    assert!(
        told.contains("60 billion resident parameters") && told.ends_with("the least is 70"),
        "{told}"
    );
    let experts = Limits {
        experts: Some(1),
        ..Limits::default()
    };
    let told = refused(pins(&[("math", "large-70"), ("art", "small-7")]), experts);
    assert!(
        told.contains("1 experts are too few") && told.contains("at least 2"),
        "{told}"
    );
    let high = Rules {
        scores_min: vec![(CategoryId::new("art"), 0.99)],
        ..Rules::default()
    };
    let told = refused(high, Limits::default());
    assert!(
        told.contains("`art` cannot reach a score of 0.99: the most"),
        "{told}"
    );
    let told = refused(pins(&[("cooking", "large-70")]), Limits::default());
    assert!(
        told.contains("no row is of category `cooking`; there are art, chat, math"),
        "{told}"
    );
    let told = refused(pins(&[("art", "huge")]), Limits::default());
    assert!(told.contains("no row has a score of `huge`"), "{told}");
}

/// Experts that are right in so many of ten rows, by category.
fn tenths(rows_each: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (category, small, large) in [("art", 5, 7), ("chat", 6, 7), ("math", 6, 9)] {
        for row in 0..rows_each {
            let score = |right: usize, turn: usize| u8::from((row * turn) % 10 < right);
            lines.push(format!(
                r#"{{"id": "{category}/{row}", "prompt": "{category} {row}", "category": "{category}", "scores": {{"small-7": {}, "large-70": {}}}}}"#,
                score(small, 1),
                score(large, 3)
            ));
        }
    }
    lines
}

#[test]
fn a_least_score_is_refused_only_where_all_rows_speak_against_it() {
    let outcomes = outcomes(&tenths(150));
    let fitted = |least: f64, budget: f64| {
        let options = Options {
            limits: Limits {
                active_b: Some(budget),
                ..Limits::default()
            },
            rules: Rules {
                scores_min: vec![(CategoryId::new("math"), least)],
                ..Rules::default()
            },
            ..Options::default()
        };
        fit(&outcomes, &models(&["small-7", "large-70"]), &options)
    };
    // The small expert is expected to score that much, though not by every resample of the rows.
    for least in [0.5, 0.55, 0.58, 0.59] {
        let report = fitted(least, 25.0).unwrap();
        let math = &report.categories[&CategoryId::new("math")];
        assert!(math.expected >= least && report.figures.active_b.unwrap() <= 25.0);
        assert!(
            report.figures.score.is_finite() && report.figures.score_ci95.unwrap()[0].is_finite()
        );
    }
    let told = fitted(0.7, 25.0).unwrap_err().to_string();
    assert!(told.ends_with("the least is 28"), "{told}");
    assert_eq!(
        fitted(0.7, 28.0).unwrap().categories[&CategoryId::new("math")]
            .expert
            .as_str(),
        "large-70"
    );
    let told = fitted(0.7, 6.0).unwrap_err().to_string();
    assert!(told.ends_with("the least is 28"), "{told}");
}

#[test]
fn a_price_of_cost_buys_a_cheaper_mapping_and_leaves_the_frontier_alone() {
    let priced = |lambda: f64| {
        let price = Price {
            lambda,
            costs: Costs {
                unit: CostUnit::ParamsB,
                // In the order of their names.
                of: vec![70.0, 7.0],
            },
        };
        divided(&Options {
            price: Some(price),
            ..Options::default()
        })
        .unwrap()
    };
    let (free, cheap) = (priced(0.0), priced(0.02));
    assert_eq!(expert(&free, "art"), "large-70");
    assert_eq!(expert(&cheap, "art"), "small-7");
    assert!((cheap.figures.active_b.unwrap() - 7.0).abs() < 1e-9);
    assert!(
        cheap.figures.score < free.figures.score,
        "judged as it is fitted"
    );
    let most = cheap.frontier.last().unwrap().score_fitted;
    assert!(
        most > cheap.score_fitted,
        "what budgets buy is shown as well"
    );
}
