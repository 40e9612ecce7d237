//! How much of what is learnt one client may have given. Pure.

use std::collections::BTreeSet;

/// The share that one client may have given, where there are others: by default a quarter.
pub const CLIENT_SHARE_MAX: f64 = 0.25;

/// How many times an even share a client may have given at the least, so that few clients may share as they do.
pub(super) const EVEN_SHARES_MAX: f64 = 1.5;

/// The most rows of one client with which no client has more than its share of what is left, or so many even shares where
/// clients are few; everything of a single client.
pub(super) fn allowed(given: &[usize], share_max: f64) -> usize {
    let share_max = share_max.max(EVEN_SHARES_MAX / given.len().max(1) as f64);
    if share_max >= 1.0 {
        return usize::MAX;
    }
    let most = given.iter().copied().max().unwrap_or(0);
    let sizes: BTreeSet<usize> = given.iter().copied().collect();
    let fits = |limit: usize| {
        let total: usize = given.iter().map(|given| (*given).min(limit)).sum();
        limit as f64 <= share_max * total as f64
    };
    if fits(most) {
        return most;
    }
    // Between two clients' sizes the total grows by as many as have more: the largest limit that fits lies in one of them.
    let mut limit = 0;
    for size in sizes {
        if fits(size) {
            limit = size;
            continue;
        }
        while fits(limit + 1) {
            limit += 1;
        }
        break;
    }
    limit.max(1)
}
