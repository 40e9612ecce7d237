//! Average linkage: the two groups that resemble each other most become one, until no two do enough.

use ndarray::Array2;

/// What makes two groups one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Their mean similarity, at least.
    pub least: f32,
    /// Rows from which on a group has a subject of its own.
    pub size_min: usize,
}

/// Two groups with subjects of their own are one only if they resemble each other by this share of what the rows of the looser
/// one do among themselves.
const KINSHIP: f32 = 0.25;

/// The groups (row numbers, rising) that are left when no two belong together, by their first row.
///
/// `similarities`: rows × rows, symmetric. The chain of nearest neighbours finds the same groups as a search for the best pair
/// would, in quadratic time (Murtagh, "A survey of recent advances in hierarchical clustering algorithms", 1983): what is
/// nearest to each other stays so until it is joined. For the same reason a chain whose end has no neighbour that is near
/// enough has found a group that is whole.
pub(super) fn groups(similarities: Array2<f32>, cut: Cut) -> Vec<Vec<usize>> {
    let mut forest = Forest::new(similarities);
    let mut whole = Vec::new();
    let mut chain: Vec<usize> = Vec::new();
    while let Some(end) = chain
        .last()
        .copied()
        .or_else(|| forest.active.first().copied())
    {
        if chain.is_empty() {
            chain.push(end);
        }
        let before = chain.len().checked_sub(2).map(|at| chain[at]);
        match forest.nearest(end, before) {
            Some((next, similarity)) if similarity >= cut.least && Some(next) != before => {
                chain.push(next);
            }
            Some((next, similarity))
                if similarity >= cut.least && forest.akin((next, end), similarity, cut) =>
            {
                chain.truncate(chain.len() - 2);
                forest.join((next, end));
            }
            _ => {
                whole.push(forest.take(end));
                chain.pop();
            }
        }
    }
    for group in &mut whole {
        group.sort_unstable();
    }
    whole.sort_unstable();
    whole
}

/// Groups that may yet be joined.
struct Forest {
    similarities: Array2<f32>,
    members: Vec<Vec<usize>>,
    /// Of each group, the similarities of its pairs, added up.
    within: Vec<f32>,
    active: Vec<usize>,
}

impl Forest {
    fn new(similarities: Array2<f32>) -> Self {
        let rows = similarities.nrows();
        Self {
            similarities,
            members: (0..rows).map(|row| vec![row]).collect(),
            within: vec![0.0; rows],
            active: (0..rows).collect(),
        }
    }

    /// The group that resembles `of` most; of equal ones the last in the chain, else the first.
    fn nearest(&self, of: usize, before: Option<usize>) -> Option<(usize, f32)> {
        let row = self.similarities.row(of);
        let mut best = before.map(|group| (group, row[group]));
        for group in self.active.iter().copied().filter(|group| *group != of) {
            if best.is_none_or(|(_, most)| row[group] > most) {
                best = Some((group, row[group]));
            }
        }
        best
    }

    /// Whether two groups of the given mean similarity have one subject.
    fn akin(&self, (a, b): (usize, usize), similarity: f32, cut: Cut) -> bool {
        let small = |group: usize| self.members[group].len() < cut.size_min;
        let cohesion = |group: usize| {
            let size = self.members[group].len() as f32;
            2.0 * self.within[group] / (size * (size - 1.0)).max(1.0)
        };
        small(a) || small(b) || similarity >= KINSHIP * cohesion(a).min(cohesion(b))
    }

    /// Puts `from` into `into` (Lance and Williams 1967).
    fn join(&mut self, (into, from): (usize, usize)) {
        let moved = self.take(from);
        let (moving, staying) = (moved.len() as f32, self.members[into].len() as f32);
        let between = moving * staying * self.similarities[[into, from]];
        self.within[into] += self.within[from] + between;
        self.members[into].extend(moved);
        let share = moving / (moving + staying);
        for other in self.active.iter().copied() {
            let mean = (1.0 - share) * self.similarities[[into, other]]
                + share * self.similarities[[from, other]];
            self.similarities[[into, other]] = mean;
            self.similarities[[other, into]] = mean;
        }
    }

    fn take(&mut self, group: usize) -> Vec<usize> {
        self.active.retain(|other| *other != group);
        std::mem::take(&mut self.members[group])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn groups_join_by_their_mean_and_not_by_their_nearest_rows() {
        // 0–1 and 3–4 belong together; 2 is near to 1 alone, as a link of a chain is.
        let similarities = arr2(&[
            [1.0, 0.9, 0.0, 0.0, 0.0],
            [0.9, 1.0, 0.6, 0.0, 0.0],
            [0.0, 0.6, 1.0, 0.0, 0.1],
            [0.0, 0.0, 0.0, 1.0, 0.8],
            [0.0, 0.0, 0.1, 0.8, 1.0],
        ]);
        let at = |least| {
            let cut = Cut { least, size_min: 9 };
            groups(similarities.clone(), cut)
        };
        assert_eq!(at(0.4), [vec![0, 1], vec![2], vec![3, 4]]);
        assert_eq!(at(0.25), [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(at(0.95).len(), 5);
        assert_eq!(at(-1.0).len(), 1);
    }

    #[test]
    fn equal_similarities_come_to_an_end() {
        let cut = Cut {
            least: 0.5,
            size_min: 2,
        };
        assert_eq!(groups(Array2::ones((6, 6)), cut), [vec![0, 1, 2, 3, 4, 5]]);
        assert!(groups(Array2::zeros((0, 0)), cut).is_empty());
    }

    #[test]
    fn two_subjects_stay_apart_though_their_likeness_would_do_for_one() {
        let of = |between: f32| {
            Array2::from_shape_fn((6, 6), |(a, b)| if a / 3 == b / 3 { 0.8 } else { between })
        };
        let cut = Cut {
            least: 0.1,
            size_min: 3,
        };
        assert_eq!(groups(of(0.12), cut).len(), 2);
        assert_eq!(groups(of(0.3), cut).len(), 1);
    }
}
