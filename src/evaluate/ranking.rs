//! Whether questions from elsewhere look stranger to the router than its own.

use super::Judged;

/// The area under the ROC curve of the out-of-domain score: the probability that a row that is out of domain is ranked above
/// one that is not, ties counting half (the statistic of Mann and Whitney 1947). None unless there are rows of both kinds.
pub(super) fn ood_auroc(rows: &[Judged]) -> Option<f64> {
    let mut ranked: Vec<(f32, bool)> = rows
        .iter()
        .map(|row| (row.out_of_domain, !row.is_in_domain()))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = ranked.iter().filter(|row| row.1).count();
    let negatives = ranked.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let mut below = 0;
    let mut won = 0.0;
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let tied_positives = tied.iter().filter(|row| row.1).count();
        let tied_negatives = tied.len() - tied_positives;
        won += tied_positives as f64 * (below as f64 + tied_negatives as f64 / 2.0);
        below += tied_negatives;
    }
    Some(won / (positives as f64 * negatives as f64))
}
