//! Figures against small cases that can be counted by hand.

mod rendering;

use proptest::prelude::*;

use super::*;

/// A row: label, scores likeliest first, whether it is routed.
fn judged(label: &str, scores: &[(&str, f32)], routed: bool) -> Judged {
    let scores: Vec<Score> = scores
        .iter()
        .map(|(category, probability)| Score {
            category: CategoryId::new(*category),
            probability: *probability,
        })
        .collect();
    Judged {
        id: None,
        label: CategoryId::new(label),
        out_of_domain: 1.0 - scores.first().map_or(0.0, |score| score.probability),
        scores,
        routed,
        tier: None,
        took_us: None,
        text: format!("a question about {label}"),
        features: Vec::new(),
    }
}

fn evaluate(rows: &[Judged]) -> Evaluation {
    Evaluation::of(rows, RouterId::new("0123456789ab")).unwrap()
}

/// Seven rows of three classes; five of them are routed, three of those well.
fn seven() -> Vec<Judged> {
    let mut rows = vec![
        judged(
            "coding",
            &[("coding", 0.9), ("legal", 0.06), (OUT_OF_DOMAIN, 0.04)],
            true,
        ),
        judged(
            "coding",
            &[("coding", 0.8), ("legal", 0.1), (OUT_OF_DOMAIN, 0.1)],
            true,
        ),
        judged(
            "coding",
            &[("legal", 0.7), ("coding", 0.2), (OUT_OF_DOMAIN, 0.1)],
            true,
        ),
        judged(
            "legal",
            &[("legal", 0.95), ("coding", 0.03), (OUT_OF_DOMAIN, 0.02)],
            true,
        ),
        judged(
            "legal",
            &[(OUT_OF_DOMAIN, 0.5), ("legal", 0.4), ("coding", 0.1)],
            false,
        ),
        judged(
            OUT_OF_DOMAIN,
            &[(OUT_OF_DOMAIN, 0.9), ("coding", 0.08), ("legal", 0.02)],
            false,
        ),
        judged(
            OUT_OF_DOMAIN,
            &[("coding", 0.6), (OUT_OF_DOMAIN, 0.3), ("legal", 0.1)],
            true,
        ),
    ];
    let strangeness = [0.1, 0.2, 0.3, 0.05, 0.6, 0.9, 0.3];
    let tiers = ["cheap", "cheap", "full", "cheap", "full", "full", "cheap"];
    for (at, row) in rows.iter_mut().enumerate() {
        row.id = Some(format!("row-{at}"));
        row.out_of_domain = strangeness[at];
        row.tier = Some(Tier::new(tiers[at]));
        row.took_us = Some(10 * (at as u64 + 1));
    }
    rows[2].features = vec!["word “claim”".into(), "word “party”".into()];
    rows
}

#[track_caller]
fn near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-6, "{value}, not {expected}");
}

#[test]
fn accuracy_takes_out_of_domain_for_a_class_and_the_in_domain_one_leaves_it_out() {
    let e = evaluate(&seven());
    near(e.accuracy, 4.0 / 7.0);
    // Among the categories alone, row 4 is right.
    near(e.in_domain_accuracy.unwrap(), 4.0 / 5.0);
}

#[test]
fn each_class_has_its_figures_and_macro_f1_is_their_mean() {
    let e = evaluate(&seven());
    let figures = |class: &str| e.per_category[class];
    near(figures("coding").precision, 2.0 / 3.0);
    near(figures("coding").recall, 2.0 / 3.0);
    near(figures("legal").precision, 1.0 / 2.0);
    near(figures("legal").recall, 1.0 / 2.0);
    near(figures(OUT_OF_DOMAIN).precision, 1.0 / 2.0);
    near(e.macro_f1, (2.0 / 3.0 + 0.5 + 0.5) / 3.0);
    assert_eq!(figures("coding").rows, 3);
}

#[test]
fn what_is_routed_is_misrouted_unless_its_category_is_right() {
    let e = evaluate(&seven());
    near(e.coverage, 5.0 / 7.0);
    near(e.in_domain_coverage.unwrap(), 4.0 / 5.0);
    // Row 2 is legal's by mistake, row 6 belongs to nobody.
    near(e.misrouted.unwrap(), 2.0 / 5.0);
    near(e.misroute_upper95, misroute_upper(2, 5, 0.95));
}

