//! A model of the rewards: the mean of each category and expert, drawn towards the expert's, which is drawn towards the mean
//! of all.
//!
//! How far is the credibility of Bühlmann and Straub ("Glaubwürdigkeit für Schadensätze", Mitteilungen der Vereinigung
//! schweizerischer Versicherungsmathematiker 1970), an empirical Bayes estimate: a mean of n rewards counts n against the
//! variance of single rewards over the variance of true means, and both are estimated from the rewards themselves.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::Logged;

/// Parts of a log that are held back in turn.
const FOLDS: usize = 5;

/// Rewards that a mean is drawn by if means are not seen to differ at all, and at the most.
const PSEUDO_REWARDS_MAX: f64 = 1e4;

/// What experts' answers are expected to be worth.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardModel {
    experts: usize,
    cells: Vec<f64>,
    by_expert: Vec<f64>,
}

impl RewardModel {
    /// Fits one on all rows; `experts`: how many there are. A half is expected of everyone if there is no row.
    pub fn fit(rows: &[Logged], experts: usize) -> Self {
        let mut cells = vec![Sums::default(); categories(rows) * experts];
        rows.iter().for_each(|row| add(&mut cells, experts, row));
        Self::of(&cells, experts)
    }

    /// The reward to be expected, 0 to 1; of a category that was never seen, what the expert's answers are worth elsewhere.
    pub fn reward(&self, category: usize, expert: usize) -> f64 {
        let cell = self.cells.get(category * self.experts + expert);
        let known = cell.or_else(|| self.by_expert.get(expert));
        known.copied().unwrap_or(0.5)
    }

    fn of(cells: &[Sums], experts: usize) -> Self {
        let mut by_expert = vec![Sums::default(); experts];
        for (at, cell) in cells.iter().enumerate() {
            by_expert[at % experts].add(cell);
        }
        let all = by_expert.iter().fold(Sums::default(), |mut all, sums| {
            all.add(sums);
            all
        });
        let overall = all.mean().unwrap_or(0.5);
        let within = within(cells);
        let pseudo = pseudo_rewards(by_expert.iter().map(|sums| (*sums, overall)), within);
        let by_expert: Vec<f64> = by_expert
            .iter()
            .map(|sums| sums.drawn_to(overall, pseudo))
            .collect();
        let pairs = || {
            let towards = by_expert.iter().copied().cycle();
            cells.iter().copied().zip(towards)
        };
        let pseudo = pseudo_rewards(pairs(), within);
        let cells = pairs()
            .map(|(sums, mean)| sums.drawn_to(mean, pseudo))
            .collect();
        Self {
            experts,
            cells,
            by_expert,
        }
    }
}

/// A model for each part of a log, which has not seen it.
#[derive(Debug)]
pub(super) struct CrossFitted {
    models: Vec<RewardModel>,
    seed: u64,
}

impl CrossFitted {
    pub(super) fn fit(rows: &[Logged], experts: usize, seed: u64) -> Self {
        let empty = vec![Sums::default(); categories(rows) * experts];
        let mut left = vec![empty; FOLDS];
        for row in rows {
            let held_back = fold(row.cluster, seed);
            let others = (0..FOLDS).filter(|fold| *fold != held_back);
            others.for_each(|fold| add(&mut left[fold], experts, row));
        }
        let models = left.iter().map(|cells| RewardModel::of(cells, experts));
        Self {
            models: models.collect(),
            seed,
        }
    }

    /// The model that has seen nothing of a conversation.
    pub(super) fn without(&self, cluster: u64) -> &RewardModel {
        &self.models[fold(cluster, self.seed)]
    }
}

/// The part of a log that a whole conversation belongs to.
fn fold(cluster: u64, seed: u64) -> usize {
    SmallRng::seed_from_u64(cluster ^ seed.rotate_left(32)).random_range(0..FOLDS)
}

/// How many categories there are, as far as rows tell.
fn categories(rows: &[Logged]) -> usize {
    rows.iter().map(|row| row.category + 1).max().unwrap_or(0)
}

fn add(cells: &mut [Sums], experts: usize, row: &Logged) {
    if let Some(cell) = cells.get_mut(row.category * experts + row.expert) {
        cell.add(&Sums {
            count: 1.0,
            sum: row.reward,
            squares: row.reward * row.reward,
        });
    }
}

