//! What an answer, and a day, may cost.

use super::*;

#[test]
fn an_expert_over_the_budget_is_passed_over() {
    let easy = demand(1_000, &[Capability::Chat]);
    assert!((mapping(None).usd_estimate(&ExpertId::new("large"), &easy) - 0.2).abs() < 1e-9);
    assert_eq!(order(&mapping(Some(0.1)), "coding", &easy), ["middle"]);
    assert_eq!(
        order(&mapping(Some(0.2)), "coding", &easy),
        ["large", "middle"]
    );
}

#[test]
fn a_budget_that_nobody_who_can_keeps_is_refused() {
    let tools = demand(1_000, &[Capability::Chat, Capability::Tools]);
    let over = mapping(Some(0.1))
        .choose(&wanted(None, &tools))
        .unwrap_err();
    let OverBudget::Question { usd_estimate, .. } = over else {
        panic!("{over}");
    };
    assert!((usd_estimate - 0.2).abs() < 1e-9);
    assert_eq!(order(&mapping(Some(0.2)), "legal", &tools), ["large"]);
}

#[test]
fn what_would_exceed_the_day_goes_to_cheaper_experts() {
    let config = MappingConfig {
        usd_per_day_max: Some(1.0),
        ..config()
    };
    let mapping = Mapping::new(config, &experts(), None);
    let demand = demand(0, &[Capability::Chat]);
    let spent = |usd_spent| {
        let wanted = Wanted {
            today: Today {
                usd_spent,
                ends_in: Duration::from_secs(60),
            },
            ..wanted(None, &demand)
        };
        let category = coding();
        let wanted = Wanted {
            category: Some(&category),
            ..wanted
        };
        let choice = mapping.choose(&wanted).unwrap();
        everyone(&choice).join(" ")
    };
    assert_eq!(spent(0.5), "large middle small");
    assert_eq!(spent(0.95), "middle small");
    assert_eq!(spent(5.0), "small", "what costs nothing may always answer");
    let estimate = mapping.choose(&wanted(Some(&coding()), &demand)).unwrap();
    assert!(
        (estimate.usd_estimate - 0.1).abs() < 1e-9,
        "the dearest of those who may be asked"
    );
}

#[test]
fn a_day_that_nobody_who_can_keeps_is_refused_until_it_is_over() {
    let config = MappingConfig {
        usd_per_day_max: Some(1.0),
        ..config()
    };
    let mapping = Mapping::new(config, &experts(), None);
    let tools = demand(0, &[Capability::Chat, Capability::Tools]);
    let today = Today {
        usd_spent: 0.95,
        ends_in: Duration::from_secs(60),
    };
    let wanted = Wanted {
        today,
        ..wanted(None, &tools)
    };
    let over = mapping.choose(&wanted).unwrap_err();
    assert!(
        matches!(over, OverBudget::Day { resets_in, .. } if resets_in == today.ends_in),
        "{over}"
    );
    let named = mapping.named(ExpertId::new("large"), &tools, today);
    assert!(matches!(named, Err(OverBudget::Day { .. })));
    assert!(
        mapping
            .named(ExpertId::new("middle"), &tools, today)
            .is_ok()
    );
    assert_eq!(
        mapping.listed(Some(&coding()), today),
        ["middle", "small"].map(ExpertId::new)
    );
}
