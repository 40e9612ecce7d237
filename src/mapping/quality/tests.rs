//! A pool in which the small expert does what is easy, and what is learnt from it.

use super::{
    Quality, QualityModel, Question,
    worth::{self, PerQuestion},
};
use crate::{
    config::{Prefer, Preference},
    ids::{CategoryId, ExpertId},
    mapping::fit::{
        self, Options, Rules,
        models::{Model, Models},
        outcomes::{Outcomes, tests::outcomes},
        report::Verdict,
        solve::Limits,
        written::SecondStage,
    },
};

const ROWS: usize = 240;

/// Sums of few numbers are easy, sums of many are hard; the small expert fails the hard ones, the large one a few.
fn sums() -> Outcomes {
    scored(|row| {
        let is_hard = row % 3 == 0;
        [u8::from(!is_hard || row % 24 == 0), u8::from(row % 20 != 1)]
    })
}

fn scored(scores: impl Fn(usize) -> [u8; 2]) -> Outcomes {
    let line = |row: usize| {
        let [small, large] = scores(row);
        format!(
            r#"{{"id": "{row}", "prompt": "{}", "category": "sums", "scores": {{"large": {large}, "small": {small}}}}}"#,
            prompt(row)
        )
    };
    outcomes(&(0..ROWS).map(line).collect::<Vec<_>>())
}

/// Sums that are the harder the more numbers they have: the small expert fails more and more of them, the large one few, and
/// the easiest ones as often as it.
fn graded() -> Outcomes {
    let luck = |row: usize| row * 7_919 % 1_000;
    let line = |row: usize| {
        let level = row % 8;
        let small = u8::from(luck(row) < 1_000 - 120 * level);
        let large = u8::from(luck(row + 500) < 950);
        format!(
            r#"{{"id": "{row}", "prompt": "{}", "category": "sums", "scores": {{"large": {large}, "small": {small}}}}}"#,
            sum(row, 2 + 2 * level)
        )
    };
    outcomes(&(0..ROWS).map(line).collect::<Vec<_>>())
}

fn prompt(row: usize) -> String {
    sum(row, if row.is_multiple_of(3) { 14 } else { 2 })
}

fn sum(row: usize, count: usize) -> String {
    let numbers: Vec<String> = (0..count)
        .map(|at| (row * 7 + at * 13).to_string())
        .collect();
    format!("What is {}?", numbers.join(" + "))
}

fn models() -> Models {
    let model = |params_b| Model {
        params_b: Some(params_b),
        ..Model::default()
    };
    Models::from([
        (ExpertId::new("large"), model(70.0)),
        (ExpertId::new("small"), model(7.0)),
    ])
}

fn fit(outcomes: &Outcomes, options: &Options) -> PerQuestion {
    worth::fit(outcomes, &models(), options, &|| ()).unwrap()
}

/// Whom a model prefers, and what it predicts of the small expert.
fn asked(model: &QualityModel, text: &str, prefer: Prefer) -> (String, f64) {
    let category = CategoryId::new("sums");
    let predicted = Quality::predict(
        model,
        &Question {
            text,
            category: Some(&category),
            prefer,
        },
    );
    let best = predicted
        .iter()
        .max_by(|a, b| a.value.total_cmp(&b.value))
        .unwrap();
    let small = predicted
        .iter()
        .find(|predicted| predicted.expert.as_str() == "small");
    (
        best.expert.to_string(),
        small.map_or(f64::NAN, |small| small.score),
    )
}

#[test]
fn what_is_easy_goes_to_the_small_expert_and_what_is_hard_to_the_large_one() {
    let PerQuestion { worth, model, .. } = fit(&sums(), &Options::default());
    assert!(worth.pays, "{}", worth.table());
    let balanced = Prefer::Word(Preference::Balanced);
    let (easy, hard) = (
        asked(&model, "What is 17 + 4?", balanced),
        asked(&model, &prompt(3 * 999), balanced),
    );
    assert_eq!((easy.0.as_str(), hard.0.as_str()), ("small", "large"));
    assert!(easy.1 > 0.8 && hard.1 < 0.4, "{easy:?} {hard:?}");
    let dear = Prefer::CostWeight(1.0);
    assert_eq!(asked(&model, &prompt(3 * 999), dear).0, "small");
    let pair = worth.pair.unwrap();
    assert_eq!(
        (pair.strong.as_str(), pair.weak.as_str()),
        ("large", "small")
    );
    assert!(pair.apgr > 0.7, "{}", pair.table());
}

#[test]
fn a_budget_is_kept_to_and_buys_more_than_by_category() {
    for budget_b in [15.0, 25.0, 40.0, 50.0] {
        let options = Options {
            limits: Limits {
                active_b: Some(budget_b),
                ..Limits::default()
            },
            ..Options::default()
        };
        let PerQuestion { worth, .. } = fit(&sums(), &options);
        let [aim] = worth.aims.as_slice() else {
            panic!("one budget is one aim: {:?}", worth.aims);
        };
        assert!(worth.pays, "{budget_b}: {}", worth.table());
        assert_eq!(worth.prefer, Prefer::CostWeight(aim.lambda));
        let active_b = aim.per_question.active_b.unwrap();
        assert!(active_b <= budget_b, "{budget_b}: {}", worth.table());
        assert!(aim.gain > 0.05, "{budget_b}: {}", worth.table());
    }
}

