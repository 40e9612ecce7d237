use super::*;
use crate::decision::Score;

fn side(reason: &str, scores: &[(&str, f32)], took_us: u64) -> Side {
    Side {
        scores: scores
            .iter()
            .map(|(category, probability)| Score {
                category: CategoryId::new(*category),
                probability: *probability,
            })
            .collect(),
        reason: reason.into(),
        strangeness: Some(0.5),
        took_us,
    }
}

fn row(number: usize, real: Side, shadow: Side) -> Compared {
    Compared {
        outcome_id: number.to_string(),
        session: None,
        router: RouterId::new("old"),
        real,
        shadow,
    }
}

const CODING: [(&str, f32); 2] = [("coding", 0.75), ("legal", 0.25)];
const LEGAL: [(&str, f32); 2] = [("legal", 0.75), ("coding", 0.25)];

fn summed_up(rows: &[Compared]) -> Comparison {
    let mut tally = Tally::default();
    for row in rows {
        tally.add(row);
    }
    tally.sum_up((3, RouterId::new("new")), false, None)
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} {b}");
}

#[test]
fn what_both_say_is_counted() {
    let comparison = summed_up(&[
        row(1, side("routed", &CODING, 10), side("routed", &CODING, 1)),
        row(
            2,
            side("unsure", &CODING, 20),
            side("out_of_domain", &LEGAL, 2),
        ),
        row(3, side("routed", &CODING, 30), side("routed", &LEGAL, 3)),
        row(4, side("routed", &LEGAL, 40), side("unsure", &LEGAL, 4)),
        row(5, side("routed", &CODING, 50), side("routed", &LEGAL, 5)),
        row(6, side("stayed", &CODING, 60), side("routed", &LEGAL, 6)),
    ]);
    assert_eq!((comparison.outcomes, comparison.stayed), (6, 1));
    let agreement = comparison.agreement.unwrap();
    near(agreement.share, 0.4);
    assert!(agreement.interval.low < 0.2 && agreement.interval.high > 0.6);
    let routed = comparison.routed.unwrap();
    near(routed.real, 0.8);
    near(routed.shadow, 0.6);
    near(comparison.refused.unwrap().shadow, 0.4);
    assert_eq!(
        comparison.p50_us,
        Some(Pair {
            real: 30.0,
            shadow: 3.0
        })
    );
    let told: Vec<_> = comparison
        .disagreements
        .iter()
        .map(|it| (it.from.as_str(), it.to.as_str(), it.count))
        .collect();
    assert_eq!(told, [("coding", "legal", 2), ("legal", OUT_OF_DOMAIN, 1)]);
    let markdown = comparison.markdown();
    for words in [
        "| coding | legal | 2 |",
        "40.0 %",
        "Nobody said",
        "| median time | 30 µs | 3 µs |",
    ] {
        assert!(markdown.contains(words), "{words}:\n{markdown}");
    }
}

#[test]
fn nothing_is_no_division_by_nothing() {
    let comparison = summed_up(&[]);
    assert_eq!(comparison.agreement, None);
    assert_eq!(comparison.p50_us, None);
    assert!(comparison.markdown().contains("0 outcomes"));
}

#[test]
fn the_interval_is_wilsons() {
    // Of the example in Newcombe, Statistics in Medicine 1998: 81 of 263.
    let interval = wilson(81.0 / 263.0, 263);
    assert!((interval.low - 0.2553).abs() < 5e-5, "{interval:?}");
    assert!((interval.high - 0.3662).abs() < 5e-5, "{interval:?}");
    let all = wilson(1.0, 10);
    near(all.high, 1.0);
    assert!(all.low > 0.7);
}

#[test]
fn conversations_are_the_witnesses() {
    let of_one = |number| Compared {
        session: Some("one".into()),
        ..row(
            number,
            side("routed", &CODING, 1),
            side("routed", &CODING, 1),
        )
    };
    let comparison = summed_up(&(0..100).map(of_one).collect::<Vec<_>>());
    assert_eq!(comparison.conversations, 1);
    assert!(comparison.agreement.unwrap().interval.low < 0.3);
}

#[test]
fn the_gate_goes_by_the_scores_of_both() {
    let compared = row(1, side("routed", &CODING, 1), side("unsure", &LEGAL, 1));
    let label = CategoryId::new("coding");
    let gate_row = |row: &Compared, new: &BTreeSet<CategoryId>| gate_row(row, (&label, 7), new);
    let of_known = gate_row(&compared, &BTreeSet::new()).unwrap();
    let likeliest = compared.shadow.scores[0].category.clone();
    let of_new = gate_row(&compared, &BTreeSet::from([likeliest])).unwrap();
    assert!(!of_known.is_taken && of_new.is_taken);
    let gate_row = |row: &Compared| gate_row(row, &BTreeSet::new());
    let of_both = gate_row(&compared).unwrap();
    assert!(of_both.champion.is_right && !of_both.challenger.is_right);
    near(of_both.champion.brier, 0.125);
    near(of_both.challenger.brier, 1.125);
    let empty = row(1, side("empty", &[], 1), side("routed", &CODING, 1));
    assert!(gate_row(&empty).is_none());
    let stayed = row(1, side("stayed", &CODING, 1), side("routed", &CODING, 1));
    assert!(gate_row(&stayed).is_none());
}
