//! Exploration: who is asked instead, how probably, and never against a limit.

use super::*;
use crate::mapping::explore::{Policy, Tally};

fn exploring(share: f64, policy: Policy, more: MappingConfig) -> Mapping {
    let config = MappingConfig {
        explore: Explore::new(share, policy),
        ..more
    };
    Mapping::new(config, &experts(), None)
}

fn drawn(mapping: &Mapping, demand: &Demand, unit: f64) -> Choice {
    let category = coding();
    let wanted = Wanted {
        chance: Chance::Drawn(unit),
        ..wanted(Some(&category), demand)
    };
    mapping.choose(&wanted).unwrap()
}

#[track_caller]
fn assert_propensity(choice: &Choice, propensity: f64) {
    assert!((choice.propensity - propensity).abs() < 1e-12, "{choice:?}");
}

#[test]
fn another_expert_goes_first_and_the_mappings_own_follows() {
    let mapping = exploring(0.1, Policy::Uniform, config());
    let own = drawn(&mapping, &easy(), 0.5);
    assert_eq!(everyone(&own), ["large", "middle", "small"]);
    assert_propensity(&own, 0.9);
    assert!(!own.grounds.explored);
    for (unit, order) in [
        (0.0, ["middle", "large", "small"]),
        (0.07, ["small", "large", "middle"]),
    ] {
        let other = drawn(&mapping, &easy(), unit);
        assert_eq!(everyone(&other), order);
        assert_propensity(&other, 0.05);
        assert!(other.grounds.explored);
        let others: Vec<_> = other.grounds.others.iter().map(ExpertId::as_str).collect();
        assert_eq!(others, ["middle", "small"]);
    }
}

#[test]
fn a_dry_run_tells_the_propensity_and_tries_nothing() {
    let mapping = exploring(0.1, Policy::Uniform, config());
    let (category, demand) = (coding(), easy());
    let told = |chance| {
        let wanted = Wanted {
            chance,
            ..wanted(Some(&category), &demand)
        };
        mapping.choose(&wanted).unwrap()
    };
    assert_eq!(everyone(&told(Chance::Told)), ["large", "middle", "small"]);
    assert_propensity(&told(Chance::Told), 0.9);
    assert_propensity(&told(Chance::None), 1.0);
    assert!(told(Chance::None).grounds.others.is_empty());
}

#[test]
fn who_cannot_or_may_not_answer_is_never_tried() {
    let dear = MappingConfig {
        default: ExpertId::new("small"),
        default_fallbacks: Vec::new(),
        categories: Vec::new(),
        usd_per_question_max: Some(0.01),
        ..config()
    };
    let budgeted = exploring(1.0, Policy::Uniform, dear);
    let other = drawn(&budgeted, &easy(), 0.99);
    assert_eq!(everyone(&other), ["middle", "small"], "`large` is too dear");
    assert_propensity(&other, 1.0);
    assert!(other.usd_estimate > 0.0, "what is tried out is reserved");

    let mapping = exploring(1.0, Policy::Uniform, config());
    let tools = demand(10, &[Capability::Chat, Capability::Tools]);
    let alone = drawn(&mapping, &tools, 0.0);
    assert_eq!(everyone(&alone), ["large"], "nobody else knows tools");
    assert_propensity(&alone, 1.0);
    assert!(!alone.grounds.explored);

    let (category, demand) = (coding(), easy());
    let rest = [Resting {
        expert: ExpertId::new("middle"),
        retry_in: Duration::from_secs(1),
    }];
    let wanted = Wanted {
        chance: Chance::Drawn(0.0),
        resting: &rest,
        ..wanted(Some(&category), &demand)
    };
    let other = mapping.choose(&wanted).unwrap();
    assert_eq!(everyone(&other), ["small", "large", "middle"]);
}

#[test]
fn a_cascades_question_is_left_alone() {
    let cascade = CascadeConfig {
        first: ExpertId::new("small"),
        accept: Accept {
            code_parses: true,
            ..Accept::default()
        },
        within: Duration::from_secs(1),
    };
    let config = MappingConfig {
        cascades: vec![(coding(), cascade)],
        ..config()
    };
    let mapping = exploring(1.0, Policy::Uniform, config);
    let choice = drawn(&mapping, &easy(), 0.0);
    assert_eq!(choice.expert.as_str(), "large");
    assert!(choice.grounds.cascade.is_some() && !choice.grounds.explored);
    assert_propensity(&choice, 1.0);
}

#[test]
fn thompson_sampling_asks_those_of_the_category_that_are_known_to_be_good() {
    let mapping = exploring(0.5, Policy::Thompson, config());
    let tally = |rewards| Tally {
        rewards,
        rows: 1_000.0,
    };
    let known = |category: CategoryId| {
        let cells = HashMap::from([
            ((category.clone(), ExpertId::new("middle")), tally(100.0)),
            ((category, ExpertId::new("small")), tally(900.0)),
        ]);
        Posteriors::of(&cells)
    };
    let (category, demand) = (coding(), easy());
    let first = |posteriors: &Posteriors| {
        let wanted = Wanted {
            chance: Chance::Drawn(0.06),
            posteriors,
            ..wanted(Some(&category), &demand)
        };
        mapping.choose(&wanted).unwrap()
    };
    let choice = first(&known(coding()));
    assert_eq!(choice.expert.as_str(), "small");
    assert!((choice.propensity - 0.5 * 0.9).abs() < 1e-9);
    let elsewhere = first(&known(CategoryId::new("legal")));
    assert_eq!(elsewhere.expert.as_str(), "middle", "nothing is known");
    assert!((elsewhere.propensity - 0.25).abs() < 1e-9);
}

#[test]
fn exploration_is_part_of_what_a_mapping_says() {
    let id = |share, policy| exploring(share, policy, config()).id().clone();
    let plain = Mapping::new(config(), &experts(), None).id().clone();
    let ids = [
        plain,
        id(0.1, Policy::Uniform),
        id(0.2, Policy::Uniform),
        id(0.1, Policy::Thompson),
    ];
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}
