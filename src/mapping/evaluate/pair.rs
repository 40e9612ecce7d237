//! How well a mapping tells which questions need the strong one of two experts: the measures of `RouteLLM` (Ong et al.,
//! "`RouteLLM`: Learning to route LLMs with preference data", 2024). Pure.
//!
//! Questions are sent to the strong expert one after the other, in the order in which the mapping prefers it for them.
//! The performance gap recovered (PGR) at a share is how much of the difference between all weak and all strong that buys:
//! 0 at no question, 1 at all of them, and it may exceed 1 between, since the weak expert is sometimes right where the
//! strong one is wrong. Questions that the mapping does not tell apart go together, in the mean of all their orders.

use serde::Serialize;

use super::{
    super::{
        Quality,
        fit::{
            assess::{Estimate, deviation},
            folds,
            outcomes::Outcomes,
            written::Written,
        },
    },
    choices,
};
use crate::ids::ExpertId;

/// Points of the curve that are reported, from no question to all.
const CURVE_STEPS: usize = 100;

/// Resamples of the rows for the interval: with two hundred, a standard error is known to a twentieth.
const RESAMPLES: u64 = 200;

/// One question of a pair's evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairRow {
    /// How much the strong expert is preferred; only the order counts.
    pub preference: f64,
    /// What the strong expert scored.
    pub strong: f64,
    /// What the weak expert scored.
    pub weak: f64,
    /// How often the row counts.
    pub draws: u8,
}

impl PairRow {
    /// Makes the strong expert the weak one.
    pub(in crate::mapping) fn turn_round(&mut self) {
        (self.strong, self.weak) = (self.weak, self.strong);
        self.preference = -self.preference;
    }
}

/// What a mapping is worth between two experts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairReport {
    /// The expert that scores better.
    pub strong: ExpertId,
    /// The other one.
    pub weak: ExpertId,
    /// Questions on which both were tried.
    pub rows: usize,
    /// Mean score of the strong expert.
    pub strong_score: f64,
    /// Mean score of the weak expert.
    pub weak_score: f64,
    /// The mean of the performance gap recovered over all shares: 0.5 for a choice by chance.
    pub apgr: f64,
    /// What that lies between with 95 % confidence.
    pub apgr_ci95: [f64; 2],
    /// The least share of questions for the strong expert that recovers half of the gap.
    pub cpt50: f64,
    /// The least share that recovers four fifths of it.
    pub cpt80: f64,
    /// Score against share.
    pub curve: Vec<CurvePoint>,
}

/// What a share of questions for the strong expert buys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Share of the questions that go to the strong expert.
    pub strong_share: f64,
    /// Mean score.
    pub score: f64,
    /// Performance gap recovered.
    pub pgr: f64,
}

/// Why a pair cannot be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PairError {
    /// No question was answered by both.
    #[error("no row has scores of both `{strong}` and `{weak}`")]
    NoRows {
        /// The expert that was named as strong.
        strong: ExpertId,
        /// The other one.
        weak: ExpertId,
    },
    /// An expert that was named answered nothing.
    #[error("no row has a score of `{expert}`; scored are {}", known.join(", "))]
    UnknownExpert {
        /// The expert.
        expert: ExpertId,
        /// Who has scores.
        known: Vec<String>,
    },
    /// There is no gap to recover.
    #[error(
        "`{strong}` scores {strong_score:.4} and `{weak}` {weak_score:.4} on the rows that both answered: there is no gap to recover; name the better one first"
    )]
    NoGap {
        /// The expert that was named as strong.
        strong: ExpertId,
        /// The other one.
        weak: ExpertId,
        /// Mean score of the first.
        strong_score: f64,
        /// Mean score of the second.
        weak_score: f64,
    },
}

