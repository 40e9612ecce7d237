//! `mapping.explore`.

use super::house::{House, assert_mistakes};
use crate::mapping::{Explore, explore::Policy};

fn explore(written: &str) -> Option<Explore> {
    let house = House::new();
    house.config(&format!(
        "mapping: {{ default: general, explore: {written} }}"
    ));
    house.load().unwrap().mapping.explore
}

#[test]
fn a_share_alone_is_uniform() {
    for written in [
        "2%",
        "0.02",
        "{ share: 2% }",
        "{ share: 0.02, policy: uniform }",
    ] {
        assert_eq!(
            explore(written),
            Explore::new(0.02, Policy::Uniform),
            "{written}"
        );
    }
    let thompson = explore("{ share: 100%, policy: thompson }");
    assert_eq!(thompson, Explore::new(1.0, Policy::Thompson));
    let house = House::new();
    assert_eq!(house.config("").load().unwrap().mapping.explore, None);
}

#[test]
fn what_is_no_share_is_told_with_its_place() {
    let help = "write a number between 0 and 1, or a share such as `2%`";
    for (written, mistake) in [
        ("200%", format!("1:39: `explore` is `200%`; {help}")),
        ("often", format!("1:39: `explore` is `often`; {help}")),
        ("{ share: -1% }", format!("1:48: `share` is `-1%`; {help}")),
        (
            "{ policy: uniform }",
            "1:30: `explore` lacks `share`; add it: the share of questions: a number between 0 and 1, or a share such as `2%`"
                .to_owned(),
        ),
    ] {
        assert_mistakes(
            &format!("mapping: {{ default: general, explore: {written} }}"),
            &[&format!("coterie.yaml:{mistake}")],
        );
    }
}

#[test]
fn the_house_explores_whatever_its_mappings_file_says() {
    let house = House::new();
    house.write("mapping.yaml", "default: general\nexplore: 50%\n");
    let file = house.path("mapping.yaml").display().to_string();
    house.config(&format!("mapping: {{ file: '{file}', explore: 2% }}"));
    let found = house.load().unwrap().mapping.explore;
    assert_eq!(found, Explore::new(0.02, Policy::Uniform));
}

#[test]
fn another_file_is_judged_as_if_it_were_named() {
    let house = House::new();
    house.write("sub/other.yaml", "default: gpt\nquality: q.safetensors\n");
    let config = house
        .config("mapping: { default: general }")
        .load()
        .unwrap();
    let file = house.path("sub/other.yaml");
    let mistakes = config.mapping_source.judge_file(&file).unwrap_err();
    let model = house.path("sub/q.safetensors").display().to_string();
    assert!(mistakes.to_string().contains(&model), "{mistakes}");
    house.write("sub/other.yaml", "default: gpt\n");
    let mapping = config.mapping_source.judge_file(&file).unwrap();
    assert_eq!(mapping.default.as_str(), "gpt");
}
