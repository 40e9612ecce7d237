use super::*;
use crate::{
    config::{self, Config, Environment, Exposure},
    learning::{
        served::{Said, Voice},
        share::CLIENT_SHARE_MAX,
    },
};

const MAPPING: &str = "# fitted in May\ndefault: general\ncoding: { expert: old, fallbacks: [general] } # the old one\n\
                       math:\n  expert: old\n  fallbacks: [general]\nbudget:\n  usd_per_day: 5\n";

/// Three experts, and a mapping in a file of its own.
fn house(mapping: &str) -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mapping.yaml");
    std::fs::write(&file, mapping).unwrap();
    let expert = |name: &str| {
        format!(
            "  {name}: {{ kind: remote, base_url: 'http://127.0.0.1:9/v1', model: m, usd_in: 1, usd_out: 1 }}\n"
        )
    };
    let experts: String = ["general", "old", "new"].map(expert).concat();
    let yaml = format!(
        "experts:\n{experts}mapping: {{ file: '{}' }}\n",
        file.display()
    );
    let path = folder.path().join("coterie.yaml");
    std::fs::write(&path, yaml).unwrap();
    let environment = Environment::from_process();
    let config = config::load(Some(&path), &environment, Exposure::Insecure).unwrap();
    (folder, config)
}

fn id(name: &str) -> ExpertId {
    ExpertId::new(name)
}

/// So many questions of a category, a fifth of them tried out with `new`; how often both are right.
fn served(category: &str, rows: usize, right: [f64; 2]) -> Vec<Served> {
    let mut debts = [0.0, 0.0];
    (0..rows)
        .map(|at| {
            let is_tried = at % 5 == 0;
            let (expert, other) = if is_tried {
                ("new", "old")
            } else {
                ("old", "new")
            };
            let debt = &mut debts[usize::from(is_tried)];
            *debt += right[usize::from(is_tried)];
            let is_right = *debt >= 1.0;
            *debt -= f64::from(u8::from(is_right));
            Served {
                outcome_id: format!("{category}-{at:05}"),
                asked_at_ms: at as i64,
                category: Some(CategoryId::new(category)),
                fallbacks: vec![id(other)],
                propensity: Some(if is_tried { 0.2 } else { 0.8 }),
                explored: is_tried,
                others: vec![id("new")],
                said: vec![Said {
                    by: Voice::default(),
                    score: Some(f64::from(u8::from(is_right))),
                    expert: None,
                }],
                ..Served::example(expert)
            }
        })
        .collect()
}

fn remapped(served: &[Served], config: &Config) -> Remapped {
    let experts = ["general", "old", "new"].map(id);
    let open = |mapping| crate::composition::open_mapping(mapping, &config.experts);
    let rules = Rules {
        implicit: Implicit::Counts,
        client_share_max: CLIENT_SHARE_MAX,
    };
    remap(served, &config.mapping, &experts, open, rules)
}

/// Who asked each: of eight the first three in ten questions.
fn by_clients(mut served: Vec<Served>) -> Vec<Served> {
    for (at, outcome) in served.iter_mut().enumerate() {
        // Fives have one question each that was tried out.
        let client = match at / 5 % 10 {
            0..=2 => 0,
            other => other - 2,
        };
        outcome.client = Some(format!("client-{client}"));
    }
    served
}

fn both(coding: [f64; 2], math: [f64; 2]) -> Vec<Served> {
    let mut all = [served("coding", 2000, coding), served("math", 2000, math)].concat();
    all.sort_by_key(|outcome| outcome.asked_at_ms);
    all
}

#[test]
fn who_does_better_takes_over_and_only_there() {
    let (_folder, config) = house(MAPPING);
    let found = remapped(&both([0.5, 0.8], [0.8, 0.5]), &config);
    assert!(found.passed, "{}", found.reason);
    let [change] = &found.changes[..] else {
        panic!("{:?}", found.changes)
    };
    assert_eq!(change.category.as_str(), "coding");
    assert_eq!((&change.from, &change.to), (&id("old"), &id("new")));
    let difference = found.difference.unwrap();
    // Half of the questions gain 0.3.
    assert!((difference.value - 0.15).abs() < 0.03, "{difference:?}");
}

#[test]
fn who_does_better_for_every_client_takes_over() {
    let (_folder, config) = house(MAPPING);
    let found = remapped(&by_clients(served("coding", 4000, [0.5, 0.8])), &config);
    assert!(found.passed, "{}", found.reason);
    let without = found.without_client.unwrap();
    assert!(without.difference.unwrap().low > 0.0, "{without:?}");
}

