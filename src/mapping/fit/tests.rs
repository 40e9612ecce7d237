//! The whole fit, on pools whose truth is known.

mod limits;
mod missing;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{
    report::{Basis, Verdict},
    *,
};
use crate::{
    ids::{CategoryId, ExpertId},
    mapping::{
        evaluate,
        fit::{models::Model, outcomes::tests::outcomes},
        quality::worth,
    },
};

/// Rows of categories, in each of which experts are right with these probabilities.
fn rows(truth: &[(&str, &[(&str, f64)])], rows_each: usize, seed: u64) -> Vec<String> {
    let mut draw = SmallRng::seed_from_u64(seed);
    let mut lines = Vec::new();
    for (category, experts) in truth {
        for row in 0..rows_each {
            // Hard questions are hard for everyone.
            let luck: f64 = draw.random();
            let score = |(name, right): &(&str, f64)| {
                let own: f64 = draw.random();
                format!(r#""{name}": {}"#, u8::from((luck + own) / 2.0 < *right))
            };
            let scores: Vec<String> = experts.iter().map(score).collect();
            lines.push(format!(
                r#"{{"id": "{category}/{row}", "prompt": "{category} {row}", "category": "{category}", "scores": {{{}}}}}"#,
                scores.join(", ")
            ));
        }
    }
    lines
}

/// Sizes that experts' names end with.
fn models(names: &[&str]) -> Models {
    let model = |name: &&str| {
        let params_b = name.rsplit('-').next().and_then(|size| size.parse().ok());
        (
            ExpertId::new(*name),
            Model {
                params_b,
                usd_in: params_b,
                usd_out: params_b,
            },
        )
    };
    names.iter().map(model).collect()
}

/// `math` belongs to the small expert, `art` to the large one, and `chat` to either.
const DIVIDED: [(&str, &[(&str, f64)]); 3] = [
    ("art", &[("small-7", 0.3), ("large-70", 0.9)]),
    ("chat", &[("small-7", 0.6), ("large-70", 0.6)]),
    ("math", &[("small-7", 0.7), ("large-70", 0.4)]),
];

fn divided(options: &Options) -> Result<Report, FitError> {
    fit(
        &outcomes(&rows(&DIVIDED, 150, 1)),
        &models(&["small-7", "large-70"]),
        options,
    )
}

fn expert(report: &Report, category: &str) -> String {
    report
        .mapping
        .expert(&CategoryId::new(category))
        .to_string()
}

#[test]
fn each_category_gets_its_expert_where_the_rows_show_it() {
    let report = divided(&Options::default()).unwrap();
    assert_eq!(expert(&report, "art"), "large-70");
    assert_eq!(expert(&report, "math"), "small-7");
    assert_eq!(
        report.figures.verdict,
        Verdict::Better,
        "{}",
        report.in_words()
    );
    assert!(
        report.figures.gain_ci95.unwrap()[0] > 0.0
            && report.in_words().starts_with("composing pays: +")
    );
    let [low, high] = report.figures.score_ci95.unwrap();
    assert!(low < report.figures.score && report.figures.score < high);
    assert!(report.baselines.oracle.score > report.figures.score);
    assert!(report.baselines.random.score < report.baselines.best_single.score);
    assert_eq!(report.figures.resident_b, Some(77.0));
    assert_eq!((report.rows, report.missing.len()), (450, 0));
}

#[test]
fn the_same_rows_give_the_same_report_in_any_order() {
    let lines = rows(&DIVIDED, 60, 2);
    let mut turned = lines.clone();
    turned.reverse();
    let models = models(&["small-7", "large-70"]);
    let told = |lines: &[String]| {
        let report = fit(&outcomes(lines), &models, &Options::default()).unwrap();
        (
            report.mapping.clone(),
            format!(
                "{:.9} {:.9}",
                report.figures.score,
                report.figures.gain_ci95.unwrap()[0]
            ),
        )
    };
    assert_eq!(told(&lines), told(&lines));
    assert_eq!(told(&lines), told(&turned));
}

#[test]
fn a_pool_in_which_one_expert_wins_everything_is_said_not_to_pay() {
    for seed in 0..5 {
        let truth: [(&str, &[(&str, f64)]); 3] = [
            ("art", &[("small-7", 0.4), ("large-70", 0.6)]),
            ("chat", &[("small-7", 0.5), ("large-70", 0.7)]),
            ("math", &[("small-7", 0.3), ("large-70", 0.5)]),
        ];
        let report = fit(
            &outcomes(&rows(&truth, 100, seed)),
            &models(&["small-7", "large-70"]),
            &Options::default(),
        )
        .unwrap();
        for category in ["art", "chat", "math"] {
            assert_eq!(expert(&report, category), "large-70");
        }
        assert_eq!(report.mapping.default.expert.as_str(), "large-70");
        assert_eq!(report.figures.verdict, Verdict::DoesNotPay);
        assert!(
            report.in_words().contains("does not pay"),
            "{}",
            report.in_words()
        );
        assert!(report.figures.gain_over_best_single.abs() < 1e-12);
    }
}

#[test]
fn small_cells_do_not_leave_the_best_expert_by_chance() {
    // Ten experts that are equally good everywhere, ten rows a category: the best of each cell is luck.
    let names: Vec<String> = (0..10).map(|e| format!("e{e}-7")).collect();
    let experts: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 0.5)).collect();
    let categories: Vec<String> = (0..12).map(|c| format!("c{c}")).collect();
    let truth: Vec<(&str, &[(&str, f64)])> = categories
        .iter()
        .map(|c| (c.as_str(), experts.as_slice()))
        .collect();
    let mut promised = 0.0;
    for seed in 0..10 {
        let lines = rows(&truth, 10, seed);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let report = fit(&outcomes(&lines), &models(&names), &Options::default()).unwrap();
        let expected: f64 = report
            .categories
            .values()
            .map(|category| category.expected - category.expected_best_single)
            .sum();
        promised += expected / 12.0 / 10.0;
        assert_ne!(
            report.figures.verdict,
            Verdict::Better,
            "seed {seed}: {}",
            report.in_words()
        );
    }
    assert!(
        promised < 0.02,
        "the best raw means would promise about 0.2 more: {promised}"
    );
}