/// Sums over rewards.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    fn drawn_to(&self, mean: f64, pseudo: f64) -> f64 {
        if self.count > 0.0 {
            (self.sum + pseudo * mean) / (self.count + pseudo)
        } else {
            mean
        }
    }
}

/// The variance of single rewards around the mean of their cell.
fn within(cells: &[Sums]) -> f64 {
    let (squares, freedom) = cells.iter().fold((0.0, 0.0), |total, cell| {
        let mean = cell.mean().unwrap_or(0.0);
        let squares = (cell.squares - cell.sum * mean).max(0.0);
        (total.0 + squares, total.1 + (cell.count - 1.0).max(0.0))
    });
    if freedom > 0.0 {
        squares / freedom
    } else {
        0.25
    }
}

/// The variance of single rewards over that of true means around what they are drawn to.
fn pseudo_rewards(groups: impl Iterator<Item = (Sums, f64)>, within: f64) -> f64 {
    // Each squared distance is expected to be the true variance plus that of a mean of so many rewards.
    let (above, rewards) = groups.fold((0.0, 0.0), |total, (sums, towards)| {
        let distance = sums.mean().map_or(0.0, |mean| mean - towards);
        let known = f64::from(u8::from(sums.count > 0.0));
        (
            total.0 + sums.count * distance * distance - known * within,
            total.1 + sums.count,
        )
    });
    let between = if rewards > 0.0 { above / rewards } else { 0.0 };
    if between > 0.0 {
        (within / between).min(PSEUDO_REWARDS_MAX)
    } else {
        PSEUDO_REWARDS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(category: usize, expert: usize, right: usize, count: usize) -> Vec<Logged> {
        let row = |at: usize| Logged {
            category,
            expert,
            reward: f64::from(u8::from(at < right)),
            propensity: Some(1.0),
            cluster: at as u64,
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn many_rewards_speak_for_themselves_and_few_are_drawn_in() {
        let log = [
            rows(0, 0, 900, 1_000),
            rows(1, 0, 400, 1_000),
            rows(2, 0, 0, 2),
            rows(0, 1, 300, 1_000),
            rows(1, 1, 200, 1_000),
        ]
        .concat();
        let model = RewardModel::fit(&log, 2);
        assert!((model.reward(0, 0) - 0.9).abs() < 0.01);
        assert!((model.reward(1, 1) - 0.2).abs() < 0.01);
        let few = model.reward(2, 0);
        assert!(0.1 < few && few < 0.6, "{few}");
    }

    #[test]
    fn what_was_never_seen_is_expected_to_be_like_the_expert_elsewhere() {
        let log = [
            rows(0, 0, 90, 100),
            rows(1, 0, 90, 100),
            rows(0, 1, 10, 100),
        ]
        .concat();
        let model = RewardModel::fit(&log, 3);
        assert!(model.reward(1, 1) < 0.3, "the expert's");
        assert!(model.reward(7, 0) > 0.7, "the expert's, of no category");
        let overall = model.reward(0, 2);
        assert!((overall - 190.0 / 300.0).abs() < 1e-9, "{overall}");
        let nothing = RewardModel::fit(&[], 2);
        assert!((nothing.reward(0, 1) - 0.5).abs() < f64::EPSILON);
        let sure = RewardModel::fit(&rows(0, 0, 5, 5), 2);
        assert!((sure.reward(0, 1) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn equal_experts_are_predicted_nearly_the_same() {
        let log: Vec<Logged> = (0..10)
            .flat_map(|expert| rows(0, expert, 45 + expert % 2 * 10, 100))
            .collect();
        let model = RewardModel::fit(&log, 10);
        let gap = model.reward(0, 1) - model.reward(0, 0);
        assert!((0.0..0.05).contains(&gap), "{gap}");
    }

    #[test]
    fn a_conversation_is_predicted_without_its_own_rewards() {
        let mut log = rows(0, 0, 100, 200);
        let before = CrossFitted::fit(&log, 1, 3);
        log.iter_mut()
            .filter(|row| row.cluster == 17)
            .for_each(|row| row.reward = 0.0);
        let after = CrossFitted::fit(&log, 1, 3);
        assert_eq!(before.without(17), after.without(17));
        let others: Vec<u64> = (0..200)
            .filter(|cluster| before.without(*cluster) != after.without(*cluster))
            .collect();
        assert!(others.len() > 100, "the others have seen it");
    }
}