#[test]
fn one_clients_scores_change_nothing() {
    let (_folder, config) = house(MAPPING);
    let mut all = by_clients(served("coding", 4000, [0.7, 0.7]));
    // Three questions in ten are the liar's, who says that the old one is never right and the new one always.
    let liar = Some("client-0".to_owned());
    for outcome in all.iter_mut().filter(|outcome| outcome.client == liar) {
        outcome.said[0].score = Some(f64::from(u8::from(outcome.explored)));
    }
    let found = remapped(&all, &config);
    assert_eq!(found.changes.len(), 1, "it is proposed");
    assert!(found.difference.unwrap().low > 0.0, "{}", found.reason);
    assert_eq!(found.without_client.unwrap().client, liar);
    assert!(!found.passed, "{}", found.reason);
    assert!(found.reason.contains("client-0"), "{}", found.reason);
}

#[test]
fn who_is_as_good_does_not_take_over() {
    let (_folder, config) = house(MAPPING);
    let found = remapped(&both([0.7, 0.7], [0.6, 0.6]), &config);
    assert!(!found.passed && found.changes.is_empty(), "{found:?}");
}

#[test]
fn what_was_better_once_and_is_not_any_more_is_refused() {
    let (_folder, config) = house(MAPPING);
    let mut all = served("coding", 1000, [0.5, 0.8]);
    let mut later = served("coding", 1000, [0.8, 0.5]);
    for outcome in &mut later {
        outcome.asked_at_ms += 1000;
        outcome.outcome_id.push('b');
    }
    all.extend(later);
    let found = remapped(&all, &config);
    assert_eq!(found.changes.len(), 1);
    assert!(!found.passed, "{}", found.reason);
}

#[test]
fn what_one_category_gains_hides_nothing_that_another_loses() {
    let (_folder, config) = house(MAPPING);
    // In `coding` much is gained, before and after; in `math` what was gained once is lost later.
    let mut all = both([0.2, 0.9], [0.5, 0.8]);
    let mut later = both([0.2, 0.9], [0.8, 0.4]);
    for outcome in &mut later {
        outcome.asked_at_ms += 2000;
        outcome.outcome_id.push('b');
    }
    all.extend(later);
    let found = remapped(&all, &config);
    assert_eq!(found.changes.len(), 2, "{found:?}");
    assert!(found.difference.unwrap().low > 0.0, "{found:?}");
    assert!(!found.passed, "{}", found.reason);
    assert!(
        found.reason.contains("`math` would be worse"),
        "{}",
        found.reason
    );
}

#[test]
fn nothing_speaks_for_another_mapping_where_nothing_was_tried_out() {
    let (_folder, config) = house(MAPPING);
    let mut all = served("coding", 400, [0.5, 0.5]);
    all.retain(|outcome| !outcome.explored);
    assert!(!remapped(&all, &config).passed);
    assert!(!remapped(&[], &config).passed);
}

#[test]
fn the_file_keeps_what_is_not_changed() {
    let (folder, config) = house(MAPPING);
    let change = |category: &str| Change {
        category: CategoryId::new(category),
        from: id("old"),
        to: id("new"),
        rewards: [0.5, 0.8],
        rows: [100.0, 100.0],
        difference: None,
    };
    let changes = [change("coding"), change("math"), change("legal")];
    let wanted = proposed(&config.mapping, &changes);
    let text = edited(MAPPING, &changes, (&config.mapping_source, &wanted)).unwrap();
    assert_eq!(
        text,
        "# fitted in May\ndefault: general\ncoding: { expert: new, fallbacks: [old, general] }\n\
         math: { expert: new, fallbacks: [old, general] }\nbudget:\n  usd_per_day: 5\nlegal: { expert: new, fallbacks: [old] }\n"
    );
    std::fs::write(folder.path().join("mapping.yaml"), &text).unwrap();
    let again = config::load(
        Some(&folder.path().join("coterie.yaml")),
        &Environment::from_process(),
        Exposure::Insecure,
    );
    assert_eq!(again.unwrap().mapping.categories, wanted.categories);
}

#[test]
fn a_file_that_is_written_in_another_way_is_left_alone() {
    let flow = "{ default: general, coding: { expert: old, fallbacks: [general] } }\n";
    let (_folder, config) = house(flow);
    let changes = [Change {
        category: CategoryId::new("coding"),
        from: id("old"),
        to: id("new"),
        rewards: [0.5, 0.8],
        rows: [100.0, 100.0],
        difference: None,
    }];
    let wanted = proposed(&config.mapping, &changes);
    assert!(edited(flow, &changes, (&config.mapping_source, &wanted)).is_err());
}
