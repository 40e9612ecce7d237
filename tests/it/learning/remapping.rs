//! An expert that takes over a category in the mapping.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use super::{House, KEYS, KNOWN_WORDS, WORDS};

#[tokio::test(flavor = "multi_thread")]
async fn an_expert_that_does_better_takes_over_its_category_in_the_mapping_of_a_running_server() {
    let house = House::with_two_experts().await;
    // Of so many each expert has the twenty rewards that a proposal needs, however the draws fall.
    for at in 0..180 {
        for (name, words) in WORDS {
            let known = &words[..KNOWN_WORDS];
            let (one, other) = (known[at % KNOWN_WORDS], known[at / 5 % KNOWN_WORDS]);
            let question = format!("Tell me of {one} and {other}, number {at} once more");
            house.teach(at % KEYS, &question, name).await;
        }
    }
    let file = house.folder.path().join("mapping.yaml");
    let before = fs::read_to_string(&file).unwrap();
    let dry = house.coterie.printed(&["retrain", "--dry-run"]);
    assert_eq!(dry["mapping"]["passed"], true, "{dry:#}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);

    // A file that no program can change is left alone, and what became of the router is told all the same.
    let by_hand = "{ default: only, baking: only, explore: 50% }\n";
    fs::write(&file, by_hand).unwrap();
    let failed = house.coterie.run(&["retrain", "--json"]);
    assert_eq!(failed.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert!(told["promoted"].is_boolean(), "{told:#}");
    assert!(told["mapping_error"].is_string(), "{told:#}");
    assert_eq!(fs::read_to_string(&file).unwrap(), by_hand);
    fs::write(&file, &before).unwrap();

    let done = house.coterie.printed(&["retrain"]);
    assert_eq!(done["mapping"]["promoted"], true, "{done:#}");
    let changes = done["mapping"]["changes"].as_array().unwrap();
    let baking = changes.iter().find(|change| change["category"] == "baking");
    assert_eq!(baking.unwrap()["to"], "other", "{changes:#?}");
    let after = fs::read_to_string(&file).unwrap();
    assert!(
        after.starts_with(
            "# by hand\ndefault: only\nbaking: { expert: other, fallbacks: [only] }\nexplore: 50%\n"
        ),
        "{after}"
    );
    let folder = Path::new(done["folder"].as_str().unwrap());
    let kept = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(
        (kept("mapping.before.yaml"), kept("mapping.yaml")),
        (before, after)
    );
    assert!(kept("report.md").contains("| baking | only |"));
    assert!(house.coterie.run(&["check"]).status.success());
    house.coterie.look_at_mapping();
    for tries in 0.. {
        let told = house.route("Tell me of dough and yeast").await;
        if told["expert"] == "other" {
            break;
        }
        assert!(tries < 1000, "{told:#}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    house.coterie.stop().await;
}
