//! Scores → how hard each row is: what is taken from its scores before experts are compared, so that nobody looks good who
//! was tried on easy rows alone.

use super::outcomes::Outcomes;

/// Share of the pool that must have been scored on a row for its difficulty to be believed as a whole.
const SCORED_SHARE: f64 = 0.5;

/// Rows on which experts can be compared that are worth as much as what experts score on rows of their own.
const COMPARED_ROWS: f64 = 10.0;

/// Rounds in which what experts and what rows contribute to scores are told apart, where scores are missing.
const ROUNDS: usize = 10;

/// How much easier a row is than others of its category, in score: what all experts get more there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::mapping) struct Difficulty {
    /// What is taken from each of its scores.
    score: f32,
    /// Share of the variance of a score that is left then: a score takes part in the mean that is taken from it.
    left: f32,
}

impl Difficulty {
    /// Not known: nothing is taken away.
    pub(in crate::mapping) const UNKNOWN: Self = Self {
        score: 0.0,
        left: 1.0,
    };

    /// What is taken from each score of the row.
    pub(in crate::mapping) fn score(self) -> f64 {
        self.score.into()
    }

    /// Share of the variance of a score that is left then.
    pub(in crate::mapping) fn left(self) -> f64 {
        self.left.into()
    }
}

/// What the experts that were tried on a row tell of it.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    /// The mean of what its scores have over their experts' levels.
    mean: f64,
    /// How many scores there are.
    scores: u32,
}

/// Sums over the rows of a category.
#[derive(Clone, Debug, Default)]
struct Category {
    /// Rows with a score, and rows with several.
    tried: f64,
    compared: f64,
    /// Sum of the means of rows with a score.
    means: f64,
    /// Sum of what is believed of their difficulty.
    believed: f64,
}

/// The difficulty of each row, by the scores of all experts that were tried on it: the fewer they were, the less is believed.
/// In each category difficulties add up to nothing.
///
/// Experts are compared on the same questions then, not on those that each happened to get. What one expert alone scores
/// on a row may be its own merit; it is taken for the row's as far as other rows tell how experts of its category compare.
pub(in crate::mapping) fn difficulties(outcomes: &Outcomes) -> Vec<Difficulty> {
    let rows = tried(outcomes, &levels(outcomes));
    let mut categories = vec![Category::default(); outcomes.categories().len()];
    let with_scores = |(_, tried): &(usize, &Tried)| tried.scores > 0;
    for (row, tried) in rows.iter().enumerate().filter(with_scores) {
        let category = &mut categories[outcomes.category(row)];
        category.tried += 1.0;
        category.compared += f64::from(u8::from(tried.scores > 1));
        category.means += tried.mean;
    }
    let experts = outcomes.experts().len() as f64;
    for (row, tried) in rows.iter().enumerate().filter(with_scores) {
        let category = &mut categories[outcomes.category(row)];
        category.believed += category.believed_of(*tried, experts);
    }
    let difficulty = |(row, tried): (usize, &Tried)| {
        if tried.scores == 0 {
            return Difficulty::UNKNOWN;
        }
        let category = &categories[outcomes.category(row)];
        let trust = category.trust(tried.scores, experts);
        let believed = category.believed_of(*tried, experts);
        Difficulty {
            score: narrow(believed - category.believed / category.tried),
            left: narrow(1.0 - trust * (2.0 - trust) / f64::from(tried.scores)),
        }
    };
    rows.iter().enumerate().map(difficulty).collect()
}

impl Category {
    /// What a row has over the mean of the category, as far as that is believed.
    fn believed_of(&self, row: Tried, experts: f64) -> f64 {
        self.trust(row.scores, experts) * (row.mean - self.means / self.tried)
    }

    /// How far the scores of a row, of so many experts, are believed to tell its difficulty.
    fn trust(&self, scores: u32, experts: f64) -> f64 {
        let share = (f64::from(scores) / (experts * SCORED_SHARE)).min(1.0);
        if scores > 1 {
            share
        } else {
            share * self.compared / (self.compared + COMPARED_ROWS)
        }
    }
}

