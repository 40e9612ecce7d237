use ndarray::Array2;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::*;

/// A random problem; scores have few digits, so that ties happen.
fn random(seed: u64, experts: usize, categories: usize) -> Problem {
    let mut draw = SmallRng::seed_from_u64(seed);
    let weights: Vec<f64> = (0..categories)
        .map(|_| 0.1 + draw.random::<f64>())
        .collect();
    let total: f64 = weights.iter().sum();
    let params_b: Vec<f64> = (0..experts)
        .map(|_| f64::from(draw.random_range(1..80_u32)))
        .collect();
    let shape = (experts, categories);
    let digits = if seed.is_multiple_of(2) { 10.0 } else { 1e4 };
    let skill: Vec<f64> = params_b.iter().map(|b| b.ln() / 6.0).collect();
    Problem {
        weights: weights.iter().map(|w| w / total).collect(),
        score: Array2::from_shape_fn(shape, |(e, _)| {
            ((skill[e] + draw.random::<f64>()) * digits).round() / digits
        }),
        usd: Some(Array2::from_shape_fn(shape, |(e, _)| {
            params_b[e] * (0.5 + draw.random::<f64>()) * 1e-5
        })),
        allowed: Array2::from_shape_fn(shape, |_| draw.random::<f64>() < 0.85),
        limits: Limits::default(),
        params_b,
    }
}

fn limited(mut problem: Problem, seed: u64) -> Problem {
    let mut draw = SmallRng::seed_from_u64(seed ^ 0xabc);
    let experts = (draw.random::<f64>() < 0.5).then(|| draw.random_range(1..4));
    let mut some = |most: f64| (draw.random::<f64>() < 0.5).then(|| draw.random::<f64>() * most);
    problem.limits = Limits {
        active_b: some(60.0),
        resident_b: some(150.0),
        usd: some(6e-4),
        experts,
    };
    problem
}

/// The highest score of all assignments.
fn brute_force(problem: &Problem) -> Option<f64> {
    let (experts, categories) = problem.score.dim();
    let mut best: Option<f64> = None;
    for number in 0..experts.pow(u32::try_from(categories).unwrap()) {
        let expert_of: Vec<usize> = (0..categories)
            .map(|c| number / experts.pow(u32::try_from(c).unwrap()) % experts)
            .collect();
        if keeps(problem, &expert_of) {
            let score = score(problem, &expert_of);
            best = Some(best.map_or(score, |best| best.max(score)));
        }
    }
    best
}

fn keeps(problem: &Problem, expert_of: &[usize]) -> bool {
    let fits =
        |limit: Option<f64>, value: f64| limit.is_none_or(|most| value <= most * (1.0 + 1e-9));
    let allowed = expert_of
        .iter()
        .enumerate()
        .all(|(c, e)| problem.allowed[[*e, c]]);
    allowed
        && problem.keeps_experts(expert_of)
        && fits(problem.limits.active_b, problem.active_b(expert_of))
        && fits(problem.limits.usd, usd(problem, expert_of))
}

fn usd(problem: &Problem, expert_of: &[usize]) -> f64 {
    let usd = problem.usd.as_ref().unwrap();
    let weighted = expert_of.iter().zip(&problem.weights).enumerate();
    weighted.map(|(c, (e, w))| w * usd[[*e, c]]).sum()
}

fn score(problem: &Problem, expert_of: &[usize]) -> f64 {
    let weighted = expert_of.iter().zip(&problem.weights).enumerate();
    weighted.map(|(c, (e, w))| w * problem.score[[*e, c]]).sum()
}