#[test]
fn a_router_that_ignores_its_own_out_of_domain_class_is_judged_by_where_questions_go() {
    let rows = [judged(
        "legal",
        &[(OUT_OF_DOMAIN, 0.6), ("legal", 0.4)],
        true,
    )];
    let e = evaluate(&rows);
    near(e.accuracy, 0.0);
    near(e.misrouted.unwrap(), 0.0);
}

#[test]
fn strangers_are_ranked_against_all_others_and_ties_count_half() {
    // 0.9 is above all five, 0.3 above three, below one and level with one.
    near(evaluate(&seven()).ood_auroc.unwrap(), (5.0 + 3.5) / 10.0);
    let mut level = seven();
    level.iter_mut().for_each(|row| row.out_of_domain = 0.5);
    near(evaluate(&level).ood_auroc.unwrap(), 0.5);
}

#[test]
fn without_both_kinds_of_rows_there_is_no_ranking() {
    let (strange, known): (Vec<_>, Vec<_>) =
        seven().into_iter().partition(|row| !row.is_in_domain());
    assert_eq!(evaluate(&known).ood_auroc, None);
    assert_eq!(evaluate(&strange).ood_auroc, None);
    assert_eq!(evaluate(&strange).in_domain_accuracy, None);
}

#[test]
fn every_row_is_a_bin_of_its_own_where_rows_are_few() {
    let e = evaluate(&seven());
    assert_eq!(e.reliability.len(), 6, "two rows are equally confident");
    let gaps = 0.5 + 0.6 + 0.7 + 0.2 + 2.0 * 0.1 + 0.05;
    near(e.ece, gaps / 7.0);
}

#[test]
fn a_router_that_is_right_as_often_as_it_says_has_no_calibration_error() {
    let row = |at: usize, of: usize, confidence: f32| {
        let label = if at < of { "coding" } else { "legal" };
        judged(
            label,
            &[("coding", confidence), ("legal", 1.0 - confidence)],
            true,
        )
    };
    let honest: Vec<_> = (0..300)
        .map(|at| row(at % 10, 8, 0.8))
        .chain((0..300).map(|at| row(at % 10, 6, 0.6)))
        .collect();
    near(evaluate(&honest).ece, 0.0);
    let boastful: Vec<_> = (0..300).map(|at| row(at % 10, 7, 0.95)).collect();
    near(evaluate(&boastful).ece, 0.25);
}

#[test]
fn bins_hold_equally_many_rows() {
    let rows: Vec<_> = (0..150)
        .map(|at| judged("a", &[("a", 0.5 + at as f32 / 400.0)], true))
        .collect();
    let e = evaluate(&rows);
    let sizes: Vec<usize> = e.reliability.iter().map(|bin| bin.rows).collect();
    assert_eq!(sizes, [10; 15]);
    assert_eq!(e.confidence_histogram.iter().sum::<usize>(), 150);
}

#[test]
fn one_row_is_enough() {
    let e = evaluate(&[judged("coding", &[("coding", 0.8), ("legal", 0.2)], true)]);
    near(e.accuracy, 1.0);
    near(e.macro_f1, 1.0);
    near(e.ece, 0.2);
    assert_eq!(e.risk_coverage.len(), 1);
    assert!(e.mistakes.is_empty());
    assert_eq!(e.latency_us, None);
}

#[test]
fn no_rows_are_no_evaluation() {
    assert_eq!(Evaluation::of(&[], RouterId::new("r")).unwrap_err(), NoRows);
}

#[test]
fn a_class_without_rows_or_without_predictions_counts_as_nothing_recognised() {
    let e = evaluate(&[
        judged("a", &[("a", 0.9)], true),
        judged("b", &[("c", 0.9)], true),
    ]);
    for class in ["b", "c"] {
        near(e.per_category[class].precision, 0.0);
        near(e.per_category[class].recall, 0.0);
        near(e.per_category[class].f1, 0.0);
    }
    assert_eq!(e.per_category["c"].rows, 0);
    near(e.macro_f1, 1.0 / 3.0);
}

#[test]
fn an_empty_question_is_out_of_domain() {
    let rows = [judged(OUT_OF_DOMAIN, &[], false), judged("a", &[], false)];
    let e = evaluate(&rows);
    near(e.accuracy, 0.5);
    assert_eq!(e.misrouted, None);
    near(e.misroute_upper95, 1.0);
    near(e.in_domain_accuracy.unwrap(), 0.0);
}

