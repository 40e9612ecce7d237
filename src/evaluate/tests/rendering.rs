//! The table, the JSON and the pictures.

use super::*;

#[test]
fn the_json_has_its_fixed_keys() {
    insta::assert_json_snapshot!(evaluate(&seven()));
}

#[test]
fn the_table_says_it_all_in_a_screen() {
    insta::assert_snapshot!(evaluate(&seven()).table(), @r"
    router                0123456789ab
    rows                  7
    accuracy              0.571   3 classes
    macro F1              0.556
    in-domain accuracy    0.800
    out-of-domain AUROC   0.850
    calibration error     0.321   15 bins of equally many rows
    coverage              0.714   routed to a category; 0.800 of the in-domain rows
    misrouted             0.400   at most 0.811 with 95 % confidence
    time of a decision    p50 40 µs, p99 70 µs

    category                rows  precision  recall      F1
    coding                     3      0.667   0.667   0.667
    legal                      2      0.500   0.500   0.500
    out_of_domain              2      0.500   0.500   0.500

    label, taken for     codin legal out_o
    coding                   2     1     ·
    legal                    ·     1     1
    out_of_domain            1     ·     1

    coverage  threshold  misrouted    at most
       0.143      0.950      0.000      0.950
       0.286      0.900      0.000      0.776
       0.429      0.800      0.000      0.632
       0.571      0.700      0.250      0.751
       0.714      0.600      0.400      0.811
       0.857      0.400      0.333      0.729
       1.000      0.080      0.429      0.775

    tier                   share  accuracy
    cheap                  0.571     0.750
    full                   0.429     0.333

    the most confident mistakes
    0.700 coding taken for legal (row-2)
           a question about coding
           because of word “claim”, word “party”
    0.600 out_of_domain taken for coding (row-6)
           a question about out_of_domain
    0.500 legal taken for out_of_domain, but refused (row-4)
           a question about legal
    ");
}

#[test]
fn of_many_classes_only_the_worst_are_shown() {
    let rows: Vec<_> = (0..60)
        .map(|at| {
            let label = format!("intent-{at:02}");
            let predicted = if at % 10 == 3 {
                "intent-00"
            } else {
                label.as_str()
            };
            judged(&label, &[(predicted, 0.9)], true)
        })
        .collect();
    let table = evaluate(&rows).table();
    assert!(table.contains("the worst categories"), "{table}");
    assert!(table.contains("intent-43             intent-00"), "{table}");
    assert!(!table.contains("intent-59"), "{table}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
}

#[test]
fn what_comes_from_files_cannot_steer_the_terminal() {
    let mut row = judged("a\u{1b}[2J", &[("b\r", 0.9)], true);
    row.text = format!("one\ntwo\u{7}{}", "x".repeat(500));
    row.id = Some("\u{1b}]0;title".into());
    row.features = vec!["\u{1b}c".into()];
    let table = evaluate(&[row]).table();
    assert!(
        !table.contains(|c: char| c.is_control() && c != '\n'),
        "{table:?}"
    );
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
}

#[test]
fn pictures_are_well_formed_and_show_their_curves() {
    let e = evaluate(&seven());
    let reliability = plots::reliability(&e).unwrap();
    let risk = plots::risk_coverage(&e).unwrap();
    let elements = well_formed(&reliability);
    assert!(elements.iter().filter(|name| *name == "circle").count() >= e.reliability.len());
    assert!(elements.iter().filter(|name| *name == "rect").count() >= 20);
    let elements = well_formed(&risk);
    assert!(elements.iter().filter(|name| *name == "circle").count() > e.risk_coverage.len());
    for (picture, words) in [
        (
            &reliability,
            [
                "expected calibration error 0.",
                "share that is right",
                "share of rows",
            ],
        ),
        (
            &risk,
            [
                "Risk and coverage",
                "at most, with 95 % confidence",
                "threshold",
            ],
        ),
    ] {
        assert!(picture.contains("<polyline"), "{picture}");
        for word in words {
            assert!(picture.contains(word), "{word}: {picture}");
        }
    }
}

#[test]
fn pictures_of_one_row_and_of_nothing_routed_are_drawn_too() {
    for row in [judged("a", &[("a", 1.0)], true), judged("a", &[], false)] {
        let e = evaluate(&[row]);
        well_formed(&plots::reliability(&e).unwrap());
        well_formed(&plots::risk_coverage(&e).unwrap());
    }
}

/// The names of the elements of an XML document; every one is closed, and no text holds a bare `<` or `&`.
fn well_formed(xml: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some((text, after)) = rest.split_once('<') {
        assert!(!text.contains('&') || text.contains(';'), "{text}");
        let (tag, after) = after.split_once('>').expect("a tag ends");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag
            .split(|c: char| c.is_whitespace() || c == '/')
            .next()
            .unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(closed.trim()), "{tag}");
        } else if !tag.starts_with(['?', '!']) {
            names.push(name.to_owned());
            if !tag.ends_with('/') {
                open.push(name.to_owned());
            }
        }
        rest = after;
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(rest.trim().is_empty(), "{rest}");
    names
}