#[test]
fn the_answer_is_the_best_of_all_assignments() {
    let (mut solved, mut refused) = (0, 0);
    for seed in 0..400 {
        let problem = limited(random(seed, 4, 5), seed);
        match (solve(&problem, Effort::Exact), brute_force(&problem)) {
            (Ok(found), Some(best)) => {
                solved += 1;
                assert!(
                    keeps(&problem, &found.expert_of),
                    "seed {seed}: {:?}",
                    problem.limits
                );
                let score = score(&problem, &found.expert_of);
                assert!(
                    (score - best).abs() < 3.0 * TIE,
                    "seed {seed}: {score} < {best}, {:?}",
                    problem.limits
                );
                assert!(found.gap < 2.0 * TIE, "seed {seed}: proven");
            }
            (Err(_), None) => refused += 1,
            (found, best) => panic!(
                "seed {seed}: {found:?} against {best:?}, {:?}",
                problem.limits
            ),
        }
    }
    assert!(
        solved > 100 && refused > 50,
        "{solved} solved, {refused} refused"
    );
}

/// Whether any set of experts that keeps to its limits keeps to the budgets as well.
fn is_feasible(problem: &Problem) -> bool {
    let pairs = Pairs::of(problem);
    let experts = problem.params_b.len();
    (1_u32..1 << experts).any(|set| {
        let set: Vec<usize> = (0..experts).filter(|e| set >> e & 1 == 1).collect();
        problem.keeps_experts(&set)
            && knapsack::solve(
                &pairs,
                &set,
                f64::NEG_INFINITY,
                &mut Work::new(problem, Effort::Near),
            )
            .is_some()
    })
}

#[test]
fn an_answer_is_found_wherever_there_is_one_and_keeps_to_the_limits() {
    let mut solved = 0;
    for seed in 0..120 {
        // Few pairs are allowed and budgets are tight, so that few sets of experts will do.
        let mut problem = limited(random(seed, 9, 20), seed);
        let mut draw = SmallRng::seed_from_u64(seed);
        problem
            .allowed
            .map_inplace(|allowed| *allowed &= draw.random::<f64>() < 0.6);
        problem.limits.experts = Some(3 + usize::try_from(seed % 3).unwrap());
        let feasible = is_feasible(&problem);
        for effort in [Effort::Near, Effort::Exact] {
            let found = solve(&problem, effort);
            assert_eq!(
                found.is_ok(),
                feasible,
                "seed {seed}: {found:?} {:?}",
                problem.limits
            );
            if let Ok(found) = found {
                solved += 1;
                assert!(keeps(&problem, &found.expert_of), "seed {seed}");
            }
        }
    }
    assert!((20..220).contains(&solved), "{solved}");
}

#[test]
fn limits_on_the_set_of_experts_and_budgets_are_proven_together() {
    const SIZES_B: [f64; 10] = [1.5, 3.0, 7.0, 8.0, 14.0, 27.0, 32.0, 70.0, 72.0, 123.0];
    let (experts, categories) = (30, 100);
    for seed in 0..4 {
        let mut draw = SmallRng::seed_from_u64(seed);
        let skill: Vec<f64> = (0..experts).map(|_| 0.3 * draw.random::<f64>()).collect();
        let problem = Problem {
            weights: vec![1.0 / categories as f64; categories],
            score: Array2::from_shape_fn((experts, categories), |(e, _)| {
                skill[e] + 0.25 * draw.random::<f64>()
            }),
            params_b: (0..experts)
                .map(|e| SIZES_B[e % SIZES_B.len()] * (1.0 + e as f64 / 1e3))
                .collect(),
            usd: Some(Array2::zeros((experts, categories))),
            allowed: Array2::from_elem((experts, categories), true),
            limits: Limits {
                resident_b: Some(100.0),
                active_b: Some(10.0),
                ..Limits::default()
            },
        };
        let found = solve(&problem, Effort::Exact).unwrap();
        assert!(keeps(&problem, &found.expert_of), "seed {seed}");
        assert!(found.gap < 2.0 * TIE, "seed {seed}: {}", found.gap);
        assert_eq!(Ok(found), solve(&problem, Effort::Exact), "seed {seed}");
    }
}

