//! The mapping in a file of its own, and what else `mapping` may hold.

use std::time::Duration;

use super::house::{House, assert_mistakes};
use crate::{
    config::{Accept, Prefer, Preference},
    ids::{CategoryId, ExpertId},
};

const EXPERTS: &str = "
experts:
  general: { kind: local, model: models/small }
  gpt: { kind: remote, base_url: 'https://api.example.com/v1', model: big, usd_in: 1, usd_out: 2 }
";

/// A house whose mapping is in `mapping.yaml`, and what stands beside `file` in its configuration.
fn house(mapping: &str, beside: &str) -> House {
    let house = House::new();
    house.write("mapping.yaml", mapping);
    let file = house.path("mapping.yaml").display().to_string();
    house.config(&format!("{EXPERTS}mapping: {{ file: '{file}'{beside} }}\n"));
    house
}

#[test]
fn the_file_holds_what_would_stand_in_the_configuration() {
    let inline = House::new();
    let inline = inline.config(&format!(
        "{EXPERTS}mapping: {{ default: general, coding: gpt }}"
    ));
    let inline = inline.load().unwrap();
    let config = house("default: general\ncoding: gpt\n", "").load().unwrap();
    assert_eq!(
        format!("{:?}", config.mapping),
        format!("{:?}", inline.mapping)
    );
    assert!(inline.mapping_source.file().is_none());
    assert!(config.mapping_source.file().is_some());
}

#[test]
fn the_policy_of_the_house_wins_over_the_file() {
    let file = "default: general\nprefer: quality\nbudget: { usd_per_day: 9 }\n";
    let mapping = house(file, "").load().unwrap().mapping;
    assert_eq!(mapping.prefer, Prefer::Word(Preference::Quality));
    assert_eq!(mapping.prefer_allowed, [Preference::Quality]);
    assert_eq!(
        (mapping.usd_per_question_max, mapping.usd_per_day_max),
        (None, Some(9.0))
    );
    let beside = ", prefer: 0.5, prefer_allowed: [economy], budget: { usd_per_question: 1 }";
    let mapping = house(file, beside).load().unwrap().mapping;
    assert_eq!(mapping.prefer, Prefer::CostWeight(0.5));
    assert_eq!(mapping.prefer_allowed, [Preference::Economy]);
    assert_eq!(
        (mapping.usd_per_question_max, mapping.usd_per_day_max),
        (Some(1.0), None)
    );
}

#[test]
fn a_file_is_judged_again_by_the_same_checks() {
    let config = house("default: general\n", "").load().unwrap();
    let source = &config.mapping_source;
    let mapping = source.judge(b"default: general\ncoding: gpt\n").unwrap();
    let coding = mapping.assigned(&CategoryId::new("coding")).unwrap();
    assert_eq!(coding.expert, ExpertId::new("gpt"));
    for (text, mistake) in [
        (
            "default: generl\n",
            "mapping.yaml:1:10: there is no expert `generl`; did you mean `general`?",
        ),
        (
            "default: general\ncodng: gpt\n",
            "mapping.yaml:2:1: no route describes the category `codng`; did you mean `coding`?",
        ),
        (
            "default: general\ncoding: { expert: ",
            "the YAML cannot be read",
        ),
        ("", "mapping.yaml:1:1: the file says nothing"),
        (
            "coding: gpt\n",
            "mapping.yaml:1:1: the file lacks `default`; add it: the expert that answers what no category covers",
        ),
    ] {
        let mistakes = source.judge(text.as_bytes()).unwrap_err().to_string();
        assert!(mistakes.contains(mistake), "{mistakes}");
    }
}

#[test]
fn mistakes_are_told_where_they_are() {
    let house = house(
        "default: general\nfile: other.yaml\nquality: q.safetensors\n",
        ", coding: gpt",
    );
    let mistakes = house.mistakes();
    let expected = [
        "coterie.yaml:4:",
        "mapping.yaml:2:1: a mapping's file names another `file`; write the mapping here",
        "mapping.yaml:3:10: the quality model `q.safetensors` cannot be read: No such file or directory (os error 2); put \
         it there, or take `quality` out: the mapping then goes by categories alone",
    ];
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    assert!(
        mistakes[0].starts_with(expected[0])
            && mistakes[0].contains("`coding` stands beside `file`")
    );
    assert_eq!(mistakes[1..], expected[1..]);
    assert_mistakes(
        "mapping: { file: nowhere.yaml }",
        &[
            "coterie.yaml:1:18: the mapping `nowhere.yaml` cannot be read: No such file or directory (os error 2); \
           `coterie map fit --out` writes one",
        ],
    );
}