/// Evaluates a mapping between two experts, the better one first, on the rows that both answered.
///
/// With a quality model the strong expert is preferred by as much as it is predicted to score more. Without one it is
/// preferred in the categories that it answers, and the weak one in those that it answers.
///
/// # Errors
/// There are no such rows, or the strong expert does not score better than the weak one on them.
pub fn evaluate(
    mapping: &Written,
    quality: Option<&dyn Quality>,
    outcomes: &Outcomes,
    (strong, weak): (ExpertId, ExpertId),
) -> Result<PairReport, PairError> {
    let seat = |expert: &ExpertId| outcomes.experts().iter().position(|known| known == expert);
    if let Some(expert) = [&strong, &weak]
        .into_iter()
        .find(|expert| seat(expert).is_none())
    {
        return Err(PairError::UnknownExpert {
            expert: expert.clone(),
            known: outcomes.experts().iter().map(ToString::to_string).collect(),
        });
    }
    let scored = |row: usize| {
        let scores = seat(&strong).zip(seat(&weak));
        scores.and_then(|(s, w)| outcomes.score(row, s).zip(outcomes.score(row, w)))
    };
    let by_question = |row: usize| {
        let (quality, prefer) = (quality?, mapping.second_stage.as_ref()?.prefer);
        let predicted = choices::predict((quality, prefer), row, outcomes);
        let score = |expert: &ExpertId| Some(predicted.iter().find(|p| p.expert == *expert)?.score);
        Some(score(&strong)? - score(&weak)?)
    };
    let by_category = |row: usize| {
        let expert = mapping.expert(&outcomes.categories()[outcomes.category(row)]);
        f64::from(u8::from(*expert == strong)) - f64::from(u8::from(*expert == weak))
    };
    let at: Vec<usize> = (0..outcomes.rows())
        .filter(|row| scored(*row).is_some())
        .collect();
    let row = |row: &usize| {
        let (strong, weak) = scored(*row)?;
        Some(PairRow {
            preference: by_question(*row).unwrap_or_else(|| by_category(*row)),
            strong,
            weak,
            draws: 1,
        })
    };
    let rows: Vec<PairRow> = at.iter().filter_map(row).collect();
    let draw = |number| {
        let draws = folds::draws(outcomes, number);
        at.iter().map(|row| draws[*row]).collect()
    };
    report((strong.clone(), weak.clone()), &rows, draw)
}

/// Evaluates preferences, whoever has them. `draw` says how often each row is drawn in the resample of a number.
///
/// # Errors
/// There are no rows, or the strong expert does not score better than the weak one.
pub fn report(
    (strong, weak): (ExpertId, ExpertId),
    rows: &[PairRow],
    draw: impl Fn(u64) -> Vec<u8>,
) -> Result<PairReport, PairError> {
    if rows.is_empty() {
        return Err(PairError::NoRows { strong, weak });
    }
    let count = rows.len() as f64;
    let strong_score = rows.iter().map(|row| row.strong).sum::<f64>() / count;
    let weak_score = rows.iter().map(|row| row.weak).sum::<f64>() / count;
    let Some(curve) = Curve::of(rows) else {
        return Err(PairError::NoGap {
            strong,
            weak,
            strong_score,
            weak_score,
        });
    };
    let resampled = (0..RESAMPLES).filter_map(|number| {
        let mut rows = rows.to_vec();
        for (row, draws) in rows.iter_mut().zip(draw(number)) {
            row.draws = draws;
        }
        Some(Curve::of(&rows)?.apgr())
    });
    let resampled: Vec<f64> = resampled.collect();
    let apgr = Estimate::new(curve.apgr(), deviation(resampled.iter().copied()));
    let point = |step: usize| {
        let strong_share = step as f64 / CURVE_STEPS as f64;
        let pgr = curve.recovered_at(strong_share);
        CurvePoint {
            strong_share,
            score: weak_score + pgr * (strong_score - weak_score),
            pgr,
        }
    };
    Ok(PairReport {
        rows: rows.len(),
        strong_score,
        weak_score,
        apgr: apgr.value,
        apgr_ci95: apgr.ci95,
        cpt50: curve.share_for(0.5),
        cpt80: curve.share_for(0.8),
        curve: (0..=CURVE_STEPS).map(point).collect(),
        strong,
        weak,
    })
}

/// Gap recovered against share, straight between its corners.
struct Curve {
    /// Share and gap recovered, from (0, 0) to (1, 1).
    corners: Vec<(f64, f64)>,
}

impl Curve {
    /// None where there is no gap.
    fn of(rows: &[PairRow]) -> Option<Self> {
        let mut rows = rows.to_vec();
        rows.sort_by(|a, b| b.preference.total_cmp(&a.preference));
        let gain = |row: &PairRow| f64::from(row.draws) * (row.strong - row.weak);
        let gap: f64 = rows.iter().map(gain).sum();
        let count: f64 = rows.iter().map(|row| f64::from(row.draws)).sum();
        if gap <= 0.0 {
            return None;
        }
        let mut corners = vec![(0.0, 0.0)];
        let (mut sent, mut recovered) = (0.0, 0.0);
        for alike in rows.chunk_by(|a, b| a.preference.total_cmp(&b.preference).is_eq()) {
            sent += alike.iter().map(|row| f64::from(row.draws)).sum::<f64>();
            recovered += alike.iter().map(gain).sum::<f64>();
            corners.push((sent / count, recovered / gap));
        }
        Some(Self { corners })
    }

    fn sides(&self) -> impl Iterator<Item = [(f64, f64); 2]> {
        self.corners.windows(2).map(|side| [side[0], side[1]])
    }

    /// The area below.
    fn apgr(&self) -> f64 {
        self.sides()
            .map(|[from, to]| (to.0 - from.0) * f64::midpoint(from.1, to.1))
            .sum()
    }

    fn recovered_at(&self, share: f64) -> f64 {
        let side = self.sides().find(|[_, to]| share <= to.0);
        side.map_or(1.0, |[from, to]| {
            let part = (share - from.0) / (to.0 - from.0).max(f64::MIN_POSITIVE);
            from.1 + part * (to.1 - from.1)
        })
    }

