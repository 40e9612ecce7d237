use std::collections::HashMap;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::*;

/// Where chi-square is larger once in a thousand, by degrees of freedom.
const CHI_SQUARE_MAX: [(usize, f64); 3] = [(1, 10.828), (4, 18.467), (11, 31.264)];

fn experts(count: usize) -> Vec<ExpertId> {
    let name = |at: usize| ExpertId::new(format!("expert-{at}"));
    (0..count).map(name).collect()
}

fn tally(rewards: f64, rows: f64) -> Posterior {
    Posterior::of(&Tally { rewards, rows })
}

fn best(posteriors: &[Posterior]) -> Vec<f64> {
    thompson::best(&posteriors.iter().collect::<Vec<_>>())
}

/// Draws many times, and compares how often each expert is asked with its propensity; gives back all propensities.
fn assert_propensities_are_frequencies(
    explore: Explore,
    experts: &[ExpertId],
    posteriors: &HashMap<ExpertId, Posterior>,
    seed: u64,
) -> Vec<f64> {
    const DRAWS: usize = 20_000;
    let others: Vec<&ExpertId> = experts[1..].iter().collect();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut seen: HashMap<ExpertId, (f64, f64)> = HashMap::new();
    for _ in 0..DRAWS {
        let unit = random.random();
        let drawn = explore.draw(&experts[0], &others, |expert| posteriors.get(expert), unit);
        assert_eq!(drawn.explored, drawn.expert != experts[0]);
        let (count, propensity) = seen.entry(drawn.expert).or_default();
        *count += 1.0;
        *propensity = drawn.propensity;
    }
    assert_eq!(seen.len(), experts.len(), "everyone is asked at times");
    let chi_square: f64 = seen
        .values()
        .map(|(count, propensity)| {
            let expected = propensity * DRAWS as f64;
            (count - expected).powi(2) / expected
        })
        .sum();
    let (_, max) = CHI_SQUARE_MAX
        .into_iter()
        .find(|(freedom, _)| *freedom == experts.len() - 1)
        .unwrap();
    assert!(chi_square < max, "{chi_square} of at most {max}");
    let propensities: Vec<f64> = seen.values().map(|(_, propensity)| *propensity).collect();
    assert!((propensities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    propensities
}

#[test]
fn uniform_exploration_asks_everyone_as_often_as_it_says() {
    let explore = Explore::new(0.3, Policy::Uniform).unwrap();
    for (count, seed) in [(2, 1), (5, 2), (12, 3)] {
        let propensities =
            assert_propensities_are_frequencies(explore, &experts(count), &HashMap::new(), seed);
        let others = propensities.iter().filter(|share| **share < 0.5).count();
        assert_eq!(others, count - 1);
    }
}

#[test]
fn thompson_sampling_asks_everyone_as_often_as_it_says() {
    let explore = Explore::new(0.5, Policy::Thompson).unwrap();
    for (count, seed) in [(5, 4), (12, 5)] {
        let experts = experts(count);
        let known = |(at, expert): (usize, &ExpertId)| {
            let rows = [0.0, 7.0, 60.0, 400.0][at % 4];
            let mean = 0.4 + 0.03 * at as f64;
            (expert.clone(), tally(rows * mean, rows))
        };
        // The last expert has no posterior at all.
        let posteriors = experts[..count - 1].iter().enumerate().map(known).collect();
        assert_propensities_are_frequencies(explore, &experts, &posteriors, seed);
    }
}

#[test]
fn the_probability_of_being_best_is_the_integrals() {
    // Two experts: P(Beta(a + 1, 1) > Beta(1, 1)) = (a + 1) / (a + 2).
    for rows in [1.0, 3.0, 20.0] {
        let shares = best(&[tally(rows, rows), tally(0.0, 0.0)]);
        assert!((shares[0] - (rows + 1.0) / (rows + 2.0)).abs() < 1e-4);
    }
    // Three: the largest of Beta(aⱼ, 1) is j with probability aⱼ / Σ a.
    let shares = best(&[tally(1.0, 1.0), tally(4.0, 4.0), tally(0.0, 0.0)]);
    for (share, exact) in shares.iter().zip([2.0 / 8.0, 5.0 / 8.0, 1.0 / 8.0]) {
        assert!((share - exact).abs() < 1e-3, "{share} {exact}");
    }
    // P(Beta(3, 2) > Beta(2, 3)), integrated by hand.
    let shares = best(&[tally(2.0, 3.0), tally(1.0, 3.0)]);
    assert!((shares[0] - 53.0 / 70.0).abs() < 1e-4, "{}", shares[0]);
}

#[test]
fn experts_of_whom_nothing_is_known_are_asked_equally_often() {
    let shares = best(&vec![tally(0.0, 0.0); 12]);
    assert!(
        shares
            .iter()
            .all(|share| (share - 1.0 / 12.0).abs() < 1e-12)
    );
}

#[test]
fn thousands_of_rows_leave_little_doubt() {
    let shares = best(&[
        tally(9_000.0, 10_000.0),
        tally(8_000.0, 10_000.0),
        tally(1e6, 1e6),
        tally(0.0, 1e6),
    ]);
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(shares[2] > 0.999, "{shares:?}");
    // So much is known of both that their means are in one bin: neither is preferred.
    let shares = best(&[tally(7e8, 1e9), tally(7e8, 1e9)]);
    assert!((shares[0] - 0.5).abs() < 1e-9, "{shares:?}");
}

#[test]
fn an_expert_that_is_given_up_on_is_still_asked_now_and_then() {
    let explore = Explore::new(0.02, Policy::Thompson).unwrap();
    let experts = experts(3);
    let (good, bad) = (tally(900.0, 1_000.0), tally(10.0, 1_000.0));
    let posterior = |expert: &ExpertId| Some(if *expert == experts[1] { &good } else { &bad });
    let others = [&experts[1], &experts[2]];
    let drawn = explore.draw(&experts[0], &others, posterior, 0.019_9);
    assert_eq!(drawn.expert, experts[2]);
    assert!((drawn.propensity - 0.02 * EVEN_SHARE / 2.0).abs() < 1e-9);
    let drawn = explore.draw(&experts[0], &others, posterior, 0.0);
    assert_eq!(drawn.expert, experts[1]);
    assert!((drawn.propensity - 0.02 * (1.0 - EVEN_SHARE / 2.0)).abs() < 1e-9);
}

#[test]
fn without_others_the_favourite_is_certain() {
    let favourite = ExpertId::new("only");
    for policy in [Policy::Uniform, Policy::Thompson] {
        let explore = Explore::new(0.5, policy).unwrap();
        let drawn = explore.draw(&favourite, &[], |_| None, 0.0);
        assert!(!drawn.explored);
        assert!((drawn.propensity - 1.0).abs() < f64::EPSILON);
    }
}

#[test]
fn nothing_is_explored_at_a_share_of_zero_and_all_at_one() {
    let experts = experts(2);
    let others = [&experts[1]];
    let draw = |share, unit| {
        let explore = Explore::new(share, Policy::Thompson).unwrap();
        explore.draw(&experts[0], &others, |_| None, unit)
    };
    assert!(!draw(0.0, 0.0).explored);
    let last = draw(1.0, 1.0 - f64::EPSILON / 2.0);
    assert!(last.explored);
    assert!((last.propensity - 1.0).abs() < 1e-12);
}

#[test]
fn a_share_outside_zero_to_one_is_refused() {
    for share in [-0.1, 1.1, f64::NAN] {
        assert!(Explore::new(share, Policy::Uniform).is_none());
    }
}