#[test]
fn words_and_numbers_that_cannot_be_preferred() {
    for (written, mistake) in [
        (
            "fast",
            "coterie.yaml:1:38: `prefer` cannot be `fast`; known here: `quality`, `balanced` and `economy`",
        ),
        (
            "-1",
            "coterie.yaml:1:38: `prefer` is -1; it must be at least 0",
        ),
        (
            "[economy]",
            "coterie.yaml:1:38: `prefer` must be `quality`, `balanced` or `economy` or a number, not a list",
        ),
    ] {
        assert_mistakes(
            &format!("mapping: {{ default: general, prefer: {written} }}"),
            &[mistake],
        );
    }
}

#[test]
fn the_default_expert_may_have_fallbacks() {
    let file = "default: { expert: general, fallbacks: [gpt] }\ncoding: gpt\n";
    let mapping = house(file, "").load().unwrap().mapping;
    assert_eq!(mapping.default.as_str(), "general");
    assert_eq!(mapping.default_fallbacks, [ExpertId::new("gpt")]);
    assert_mistakes(
        "mapping: { default: { expert: general, fallbacks: [general, gtp] } }",
        &[
            "coterie.yaml:1:52: `general` is asked already; name each expert once",
            "coterie.yaml:1:61: there is no expert `gtp`; did you mean `gpt`?",
        ],
    );
}

#[test]
fn a_day_counts_everyone_who_answers() {
    assert_mistakes(
        "mapping: { default: general, budget: { usd_per_day: 1 } }",
        &[
            "coterie.yaml:6:3: `gpt` has no price, and `mapping.budget` needs one; add `usd_in` and `usd_out`, dollars per \
           million tokens",
        ],
    );
}

#[test]
fn a_cascade_is_read() {
    let house = House::new();
    let config = house.config(
        "
mapping:
  default: gpt
  cascade:
    coding: { first: general, accept: { likelihood_min: -0.5, code_parses: true, judge: gpt }, within: 5s }
",
    );
    let mapping = config.load().unwrap().mapping;
    let (category, cascade) = &mapping.cascades[0];
    assert_eq!(
        (category.as_str(), cascade.first.as_str()),
        ("coding", "general")
    );
    assert_eq!(cascade.within, Duration::from_secs(5));
    let accept = Accept {
        likelihood_min: Some(-0.5),
        code_parses: true,
        judge: Some(ExpertId::new("gpt")),
        predicted_success_min: None,
    };
    assert_eq!(cascade.accept, accept);
}

#[test]
fn a_cascade_that_cannot_work() {
    assert_mistakes(
        "
mapping:
  default: general
  cascade:
    coding: { first: general, accept: { code_parses: true } }
    math: { first: gpt, accept: { likelihood_min: -0.5, predicted_success_min: 0.5, judge: gtp } }
    maths: { first: gpt, accept: {} }
",
        &[
            "coterie.yaml:4:22: `general` answers the category already; name a cheaper expert, or take the cascade out",
            "coterie.yaml:5:51: `likelihood_min` reads a local expert's answer, and `first` is remote; use `judge` or \
             `code_parses`, or name a local expert",
            "coterie.yaml:5:92: there is no expert `gtp`; did you mean `gpt`?",
            "coterie.yaml:6:5: no route describes the category `maths`; did you mean `math`?",
            "coterie.yaml:6:34: `accept` checks nothing; write `likelihood_min`, `code_parses`, `judge` or \
             `predicted_success_min`",
        ],
    );
    assert_mistakes(
        "mapping: { default: general, cascade: { coding: { first: gpt, accept: { judge: gpt } } } }",
        &[
            "coterie.yaml:1:80: `gpt` would judge its own answers; name another expert as `judge`, or use another check",
        ],
    );
    assert_mistakes(
        "mapping: { default: general, cascade: { coding: { accept: { likelihood_min: 1 } } } }",
        &[
            "coterie.yaml:1:41: `coding` lacks `first`; add it: the expert that is asked before the category's own",
            "coterie.yaml:1:77: `likelihood_min` is 1; it must be at most 0",
        ],
    );
}