    /// The least share at which as much is recovered.
    fn share_for(&self, recovered: f64) -> f64 {
        let side = self.sides().find(|[_, to]| to.1 >= recovered);
        side.map_or(1.0, |[from, to]| {
            let part = (recovered - from.1) / (to.1 - from.1).max(f64::MIN_POSITIVE);
            from.0 + part * (to.0 - from.0)
        })
    }
}

impl PairReport {
    /// The report as text for a terminal.
    pub fn table(&self) -> String {
        let [low, high] = self.apgr_ci95;
        let Self {
            strong,
            weak,
            rows,
            strong_score,
            weak_score,
            apgr,
            cpt50,
            cpt80,
            ..
        } = self;
        let mut lines = vec![
            format!(
                "{rows} rows; strong `{strong}` {strong_score:.4}, weak `{weak}` {weak_score:.4}"
            ),
            format!(
                "APGR          {apgr:>8.4}  {low:.4} to {high:.4} with 95 % confidence; 0.5 by chance"
            ),
            format!(
                "CPT(50 %)     {:>7.1} % of the questions to the strong one; 50 % by chance",
                cpt50 * 100.0
            ),
            format!("CPT(80 %)     {:>7.1} %; 80 % by chance", cpt80 * 100.0),
            String::new(),
            format!("{:>8}{:>10}{:>8}", "strong", "score", "PGR"),
        ];
        lines.extend(self.curve.iter().step_by(CURVE_STEPS / 10).map(|point| {
            format!(
                "{:>6.0} %{:>10.4}{:>8.3}",
                point.strong_share * 100.0,
                point.score,
                point.pgr
            )
        }));
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(preference: f64, strong: f64, weak: f64) -> PairRow {
        PairRow {
            preference,
            strong,
            weak,
            draws: 1,
        }
    }

    fn of(rows: &[PairRow]) -> Result<PairReport, PairError> {
        let names = (ExpertId::new("large"), ExpertId::new("small"));
        report(names, rows, |_| vec![1; rows.len()])
    }

    #[test]
    fn whoever_knows_where_the_strong_one_is_needed_recovers_the_gap_at_once() {
        let mut rows = vec![row(1.0, 1.0, 0.0); 25];
        rows.extend(vec![row(0.0, 1.0, 1.0); 75]);
        let report = of(&rows).unwrap();
        assert!((report.apgr - 0.875).abs() < 1e-9, "{}", report.apgr);
        assert!((report.cpt50 - 0.125).abs() < 1e-9);
        assert!((report.cpt80 - 0.2).abs() < 1e-9);
        assert!((report.curve[10].score - 0.85).abs() < 1e-9);
        assert!((report.curve[60].pgr - 1.0).abs() < 1e-9);
    }

    #[test]
    fn whoever_tells_nothing_apart_is_as_good_as_chance() {
        let rows = [
            row(0.3, 1.0, 0.0),
            row(0.3, 0.0, 1.0),
            row(0.3, 1.0, 1.0),
            row(0.3, 1.0, 0.0),
        ];
        let report = of(&rows).unwrap();
        assert!((report.apgr - 0.5).abs() < 1e-9);
        assert!((report.cpt50 - 0.5).abs() < 1e-9 && (report.cpt80 - 0.8).abs() < 1e-9);
    }

    #[test]
    fn more_than_the_gap_can_be_recovered() {
        let rows = [row(2.0, 1.0, 0.0), row(1.0, 1.0, 0.0), row(0.0, 0.0, 1.0)];
        let report = of(&rows).unwrap();
        let most = report
            .curve
            .iter()
            .map(|point| point.pgr)
            .fold(0.0, f64::max);
        assert!(most > 1.9, "{most}");
    }

    #[test]
    fn without_a_gap_there_is_nothing_to_recover() {
        let error = of(&[row(0.0, 0.0, 1.0)]).unwrap_err();
        assert!(
            error.to_string().contains("name the better one first"),
            "{error}"
        );
        assert!(matches!(of(&[]), Err(PairError::NoRows { .. })));
    }

    proptest! {
        #[test]
        fn the_order_of_preferences_is_all_that_counts(
            rows in prop::collection::vec((0_u8..9, 0_u8..2, 0_u8..2), 1..60),
        ) {
            let rows = |scale: fn(f64) -> f64| -> Vec<PairRow> {
                rows.iter().map(|(p, s, w)| row(scale(f64::from(*p)), f64::from(*s), f64::from(*w))).collect()
            };
            let (plain, bent) = (of(&rows(|p| p)), of(&rows(f64::exp)));
            prop_assert_eq!(plain.map(|r| (r.apgr, r.cpt50)).ok(), bent.map(|r| (r.apgr, r.cpt50)).ok());
        }
    }
}
