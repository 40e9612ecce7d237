//! Average linkage: the two groups that resemble each other most become one, until no two do enough.

use ndarray::Array2;

/// The groups (row numbers, rising) that are left when no two have a mean similarity of `least`, by their first row.
///
/// `similarities`: rows × rows, symmetric. The chain of nearest neighbours finds the same groups as a search for the best pair
/// would, in quadratic time (Murtagh, "A survey of recent advances in hierarchical clustering algorithms", 1983): what is
/// nearest to each other stays so until it is joined. For the same reason a chain whose end has no neighbour that is near
/// enough has found a group that is whole.
pub(super) fn groups(mut similarities: Array2<f32>, least: f32) -> Vec<Vec<usize>> {
    let rows = similarities.nrows();
    let mut members: Vec<Vec<usize>> = (0..rows).map(|row| vec![row]).collect();
    let mut active: Vec<usize> = (0..rows).collect();
    let mut whole = Vec::new();
    let mut chain: Vec<usize> = Vec::new();
    while let Some(end) = chain.last().copied().or_else(|| active.first().copied()) {
        if chain.is_empty() {
            chain.push(end);
        }
        let before = chain.len().checked_sub(2).map(|at| chain[at]);
        match nearest(&similarities, &active, end, before) {
            Some((next, similarity)) if similarity >= least => {
                if Some(next) == before {
                    chain.truncate(chain.len() - 2);
                    join(&mut similarities, &mut members, &active, (next, end));
                    active.retain(|group| *group != end);
                } else {
                    chain.push(next);
                }
            }
            _ => {
                active.retain(|group| *group != end);
                whole.push(std::mem::take(&mut members[end]));
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

/// The group that resembles `of` most; of equal ones the last in the chain, else the first.
fn nearest(
    similarities: &Array2<f32>,
    active: &[usize],
    of: usize,
    before: Option<usize>,
) -> Option<(usize, f32)> {
    let row = similarities.row(of);
    let mut best = before.map(|group| (group, row[group]));
    for group in active.iter().copied().filter(|group| *group != of) {
        if best.is_none_or(|(_, most)| row[group] > most) {
            best = Some((group, row[group]));
        }
    }
    best
}

/// Puts `from` into `into` (Lance and Williams 1967).
fn join(
    similarities: &mut Array2<f32>,
    members: &mut [Vec<usize>],
    active: &[usize],
    (into, from): (usize, usize),
) {
    let moved = std::mem::take(&mut members[from]);
    let share = moved.len() as f32 / (moved.len() + members[into].len()) as f32;
    members[into].extend(moved);
    for other in active.iter().copied() {
        let mean =
            (1.0 - share) * similarities[[into, other]] + share * similarities[[from, other]];
        similarities[[into, other]] = mean;
        similarities[[other, into]] = mean;
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
        let at = |least| groups(similarities.clone(), least);
        assert_eq!(at(0.4), [vec![0, 1], vec![2], vec![3, 4]]);
        assert_eq!(at(0.25), [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(at(0.95).len(), 5);
        assert_eq!(at(-1.0).len(), 1);
    }

    #[test]
    fn equal_similarities_come_to_an_end() {
        assert_eq!(groups(Array2::ones((6, 6)), 0.5), [vec![0, 1, 2, 3, 4, 5]]);
        assert!(groups(Array2::zeros((0, 0)), 0.5).is_empty());
    }
}
