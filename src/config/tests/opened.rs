//! What a server opens at its start, and `check` looks into.

use std::{fs, time::Duration};

use super::house::House;

/// The mistakes of a configuration with these keys of `router`, in a house whose library is one.
fn mistakes(house: &House, router: &str) -> Vec<String> {
    house.write("store/onnxruntime/libonnxruntime.so", "\u{7f}ELF");
    let here = house.path("").display().to_string();
    let text = format!(
        "router: {{ routes: ROUTES, artefacts: HERE/data/routers, {router} }}\n\
         store: {{ url: 'sqlite://HERE/data/coterie.db' }}\n"
    );
    let text = text.replace("HERE/", &here);
    house.config(&text).mistakes_to_serve()
}

fn store(house: &House, path: &str) -> Vec<String> {
    house.write("store/onnxruntime/libonnxruntime.so", "\u{7f}ELF");
    let path = house.path(path).display().to_string();
    house
        .config(&format!("store: {{ url: 'sqlite://{path}' }}"))
        .mistakes_to_serve()
}

#[test]
fn what_cannot_be_opened_is_told_with_its_key_and_nothing_is_made() {
    let house = House::new();
    house.write("plain", "no router");
    fs::create_dir(house.path("empty")).unwrap();
    for (router, expected) in [
        (
            "artefact: HERE/nope",
            "there is no router in `nope`; name a folder that",
        ),
        (
            "artefact: HERE/empty",
            "there is no router in `empty`; name a folder that",
        ),
        (
            "static_encoder: HERE/nope",
            "the static encoder in `nope` cannot be used: ",
        ),
        (
            "encoder: { runtime: HERE/plain }",
            "the ONNX Runtime library `plain` is no library; ",
        ),
    ] {
        let found = mistakes(&house, router);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("coterie.yaml:1:") && found[0].contains(expected),
            "{found:?}"
        );
    }
    assert_eq!(mistakes(&house, "guard: off"), [""; 0]);
    assert!(!house.path("data").exists());
}

#[test]
fn a_plain_file_holds_no_trained_routers() {
    let house = House::new();
    house.write("plain", "no folder");
    house.write("store/onnxruntime/libonnxruntime.so", "\u{7f}ELF");
    let path = house.path("plain").display().to_string();
    let found = house
        .config(&format!(
            "router: {{ routes: ROUTES, artefacts: '{path}' }}"
        ))
        .mistakes_to_serve();
    let expected = ": the folder `plain` cannot be made: `plain` is no folder; name a folder for trained routers";
    assert!(
        found.len() == 1 && found[0].starts_with("coterie.yaml:1:") && found[0].contains(expected),
        "{found:?}"
    );
}

#[test]
fn a_store_is_a_database_or_a_place_for_one() {
    let house = House::new();
    house.write("plain", "no database at all, but text");
    house.write("new.db", "");
    house.write("old.db", "SQLite format 3\0 and more");
    for (path, expected) in [
        ("plain", "the store `plain` is no SQLite database; name"),
        (
            "plain/x.db",
            "the store `plain/x.db` cannot be made: `plain` is no folder; name",
        ),
        ("store", "the store `store` is a folder; name"),
    ] {
        let found = store(&house, path);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
    for path in ["new.db", "old.db", "data/deep/coterie.db"] {
        assert_eq!(store(&house, path), [""; 0]);
    }
    assert!(!house.path("data").exists());
}

#[test]
fn a_damaged_blend_is_told_and_none_is_fine() {
    let house = House::new();
    house.write("blend.json", "{}");
    let of = |blend: &str| {
        let router = format!("instruction: {{ expert: general, blend: HERE/{blend} }}");
        mistakes(&house, &router)
    };
    let found = of("blend.json");
    assert!(
        found.len() == 1 && found[0].contains("the blend `blend.json` is damaged"),
        "{found:?}"
    );
    assert_eq!(of("none.json"), [""; 0]);
}

#[test]
fn an_expert_of_the_last_tier_has_the_time_that_its_kind_needs() {
    let house = House::new();
    let within = |expert: &str| {
        let text = format!("router: {{ routes: ROUTES, instruction: {{ expert: {expert} }} }}\n");
        let config = house.config(&text).load();
        config.unwrap().router.instruction.unwrap().within
    };
    assert_eq!(within("gpt"), Duration::from_millis(300));
    assert_eq!(within("general"), Duration::from_secs(5));
}