#[test]
fn budgets_are_kept_and_the_frontier_rises_to_the_best_mapping() {
    let free = divided(&Options::default()).unwrap();
    let limits = Limits {
        active_b: Some(20.0),
        ..Limits::default()
    };
    let bound = divided(&Options {
        limits,
        ..Options::default()
    })
    .unwrap();
    assert!(bound.figures.active_b.unwrap() <= 20.0);
    assert!(bound.score_fitted < free.score_fitted);
    let fitted: Vec<f64> = free
        .frontier
        .iter()
        .map(|point| point.score_fitted)
        .collect();
    assert!(fitted.len() > 1 && fitted.is_sorted(), "{fitted:?}");
    assert!((fitted.last().unwrap() - free.score_fitted).abs() < 1e-9);
    let sizes: Vec<f64> = free
        .frontier
        .iter()
        .filter_map(|point| point.active_b)
        .collect();
    assert!(
        sizes.is_sorted() && (sizes[0] - 7.0).abs() < 1e-9,
        "{sizes:?}"
    );
    assert!(!free.frontier_usd.is_empty() && free.usd_is_estimated);
}

#[test]
fn of_one_row_nothing_is_held_back_and_resamples_that_draw_nothing_leave_an_interval() {
    let line = r#"{"id": "1", "prompt": "a", "category": "c", "scores": {"x-7": 1, "y-7": 0}}"#;
    let (rows, models) = (outcomes(&[line.to_owned()]), models(&["x-7", "y-7"]));
    let report = fit(&rows, &models, &Options::default()).unwrap();
    let figures = &report.figures;
    assert_eq!(
        (figures.basis, figures.verdict),
        (Basis::FittedOn, Verdict::NotJudged)
    );
    assert_eq!((figures.score_ci95, figures.gain_ci95), (None, None));
    assert!(report.frontier.is_empty() && !report.table().contains("confidence"));
    let judged = evaluate::evaluate(
        report.mapping.clone(),
        None,
        &rows,
        (&models, Weights::Traffic),
    );
    let judged = judged.unwrap();
    for interval in [judged.score_ci95, judged.gain_ci95] {
        assert!(
            interval.iter().all(|bound| bound.is_finite()),
            "{interval:?}"
        );
    }
}

#[test]
fn weights_decide_what_counts() {
    let mut lines = rows(&DIVIDED[..1], 400, 3);
    lines.extend(rows(&DIVIDED[2..], 50, 4));
    let of = |weights| {
        let options = Options {
            weights,
            ..Options::default()
        };
        fit(
            &outcomes(&lines),
            &models(&["small-7", "large-70"]),
            &options,
        )
        .unwrap()
    };
    let (traffic, equal) = (of(Weights::Traffic), of(Weights::Equal));
    assert!((traffic.figures.active_b.unwrap() - (400.0 * 70.0 + 50.0 * 7.0) / 450.0).abs() < 1e-9);
    assert!((equal.figures.active_b.unwrap() - 38.5).abs() < 1e-9);
    assert!((equal.categories[&CategoryId::new("art")].weight - 0.5).abs() < 1e-12);
}

#[test]
fn out_of_domain_rows_choose_the_default_expert() {
    let truth: [(&str, &[(&str, f64)]); 2] = [DIVIDED[0], ("out_of_domain", DIVIDED[2].1)];
    let report = fit(
        &outcomes(&rows(&truth, 150, 5)),
        &models(&["small-7", "large-70"]),
        &Options::default(),
    )
    .unwrap();
    assert_eq!(report.mapping.default.expert.as_str(), "small-7");
    assert_eq!(report.mapping.categories.len(), 1);
}

