//! Scores that are missing, and who was tried on easy rows alone.

use super::{
    super::written::{Answering, Written},
    *,
};

#[test]
fn scores_that_are_missing_do_not_make_an_expert_look_good() {
    // The lucky expert was tried on easy questions alone, on which everyone is right.
    let mut lines = Vec::new();
    for row in 0..200 {
        let easy = row % 2 == 0;
        let lucky = if easy { r#", "lucky-7": 1"# } else { "" };
        let steady = u8::from(easy || row % 4 == 1);
        lines.push(format!(
            r#"{{"id": "{row}", "prompt": "{row}", "category": "c{}", "scores": {{"steady-7": {steady}, "other-7": {}{lucky}}}}}"#,
            row % 3,
            u8::from(easy),
        ));
    }
    let report = fit(
        &outcomes(&lines),
        &models(&["steady-7", "other-7", "lucky-7"]),
        &Options::default(),
    )
    .unwrap();
    assert_eq!(
        report
            .baselines
            .best_single
            .expert
            .as_ref()
            .unwrap()
            .as_str(),
        "steady-7"
    );
    assert_eq!(report.missing[&ExpertId::new("lucky-7")], 100);
    assert!(
        report
            .table()
            .contains("lucky-7 was not tried on 100 of 200 rows"),
        "{}",
        report.table()
    );
}

/// Rows of which every second is easy; `lucky-7` was tried on those alone, and is somewhat worse than `steady-70` there.
fn easy_alone(others: &[(&str, f64)], rows: usize) -> Outcomes {
    let mut draw = SmallRng::seed_from_u64(1);
    let mut lines = Vec::new();
    for row in 0..rows {
        let easy = row % 2 == 0;
        let right = if easy { 0.95 } else { 0.2 };
        let mut score = |name: &str, less: f64| {
            let is_right = draw.random::<f64>() < right - less;
            format!(r#""{name}": {}"#, u8::from(is_right))
        };
        let mut scores = vec![score("steady-70", 0.0)];
        scores.extend(others.iter().map(|(name, less)| score(name, *less)));
        if easy {
            scores.push(score("lucky-7", 0.1));
        }
        lines.push(format!(
            r#"{{"id": "{row}", "prompt": "{row}", "category": "c{}", "scores": {{{}}}}}"#,
            row % 3,
            scores.join(", ")
        ));
    }
    outcomes(&lines)
}

#[test]
fn an_expert_without_any_score_neither_answers_nor_stands_by() {
    let row = |row: usize| {
        let (big, mid) = (
            u8::from(!row.is_multiple_of(10)),
            u8::from(row.is_multiple_of(2)),
        );
        format!(
            r#"{{"id": "{row}", "prompt": "{row}", "category": "c{}", "scores": {{"a-1": null, "big-70": {big}, "mid-7": {mid}}}}}"#,
            row % 3
        )
    };
    let rows = outcomes(&(0..300).map(row).collect::<Vec<_>>());
    for limits in [
        Limits::default(),
        Limits {
            active_b: Some(10.0),
            ..Limits::default()
        },
        Limits {
            resident_b: Some(10.0),
            ..Limits::default()
        },
    ] {
        let options = Options {
            limits,
            ..Options::default()
        };
        let report = fit(&rows, &models(&["a-1", "big-70", "mid-7"]), &options).unwrap();
        assert!(report.figures.score.is_finite() && report.unscored == 0.0);
        let yaml = report.mapping.yaml(&[]);
        assert!(!yaml.contains("a-1"), "{yaml}");
    }
}

#[test]
fn of_two_experts_the_one_that_was_tried_on_easy_rows_alone_is_not_the_better() {
    let (rows, models) = (easy_alone(&[], 900), models(&["steady-70", "lucky-7"]));
    let report = fit(&rows, &models, &Options::default()).unwrap();
    for category in ["c0", "c1", "c2"] {
        assert_eq!(expert(&report, category), "steady-70", "{}", report.table());
    }
    let judged = evaluate::evaluate(report.mapping, None, &rows, (&models, Weights::Traffic));
    let judged = judged.unwrap();
    let single = judged.baselines.best_single.expert.as_ref().unwrap();
    assert_eq!(single.as_str(), "steady-70");
    assert_eq!(judged.missing[&ExpertId::new("lucky-7")], 450);
    let told = judged.table();
    assert!(
        told.contains("lucky-7 was not tried on 450 of 900 rows"),
        "{told}"
    );
}

#[test]
fn no_mapping_scores_above_the_oracle_though_scores_are_missing() {
    let others = [("other-30", 0.1), ("third-20", 0.12)];
    let names = ["steady-70", "other-30", "third-20", "lucky-7"];
    let (rows, models) = (easy_alone(&others, 900), models(&names));
    let report = fit(&rows, &models, &Options::default()).unwrap();
    let all_lucky = Written {
        default: Answering {
            expert: ExpertId::new("lucky-7"),
            fallbacks: Vec::new(),
        },
        categories: Vec::new(),
        second_stage: None,
    };
    let judge =
        |mapping| evaluate::evaluate(mapping, None, &rows, (&models, Weights::Traffic)).unwrap();
    let (fitted, lucky) = (judge(report.mapping.clone()), judge(all_lucky));
    let oracle = fitted.baselines.oracle.score;
    for score in [
        report.figures.score,
        report.score_fitted,
        fitted.score,
        lucky.score,
    ] {
        assert!(score <= oracle, "{score} {oracle}");
    }
    assert!(
        lucky.score < fitted.score,
        "{} {}",
        lucky.score,
        fitted.score
    );
    assert!(
        (lucky.score - 0.475).abs() < 0.06,
        "as if it had been tried on all rows: {}",
        lucky.score
    );
}