#[test]
fn the_curve_goes_from_the_surest_row_to_all_of_them() {
    let e = evaluate(&seven());
    let curve: Vec<(f64, f64)> = e
        .risk_coverage
        .iter()
        .map(|point| (point.coverage * 7.0, point.misrouted))
        .collect();
    // Confidence of the likeliest category: 0.95, 0.9, 0.8, 0.7 wrong, 0.6 wrong, 0.4, 0.08 wrong.
    let expected = [0.0, 0.0, 0.0, 1.0 / 4.0, 2.0 / 5.0, 2.0 / 6.0, 3.0 / 7.0];
    assert_eq!(curve.len(), expected.len());
    for (at, (routed, misrouted)) in curve.into_iter().enumerate() {
        near(routed, at as f64 + 1.0);
        near(misrouted, expected[at]);
    }
}

#[test]
fn tiers_share_the_rows() {
    let e = evaluate(&seven());
    let cheap = e.tiers[&Tier::new("cheap")];
    near(cheap.share, 4.0 / 7.0);
    near(cheap.accuracy, 3.0 / 4.0);
    near(e.tiers[&Tier::new("full")].accuracy, 1.0 / 3.0);
}

#[test]
fn latencies_are_values_that_were_measured() {
    let mut rows = vec![judged("a", &[("a", 0.9)], true); 200];
    for (at, row) in rows.iter_mut().enumerate() {
        row.took_us = (at % 2 == 0).then_some(at as u64 / 2 + 1);
    }
    let latency = evaluate(&rows).latency_us.unwrap();
    assert_eq!((latency.p50, latency.p99), (50, 99));
}

#[test]
fn mistakes_come_surest_first_and_are_no_more_than_a_person_reads() {
    let rows: Vec<_> = (0..100)
        .map(|at| judged("a", &[("b", 0.5 + (at * 37 % 100) as f32 / 200.0)], true))
        .collect();
    let mistakes = evaluate(&rows).mistakes;
    assert_eq!(mistakes.len(), 20);
    assert!(mistakes.is_sorted_by(|a, b| a.confidence >= b.confidence));
    assert!((mistakes[0].confidence - 0.995).abs() < 1e-6);
}

/// AUROC as it is defined: every pair counted.
fn auroc_by_pairs(rows: &[Judged]) -> Option<f64> {
    let (strange, known): (Vec<_>, Vec<_>) = rows.iter().partition(|row| !row.is_in_domain());
    let pairs = strange.iter().flat_map(|s| {
        known
            .iter()
            .map(|k| s.out_of_domain.total_cmp(&k.out_of_domain))
    });
    let won: Vec<f64> = pairs
        .map(|order| match order {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })
        .collect();
    (!won.is_empty()).then(|| won.iter().sum::<f64>() / won.len() as f64)
}

fn any_rows() -> impl Strategy<Value = Vec<Judged>> {
    let row = (0..3_usize, 0..3_usize, 0..8_u8, any::<bool>());
    prop::collection::vec(row, 1..200).prop_map(|rows| {
        let classes = ["a", "b", OUT_OF_DOMAIN];
        rows.into_iter()
            .map(|(label, predicted, eighths, routed)| {
                let confidence = 0.5 + f32::from(eighths) / 16.0;
                let other = classes[(predicted + 1) % 3];
                let scores = [(classes[predicted], confidence), (other, 1.0 - confidence)];
                judged(classes[label], &scores, routed)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn the_ranking_is_the_share_of_pairs_in_order(rows in any_rows()) {
        let (fast, slow) = (evaluate(&rows).ood_auroc, auroc_by_pairs(&rows));
        prop_assert_eq!(fast.is_some(), slow.is_some());
        prop_assert!((fast.unwrap_or(0.0) - slow.unwrap_or(0.0)).abs() < 1e-9);
    }

    #[test]
    fn every_row_is_counted_once_and_order_does_not_matter(rows in any_rows()) {
        let e = evaluate(&rows);
        prop_assert_eq!(e.reliability.iter().map(|bin| bin.rows).sum::<usize>(), rows.len());
        prop_assert!(e.reliability.len() <= e.ece_bins.count);
        prop_assert_eq!(e.per_category.values().map(|c| c.rows).sum::<usize>(), rows.len());
        prop_assert!(e.risk_coverage.len() <= 50);
        prop_assert!((e.risk_coverage.last().unwrap().coverage - 1.0).abs() < 1e-12);
        let mut reversed = rows;
        reversed.reverse();
        let other = evaluate(&reversed);
        prop_assert!((e.ece - other.ece).abs() < 1e-9);
        prop_assert_eq!(e.risk_coverage, other.risk_coverage);
    }
}