#[test]
fn of_equal_scores_the_cheaper_expert_is_taken() {
    let mut problem = random(1, 3, 4);
    problem.score.fill(0.5);
    problem.allowed.fill(true);
    problem.params_b = vec![7.0, 3.0, 3.0];
    problem.usd = None;
    let found = solve(&problem, Effort::Exact).unwrap();
    assert_eq!(found.expert_of, [1; 4], "the first of the small ones");
    problem.limits.experts = Some(1);
    problem.allowed[[1, 2]] = false;
    assert_eq!(solve(&problem, Effort::Exact).unwrap().expert_of, [2; 4]);
}

#[test]
fn an_expert_of_unknown_size_is_not_used_within_a_budget_of_size() {
    let mut problem = random(3, 2, 2);
    problem.allowed.fill(true);
    problem.score = Array2::from_shape_fn((2, 2), |(e, _)| e as f64);
    problem.params_b = vec![7.0, f64::INFINITY];
    assert_eq!(solve(&problem, Effort::Exact).unwrap().expert_of, [1, 1]);
    problem.limits.active_b = Some(100.0);
    assert_eq!(solve(&problem, Effort::Exact).unwrap().expert_of, [0, 0]);
    problem.limits.usd = Some(100.0);
    problem.usd = None;
    let refused = solve(&problem, Effort::Exact);
    assert_eq!(refused, Err(Infeasible::NoExpert { category: 0 }));
}

#[test]
fn a_refusal_names_the_least_that_the_limit_must_be() {
    let mut told = [0; 5];
    for seed in 0..300 {
        let mut problem = limited(random(seed, 4, 5), seed);
        let Err(reason) = solve(&problem, Effort::Exact) else {
            continue;
        };
        let limits = problem.limits;
        // With exactly what was told, and limits after it let be, there is an answer.
        match reason {
            Infeasible::NoExpert { category } => {
                told[0] += 1;
                assert!(
                    problem
                        .allowed
                        .column(category)
                        .iter()
                        .all(|allowed| !allowed)
                );
                continue;
            }
            Infeasible::Experts { least } => {
                told[1] += 1;
                problem.limits = Limits {
                    experts: Some(least),
                    ..Limits::default()
                };
                assert!(limits.experts.unwrap() < least);
            }
            Infeasible::Resident { least_b } => {
                told[2] += 1;
                problem.limits = Limits {
                    resident_b: Some(least_b),
                    experts: limits.experts,
                    ..Limits::default()
                };
                assert!(limits.resident_b.unwrap() < least_b);
            }
            Infeasible::Active { least_b } => {
                told[3] += 1;
                problem.limits = Limits {
                    active_b: Some(least_b),
                    usd: None,
                    ..limits
                };
                assert!(limits.active_b.unwrap() < least_b);
            }
            Infeasible::Usd { least } => {
                told[4] += 1;
                problem.limits = Limits {
                    usd: Some(least),
                    ..limits
                };
                assert!(limits.usd.unwrap() < least);
            }
        }
        assert!(
            solve(&problem, Effort::Exact).is_ok(),
            "seed {seed}: {reason:?}"
        );
    }
    assert!(told.iter().all(|times| *times > 0), "{told:?}");
}

#[test]
fn the_least_of_millionths_of_a_dollar_is_not_that_of_the_smaller_expert() {
    let problem = Problem {
        weights: vec![1.0],
        score: ndarray::array![[0.5], [0.5]],
        params_b: vec![70.0, 1.0],
        usd: Some(ndarray::array![[1e-7], [5e-7]]),
        allowed: Array2::from_elem((2, 1), true),
        limits: Limits {
            usd: Some(5e-8),
            ..Limits::default()
        },
    };
    let Err(Infeasible::Usd { least }) = solve(&problem, Effort::Exact) else {
        panic!("it is feasible, or fails otherwise");
    };
    assert!((least - 1e-7).abs() < 1e-15, "{least}");
}