#[test]
fn a_mapping_is_judged_on_other_rows_as_it_stands() {
    let mapping = divided(&Options::default()).unwrap().mapping;
    let held = outcomes(&rows(&DIVIDED, 100, 6));
    let models = models(&["small-7", "large-70"]);
    let evaluation =
        evaluate::evaluate(mapping.clone(), None, &held, (&models, Weights::Traffic)).unwrap();
    let mean = |of: &dyn Fn(usize) -> usize| {
        (0..held.rows())
            .map(|row| held.score(row, of(row)).unwrap())
            .sum::<f64>()
            / held.rows() as f64
    };
    let seat = |row: usize| {
        let expert = mapping.expert(&held.categories()[held.category(row)]);
        held.experts()
            .iter()
            .position(|known| known == expert)
            .unwrap()
    };
    assert!((evaluation.score - mean(&seat)).abs() < 1e-9);
    let oracle: f64 = (0..held.rows())
        .map(|row| held.score(row, 0).unwrap().max(held.score(row, 1).unwrap()))
        .sum();
    assert!((evaluation.baselines.oracle.score - oracle / 300.0).abs() < 1e-9);
    assert!(
        (evaluation.baselines.random.score - f64::midpoint(mean(&|_| 0), mean(&|_| 1))).abs()
            < 1e-9
    );
    assert!((evaluation.baselines.best_single.score - mean(&|_| 0).max(mean(&|_| 1))).abs() < 1e-9);
    assert!(evaluation.gain_ci95[0] < evaluation.gain_over_best_single);
    assert!(evaluation.table().contains("best single"));

    let elsewhere = outcomes(&rows(&[("art", &[("small-7", 0.5)])], 10, 7));
    let unknown =
        evaluate::evaluate(mapping, None, &elsewhere, (&models, Weights::Traffic)).unwrap_err();
    assert!(
        unknown
            .to_string()
            .contains("`large-70`, which answers `art`"),
        "{unknown}"
    );
}

#[test]
fn whoever_may_answer_stands_by_unless_the_set_of_experts_is_limited() {
    let truth: [(&str, &[(&str, f64)]); 2] = [
        (
            "art",
            &[
                ("a-1", 0.9),
                ("b-2", 0.5),
                ("c-3", 0.3),
                ("d-4", 0.2),
                ("e-5", 0.1),
            ],
        ),
        (
            "math",
            &[
                ("a-1", 0.9),
                ("b-2", 0.5),
                ("c-3", 0.3),
                ("d-4", 0.2),
                ("e-5", 0.1),
            ],
        ),
    ];
    let fitted = |experts: Option<usize>| {
        let options = Options {
            rules: Rules {
                forbidden: vec![(CategoryId::new("art"), ExpertId::new("b-2"))],
                ..Rules::default()
            },
            limits: Limits {
                experts,
                ..Limits::default()
            },
            ..Options::default()
        };
        let models = models(&["a-1", "b-2", "c-3", "d-4", "e-5"]);
        fit(&outcomes(&rows(&truth, 150, 9)), &models, &options)
            .unwrap()
            .mapping
    };
    let yaml = fitted(None).yaml(&[]);
    assert_eq!(
        yaml,
        "default: { expert: a-1, fallbacks: [b-2, c-3, d-4] }\n\
         art: { expert: a-1, fallbacks: [c-3, d-4, e-5] }\n\
         math: { expert: a-1, fallbacks: [b-2, c-3, d-4] }\n"
    );
    let yaml = fitted(Some(1)).yaml(&[]);
    assert!(
        yaml.starts_with("default: a-1\nart: { expert: a-1, fallbacks: [] }\n"),
        "{yaml}"
    );
}

/// The colour of choices question by question.
const ORANGE: &str = "#E69F00";

#[test]
fn frontiers_are_drawn() {
    let report = divided(&Options::default()).unwrap();
    let active = plots::active(&report).unwrap().unwrap();
    assert!(
        active.contains("<svg")
            && active.contains("best single")
            && active.contains("billions of active parameters")
    );
    let usd = plots::usd(&report).unwrap().unwrap();
    for drawn in [
        "dollars a question",
        "best single: ",
        "cheapest: ",
        "random",
        "oracle",
    ] {
        assert!(usd.contains(drawn), "{drawn}");
    }
    assert!(!active.contains(ORANGE) && !active.contains("hindsight"));
    let mut report = report;
    let (sized, lines) = (models(&["small-7", "large-70"]), rows(&DIVIDED, 150, 1));
    let fitted = worth::fit(&outcomes(&lines), &sized, &Options::default(), &|| ()).unwrap();
    report.per_question = Some(fitted.worth);
    let active = plots::active(&report).unwrap().unwrap();
    assert!(active.contains(ORANGE) && active.contains("question by question, λ with hindsight"));
    let unsized_ = fit(
        &outcomes(&rows(&DIVIDED, 40, 1)),
        &Models::new(),
        &Options::default(),
    )
    .unwrap();
    assert_eq!(unsized_.figures.active_b, None);
    assert!(plots::active(&unsized_).unwrap().is_none());
}
