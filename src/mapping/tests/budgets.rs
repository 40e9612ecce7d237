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
fn a_named_expert_over_the_budget_is_refused_with_the_amount() {
    let easy = demand(1_000, &[Capability::Chat]);
    let named = |most| {
        let named = ExpertId::new("large");
        mapping(Some(most)).named(named, &easy, Today::default())
    };
    let over = named(0.1).unwrap_err();
    assert!(
        over.to_string().contains("about $0.200000")
            && over.to_string().contains("$0.100000 at most"),
        "{over}"
    );
    assert!(named(0.2).is_ok());
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
                client: None,
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
        client: None,
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

#[test]
fn a_clients_dollars_count_where_less_is_left_of_them() {
    let config = MappingConfig {
        usd_per_day_max: Some(1.0),
        ..config()
    };
    let (both, client_alone) = (
        Mapping::new(config, &experts(), None),
        Mapping::new(super::config(), &experts(), None),
    );
    let demand = demand(0, &[Capability::Chat, Capability::Tools]);
    let payer = |mapping: &Mapping, house, client| {
        let purse = Purse {
            usd_max: 1.0,
            usd_spent: client,
        };
        let today = Today {
            usd_spent: house,
            ends_in: Duration::from_secs(60),
            client: Some(purse),
        };
        let wanted = Wanted {
            today,
            ..wanted(None, &demand)
        };
        match mapping.choose(&wanted) {
            Ok(_) => None,
            Err(OverBudget::Day {
                payer, usd_left, ..
            }) => Some((payer, usd_left > 0.0)),
            Err(over) => panic!("{over}"),
        }
    };
    assert_eq!(payer(&both, 0.5, 0.5), None);
    assert_eq!(payer(&both, 0.5, 0.95), Some((Payer::Client, true)));
    assert_eq!(payer(&both, 0.5, 7.0), Some((Payer::Client, false)));
    assert_eq!(payer(&both, 0.95, 0.5), Some((Payer::House, true)));
    assert_eq!(payer(&client_alone, 7.0, 0.5), None);
    assert_eq!(payer(&client_alone, 0.0, 1.0), Some((Payer::Client, false)));
}
