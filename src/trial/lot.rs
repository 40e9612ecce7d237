//! Which sessions a canary gets. Pure.

use super::Share;

/// Values that a draw can have: as many as a `f64` tells apart between 0 and 1.
const DRAWS: f64 = (1_u64 << 53) as f64;

/// Whether a canary decides for the session of this number: always the same for the same session and trial, and of
/// different sessions for about the share. Another trial draws other sessions.
pub(super) fn is_drawn(trial: i64, share: Share, session: u64) -> bool {
    let draw = mixed(session ^ mixed(trial.unsigned_abs())) >> 11;
    (draw as f64) < share.get() * DRAWS
}

/// Spreads numbers evenly, however they come (the finaliser of `SplitMix64`: Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSIONS: u64 = 20_000;

    fn drawn(trial: i64, share: f64) -> Vec<bool> {
        let share = Share::new(share).unwrap();
        let sessions = 0..SESSIONS;
        sessions
            .map(|session| is_drawn(trial, share, session))
            .collect()
    }

    fn share_of(drawn: &[bool]) -> f64 {
        drawn.iter().filter(|is_drawn| **is_drawn).count() as f64 / drawn.len() as f64
    }

    #[test]
    fn a_share_of_the_sessions_is_drawn_and_always_the_same_ones() {
        for share in [0.01, 0.1, 0.5, 0.9] {
            let first = drawn(1, share);
            // Four standard errors.
            let room = 4.0 * (share * (1.0 - share) / SESSIONS as f64).sqrt();
            assert!((share_of(&first) - share).abs() < room, "{share}");
            assert_eq!(first, drawn(1, share));
        }
    }

    #[test]
    fn a_greater_share_keeps_the_sessions_of_a_smaller_one() {
        let (small, great) = (drawn(1, 0.1), drawn(1, 0.3));
        assert!(
            small
                .iter()
                .zip(&great)
                .all(|(small, great)| !small || *great)
        );
    }

    #[test]
    fn another_trial_draws_other_sessions() {
        let (first, second) = (drawn(1, 0.5), drawn(2, 0.5));
        let both: Vec<bool> = first.iter().zip(&second).map(|(a, b)| a == b).collect();
        assert!((share_of(&both) - 0.5).abs() < 0.02);
    }
}