#[test]
fn where_texts_tell_nothing_it_does_not_pay() {
    // Who is right has nothing to do with the text.
    let noise = |row: usize, factor: usize| u8::from((row * row * factor + row / 7) % 11 < 6);
    let outcomes = scored(|row| [noise(row, 3), noise(row, 5)]);
    let PerQuestion { worth, .. } = fit(&outcomes, &Options::default());
    assert!(!worth.pays, "{}", worth.table());
}

#[test]
fn where_it_does_not_pay_categories_keep_to_what_was_preferred() {
    let noise = |row: usize, factor: usize| u8::from((row * row * factor + row / 7) % 11 < 6);
    let outcomes = scored(|row| [noise(row, 3), noise(row, 5)]);
    let preferring = |word| {
        let prefer = Some(word);
        fit(
            &outcomes,
            &Options {
                prefer,
                ..Options::default()
            },
        )
    };
    let PerQuestion { worth, price, .. } = preferring(Preference::Economy);
    assert!(!worth.pays, "{}", worth.table());
    let told = worth.in_words();
    assert!(
        told.contains("goes by categories alone, still at `economy`: "),
        "{told}"
    );
    let active_b = |price| {
        let options = Options {
            price,
            ..Options::default()
        };
        let report = fit::fit(&outcomes, &models(), &options).unwrap();
        report.figures.active_b.unwrap()
    };
    assert!(active_b(price.clone()) <= active_b(None));
    assert!((price.unwrap().lambda - worth.aims[0].lambda).abs() < 1e-12);
    assert!(preferring(Preference::Quality).price.is_none());
}

#[test]
fn a_word_that_gives_up_score_is_judged_by_what_it_saves() {
    for word in [
        Preference::Quality,
        Preference::Balanced,
        Preference::Economy,
    ] {
        let options = Options {
            prefer: Some(word),
            ..Options::default()
        };
        let PerQuestion { worth, figures, .. } = fit(&graded(), &options);
        let figures = figures.unwrap();
        assert!(
            worth.pays || word == Preference::Quality,
            "{}",
            worth.table()
        );
        assert_eq!(figures.less_cost.is_some(), word != Preference::Quality);
        let mut report = fit::fit(&graded(), &models(), &options).unwrap();
        let stage = SecondStage {
            quality: "q".to_owned(),
            prefer: worth.prefer,
        };
        report.choose_per_question(stage, figures);
        let told = report.in_words();
        let pays_in_what_it_costs = report.figures.verdict == Verdict::WorthItsCost;
        assert_eq!(pays_in_what_it_costs, word != Preference::Quality, "{told}");
        assert_eq!(
            told.starts_with("composing pays in what it costs: "),
            pays_in_what_it_costs,
            "{told}"
        );
    }
}

#[test]
fn who_may_not_answer_a_category_is_not_predicted() {
    let options = Options {
        rules: Rules {
            forbidden: vec![(CategoryId::new("sums"), ExpertId::new("large"))],
            ..Rules::default()
        },
        ..Options::default()
    };
    let PerQuestion { model, .. } = fit(&sums(), &options);
    let quality = Prefer::Word(Preference::Quality);
    assert_eq!(asked(&model, &prompt(3 * 999), quality).0, "small");
}

#[test]
fn equal_fits_give_equal_files_that_hold_the_model_and_tell_damage() {
    let model = fit(&sums(), &Options::default()).model;
    let bytes = model.to_bytes().unwrap();
    let again = QualityModel::from_bytes(&bytes).unwrap();
    assert!(again == model, "what is read is what was written");
    assert_eq!(again.to_bytes().unwrap(), bytes);
    let refitted = fit(&sums(), &Options::default()).model;
    assert_eq!(
        refitted.to_bytes().unwrap(),
        bytes,
        "the same rows and seed"
    );
    let mut damaged = bytes.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let error = QualityModel::from_bytes(&damaged).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    assert!(QualityModel::from_bytes(&bytes[..bytes.len() / 2]).is_err());
    assert!(QualityModel::from_bytes(b"").is_err());
}

#[test]
fn scores_on_any_scale_are_predicted_from_0_to_1() {
    let lines: Vec<String> = (0..60)
        .map(|row| {
            let small = if row % 3 == 0 { 2.0 } else { 9.0 };
            format!(
                r#"{{"id": "{row}", "prompt": "{}", "category": "sums", "scores": {{"large": 9.5, "small": {small}}}}}"#,
                prompt(row)
            )
        })
        .collect();
    let PerQuestion { worth, model, .. } = fit(&outcomes(&lines), &Options::default());
    assert!(
        worth
            .aims
            .iter()
            .all(|aim| (2.0..=9.5).contains(&aim.per_question.score))
    );
    let (_, score) = asked(&model, "What is 1 + 1?", Prefer::Word(Preference::Quality));
    assert!((0.7..=1.0).contains(&score), "{score}");
}

#[test]
fn of_a_category_without_scores_nothing_is_predicted() {
    let model = fit(&sums(), &Options::default()).model;
    let cooking = CategoryId::new("cooking");
    for category in [Some(&cooking), None] {
        let question = Question {
            text: "What is 17 + 4?",
            category,
            prefer: Prefer::Word(Preference::Balanced),
        };
        assert_eq!(Quality::predict(&model, &question), []);
    }
}
