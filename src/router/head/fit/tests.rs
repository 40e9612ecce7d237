use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::*;
use crate::router::head::Head;

const MILD: Penalty = Penalty {
    sparse: 1e-3,
    dense: 1e-3,
};

/// `per_class[c]` points around the c-th corner of a square, `spread` far from it at most.
fn corners(per_class: &[usize], spread: f32) -> (Rows, Vec<usize>) {
    let mut random = SmallRng::seed_from_u64(7);
    let corners = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]];
    let mut points = Vec::new();
    let mut labels = Vec::new();
    for (class, count) in per_class.iter().enumerate() {
        for _ in 0..*count {
            points.extend(corners[class].map(|at: f32| at + random.random_range(-spread..spread)));
            labels.push(class);
        }
    }
    let dense = Array2::from_shape_vec((labels.len(), 2), points).unwrap();
    (Rows::new(&[], 0, dense), labels)
}

fn fitted(rows: &Rows, labels: &[usize], classes: usize) -> Head {
    let targets = Targets::balanced(labels.to_vec(), classes, 0.0);
    Head::new(&fit(rows, &targets, MILD, None).unwrap().parameters)
}

fn plain(penalties: &[Penalty]) -> Regularisation<'_> {
    Regularisation {
        penalties,
        prior: None,
    }
}

fn likeliest(logits: &[f32]) -> usize {
    (0..logits.len())
        .max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
        .unwrap()
}

#[test]
fn classes_that_can_be_separated_are_by_dense_and_by_sparse_features() {
    let (rows, labels) = corners(&[20; 4], 0.6);
    let head = fitted(&rows, &labels, 4);
    for (row, label) in labels.iter().enumerate() {
        let point = rows.dense(row).to_vec();
        assert_eq!(likeliest(&head.logits(&[], &point)), *label);
    }
    let sparse: Vec<_> = labels
        .iter()
        .map(|label| vec![(u32::try_from(*label).unwrap(), 1.0)])
        .collect();
    let rows = Rows::new(&sparse, 8, Array2::zeros((labels.len(), 0)));
    let head = fitted(&rows, &labels, 4);
    assert_eq!((head.classes(), head.dimensions()), (4, 0));
    assert!((0..4).all(|label| likeliest(&head.logits(&[(label, 1.0)], &[])) == label as usize));
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let (rows, labels) = corners(&[9, 14, 11, 6], 1.2);
    assert_eq!(fitted(&rows, &labels, 4), fitted(&rows, &labels, 4));
}

#[test]
fn a_small_class_is_not_drowned_by_a_large_one() {
    let (rows, labels) = corners(&[200, 8], 1.6);
    let lead = |targets: &Targets| {
        let head = Head::new(&fit(&rows, targets, MILD, None).unwrap().parameters);
        let halfway = head.logits(&[], &[1.0, 0.0]);
        halfway[0] - halfway[1]
    };
    let mut targets = Targets::balanced(labels, 2, 0.0);
    let balanced = lead(&targets);
    targets.weights.fill(1.0);
    let unbalanced = lead(&targets);
    assert!(balanced < unbalanced * 0.8, "{balanced} {unbalanced}");
}

#[test]
fn rows_held_back_tell_what_labels_that_mean_nothing_are_worth() {
    let (rows, _) = corners(&[60, 60], 1.0);
    let labels: Vec<usize> = (0..120).map(|row| row / 2 % 2).collect();
    let targets = Targets::balanced(labels.clone(), 2, 0.0);
    let folds = folds(&labels, &apart(&labels), &vec![false; labels.len()], 2);
    let held = held_back(&rows, &targets, &folds, plain(&[MILD]), &|| ()).unwrap();
    assert!(
        calibration::nll(held.logits.view(), &labels) > 0.66,
        "a coin has ln 2 = 0.693"
    );
}

