//! Routes that change after a router was promoted.

use super::*;

/// A route that nobody has asked about yet.
fn write_a_new_route(house: &House) {
    let things = ["dog", "cat", "hamster", "parrot", "rabbit"];
    let examples: String = (0..20)
        .map(|at| {
            let (one, other) = (things[at % 5], things[(at / 5 + at + 1) % 5]);
            format!("  - 'Why does my {one} chase the {other} every night, part {at}?'\n")
        })
        .collect();
    let yaml = format!("description: Questions about pets.\nexamples:\n{examples}");
    fs::write(house.folder.path().join("routes/pets.yaml"), yaml).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_route_is_learnt_by_the_next_retraining_though_nobody_asked_about_it() {
    let house = House::new().await;
    let (_, first) = house.accuracy().await;
    house.teach_all(0, 250).await;
    assert_eq!(house.coterie.printed(&["retrain"])["promoted"], true);
    let second = house.router_other_than(&first).await;

    write_a_new_route(&house);
    // What an example of a route says counts, whatever a client says of the same text.
    let disputed = questions(0, 7, 1).next().unwrap();
    let sailing = house.folder.path().join("routes/sailing.yaml");
    let yaml = fs::read_to_string(&sailing).unwrap();
    fs::write(&sailing, format!("{yaml}  - '{disputed}'\n")).unwrap();

    let asked = house
        .coterie
        .run(&["route", "Why does my dog chase the cat?"]);
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(said.contains("the routes have changed"), "{said}");
    assert!(said.contains("pets"), "{said}");

    let learnt = house.coterie.printed(&["retrain"]);
    assert_eq!(learnt["promoted"], true, "{learnt:#}");
    assert_eq!(learnt["left_out"], 0);
    assert_eq!(learnt["account"]["contradicted"], 1);
    assert!(
        learnt["judged_by_stand_in"].as_u64() > Some(500),
        "{learnt:#}"
    );
    house.router_other_than(&second).await;
    let told = house
        .route("Why does my dog chase the cat every night?")
        .await;
    assert_eq!(told["scores"][0]["category"], "pets", "{told:#}");
    let told = house.route(&disputed).await;
    assert_eq!(told["scores"][0]["category"], "sailing", "{told:#}");
    house.coterie.stop().await;
}