/// What each expert scores over others. Where every score is there, that does not matter to rows.
fn levels(outcomes: &Outcomes) -> Vec<f64> {
    let scored = outcomes.rows_scored();
    if scored.iter().all(|scored| *scored == outcomes.rows()) {
        return vec![0.0; scored.len()];
    }
    let mut level = first_levels(outcomes);
    for _ in 0..ROUNDS {
        let rows = tried(outcomes, &level);
        for (expert, level) in level.iter_mut().enumerate() {
            // A row of one expert follows that expert's level, whatever it is.
            let compared = outcomes
                .scores(expert)
                .filter(|(row, _)| rows[*row].scores > 1);
            let over = compared.map(|(row, score)| score - rows[row].mean);
            *level = mean(over).unwrap_or(*level);
        }
    }
    level
}

/// What each expert scores over the categories of its rows. Experts that were tried on no row together stay so far apart.
fn first_levels(outcomes: &Outcomes) -> Vec<f64> {
    let experts = outcomes.experts().len();
    let mut sums = vec![(0.0, 0.0); outcomes.categories().len()];
    for (row, score) in (0..experts).flat_map(|expert| outcomes.scores(expert)) {
        let sum = &mut sums[outcomes.category(row)];
        *sum = (sum.0 + score, sum.1 + 1.0);
    }
    let over = |(row, score): (usize, f64)| {
        let (sum, scores) = sums[outcomes.category(row)];
        score - sum / scores
    };
    let level = |expert| mean(outcomes.scores(expert).map(over)).unwrap_or_default();
    (0..experts).map(level).collect()
}

/// What each row's scores have over their experts' levels.
fn tried(outcomes: &Outcomes, level: &[f64]) -> Vec<Tried> {
    let mut rows = vec![Tried::default(); outcomes.rows()];
    for (expert, level) in level.iter().enumerate() {
        for (row, score) in outcomes.scores(expert) {
            rows[row].mean += score - level;
            rows[row].scores += 1;
        }
    }
    for row in &mut rows {
        row.mean /= f64::from(row.scores.max(1));
    }
    rows
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "scores have no more digits"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::fit::outcomes::tests::outcomes;

    /// Every second row is easy; on every fifth one expert alone was tried, if `alone` says so.
    fn rows(alone: bool) -> Vec<Difficulty> {
        let line = |row: usize| {
            let (easy, category) = (f64::from(u8::from(row.is_multiple_of(2))) / 2.0, row % 3);
            let second = if alone || row.is_multiple_of(5) {
                String::new()
            } else {
                format!(r#", "y": {}"#, easy + 0.25)
            };
            format!(
                r#"{{"id": "{row}", "prompt": "{row}", "category": "c{category}", "scores": {{"x": {easy}{second}}}}}"#
            )
        };
        let mut lines: Vec<String> = (0..120).map(line).collect();
        let last = r#"{"id": "y", "prompt": "y", "category": "d", "scores": {"y": 0.5}}"#;
        lines.push(last.to_owned());
        difficulties(&outcomes(&lines))
    }

    #[test]
    fn the_difficulty_of_rows_is_what_experts_have_in_common() {
        let difficulties = rows(false);
        let score = |row: usize| difficulties[row].score();
        assert!((score(2) - score(8)).abs() < 0.02, "both are easy");
        assert!((score(2) - score(1) - 0.5).abs() < 0.05);
        let all: f64 = difficulties.iter().map(|it| it.score()).sum();
        assert!(all.abs() < 1e-4, "they add up to nothing: {all}");
    }

    #[test]
    fn what_one_expert_scores_alone_is_believed_less() {
        let difficulties = rows(false);
        let score = |row: usize| difficulties[row].score();
        assert!(score(0) > 0.1 && score(0) < score(2) - 0.01, "{}", score(0));
        assert!(difficulties[0].left() < difficulties[2].left());
        let alone = rows(true);
        assert!(
            alone.iter().all(|it| *it == Difficulty::UNKNOWN),
            "nowhere are experts compared"
        );
    }
}
