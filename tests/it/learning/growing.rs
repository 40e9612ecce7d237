//! A category that comes up: noticed, proposed and accepted.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{House, known_questions, of_the_night_sky};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_kind_of_question_is_noticed_proposed_and_accepted() {
    let house = House::with_strangers().await;
    house.ask(known_questions(1200)).await;
    let before = house.coterie.printed(&["drift"]);
    assert_eq!(before["alarms"], json!([]), "{before:#}");
    let confidence = &before["references"][0];
    assert_eq!(confidence["rows"], 1_000, "{before:#}");
    assert_eq!(before["router"], before["router_in_force"]);
    house.ask(of_the_night_sky(250)).await;

    let found = house.coterie.printed(&["drift"]);
    let alarms = found["alarms"].as_array().unwrap();
    assert!(!alarms.is_empty(), "{found:#}");
    let proposal = &found["proposals"][0];
    let example = proposal["examples"][0].as_str().unwrap();
    assert!(example.contains("look brighter"), "{found:#}");
    let text = |key: &str| found[key].as_str().unwrap();
    let digest = proposal["digest"].as_str().unwrap();

    // Whoever says nothing that is a name leaves that of the terms.
    let unnamed = house.coterie.run(&["drift", "--name-by", "only"]);
    let said = String::from_utf8_lossy(&unnamed.stderr).into_owned();
    assert!(said.contains("keeps the name of its terms"), "{said}");
    refuses(&house, "--name-by=nobody");
    refuses(&house, "--accept=nothing_like_that");
    refuses(&house, &format!("--accept={digest} --into=nothing"));
    let span = ["--since", text("since"), "--until", text("until")];
    let accept = ["--accept", digest, "--name-by", "namer", "--by", "ann"];
    let accepted = house
        .coterie
        .printed(&[&["drift"][..], &span, &accept].concat());
    let path = Path::new(accepted["accepted"].as_str().unwrap());
    assert_eq!(path.file_name().unwrap(), "night_sky.yaml");
    let route = fs::read_to_string(path).unwrap();
    assert!(route.contains("look brighter"), "{route}");
    assert!(route.contains("How bright things look."), "{route}");
    assert_eq!(accepted["labelled"], proposal["times"], "{accepted:#}");
    assert!(house.coterie.run(&["check"]).status.success());

    let again = [&["drift"][..], &span, &["--accept", digest, "--by", "ann"]].concat();
    is_gone_on_with_after_a_cut(&house, &again, &accepted).await;

    // What was accepted is not proposed again, and what is watched is the router that decided.
    let after = house.coterie.printed(&["drift"]);
    let proposals = after["proposals"].as_array().unwrap();
    assert!(proposals.iter().all(|it| it["digest"] != digest));
    assert_eq!(after["router"], found["router"], "{after:#}");
    assert_ne!(after["router_in_force"], found["router"], "{after:#}");
    assert_eq!(after["alarms"], found["alarms"]);
    let store = house.coterie.store().await;
    let evidence = store.evidence(10_000).await.unwrap().evidence;
    assert!(evidence.len() >= 15, "{} labels", evidence.len());
    assert_eq!(Some(evidence.len() as u64), proposal["times"].as_u64());
    let mut said = evidence.iter().map(|row| &row.statements[0].category);
    assert!(said.all(|category| category == "night_sky"));
    house.coterie.stop().await;
}

/// Had an accepting been cut off before the labels, the same command would go on, whatever name the route was given.
async fn is_gone_on_with_after_a_cut(house: &House, call: &[&str], accepted: &Value) {
    let path = accepted["accepted"].as_str().unwrap();
    let route = fs::read_to_string(path).unwrap();
    let store = house.coterie.store().await;
    let mut number = 1;
    while store.remove_label(number).await.unwrap() {
        number += 1;
    }
    assert!(store.evidence(10_000).await.unwrap().evidence.is_empty());
    let again = house.coterie.printed(call);
    assert_eq!(again["accepted"], accepted["accepted"], "{again:#}");
    assert_eq!(again["labelled"], accepted["labelled"], "{again:#}");
    assert_eq!(fs::read_to_string(path).unwrap(), route);
    assert!(house.coterie.run(&["check"]).status.success());
}

/// `coterie drift` with these arguments is wrong.
fn refuses(house: &House, arguments: &str) {
    let call = ["drift"].into_iter().chain(arguments.split(' '));
    let refused = house.coterie.run(&call.collect::<Vec<_>>());
    assert_eq!(refused.status.code(), Some(2), "{arguments}: {refused:?}");
}