#[test]
fn the_penalty_that_serves_rows_held_back_best_is_taken() {
    let (rows, labels) = corners(&[30; 4], 0.9);
    let targets = Targets::balanced(labels.clone(), 4, 0.0);
    let folds = folds(&labels, &apart(&labels), &vec![false; labels.len()], 4);
    let heavy = Penalty {
        sparse: 1.0,
        dense: 100.0,
    };
    let steps = AtomicUsize::new(0);
    let step = || {
        steps.fetch_add(1, Ordering::Relaxed);
    };
    let held = held_back(&rows, &targets, &folds, plain(&[heavy, MILD]), &step).unwrap();
    assert_eq!((held.penalty, steps.into_inner()), (MILD, FOLDS_MAX));
}

#[test]
fn under_a_teacher_penalties_are_compared_by_the_order_and_not_by_how_soft_the_logits_are() {
    let targets = Targets::balanced(vec![0, 1, 0, 1], 2, 0.0);
    let logits = |leads: [f32; 4]| {
        Array2::from_shape_fn((4, 2), |(row, class)| {
            let sign = if class == 0 { 0.5 } else { -0.5 };
            leads[row] * sign
        })
    };
    // Both are mistaken about the last; the second less, as far as it is ever sure, and as soft as its teacher.
    let held = Held {
        rows: vec![0, 1, 2, 3],
        logits: vec![
            logits([2.0, -2.0, 2.0, 0.2]),
            logits([0.2, -0.2, 0.2, 0.005]),
        ],
    };
    let held = [held];
    assert!(loss(&held, 0, &targets) < loss(&held, 1, &targets));
    let targets = Targets {
        is_softened: true,
        ..targets
    };
    assert!(loss(&held, 1, &targets) < loss(&held, 0, &targets));
}

/// Every row is a question of its own.
fn apart(labels: &[usize]) -> Vec<usize> {
    (0..labels.len()).collect()
}

#[test]
fn folds_share_every_class() {
    let folds_of = |labels: &[usize]| folds(labels, &apart(labels), &[false; 7], 2);
    assert_eq!(folds_of(&[0, 0, 0, 1, 1, 1, 1]), [0, 1, 2, 0, 1, 2, 3]);
    assert_eq!(
        folds_of(&[0, 1, 1]),
        [0, 0, 1],
        "one row does not keep others from being held back"
    );
    assert_eq!(folds_of(&[0, 1]), [0, 0], "nothing can be held back");
}

#[test]
fn rows_of_one_question_are_held_back_together() {
    let labels = [0, 0, 0, 0, 1, 1, 1, 1];
    let questions = [0, 1, 0, 2, 3, 0, 4, 4];
    assert_eq!(
        folds(&labels, &questions, &[false; 8], 2),
        [0, 1, 0, 2, 0, 0, 1, 1]
    );
}

#[test]
fn further_rows_are_dealt_last() {
    let labels = [0, 0, 0, 0, 0, 1, 1];
    let further = [true, true, true, false, false, false, false];
    // Two of each class are asked; the first further row is of a question that one of them asks.
    let questions = [3, 1, 2, 3, 4, 5, 6];
    assert_eq!(
        folds(&labels, &questions, &further, 2),
        [0, 0, 1, 0, 1, 0, 1]
    );
}

#[test]
fn rows_that_cannot_be_fitted_are_refused() {
    let rows = |values: [f32; 2]| {
        Rows::new(
            &[],
            0,
            Array2::from_shape_vec((2, 1), values.to_vec()).unwrap(),
        )
    };
    let refused = |rows: &Rows, labels: &[usize], classes| {
        let targets = Targets::balanced(labels.to_vec(), classes, 0.0);
        fit(rows, &targets, MILD, None).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&rows([1.0, 2.0]), &[0, 0], 1),
        "1 classes; at least two are needed"
    );
    assert_eq!(
        refused(&rows([1.0, 2.0]), &[0, 0], 2),
        "class 1 has no rows"
    );
    assert_eq!(
        refused(&rows([1.0, f32::NAN]), &[0, 1], 2),
        "row 1 has a feature that is not finite"
    );
}
