use proptest::prelude::*;

use super::*;

fn model(name: &str) -> Model {
    name.parse().unwrap()
}

#[track_caller]
fn wrong(name: &str, message: &str) {
    assert_eq!(name.parse::<Model>().unwrap_err().to_string(), message);
}

#[test]
fn a_bare_fault_has_its_defaults() {
    let cut = model("cut");
    assert_eq!(cut.fault.kind, Kind::Cut);
    assert_eq!((cut.position, cut.tokens), (8, 17));
    assert_eq!(cut.pace, Duration::ZERO);
    assert_eq!(cut.retry_after, None);
    assert_eq!(cut.times, u64::MAX);
    assert_eq!(cut.prefill, Prefill::Continue);
    assert_eq!(cut.text, Text::Trees);
}

#[test]
fn each_part_of_a_name_is_read() {
    let model = model("cut@5?tokens=9&pace=20ms&times=2&prefill=reject&text=other#a?b@c");
    assert_eq!((model.position, model.tokens), (5, 9));
    assert_eq!(model.pace, Duration::from_millis(20));
    assert_eq!(model.times, 2);
    assert_eq!(model.prefill, Prefill::Reject);
    assert_eq!(model.text, Text::Birds);
}

#[test]
fn a_tag_may_follow_anything() {
    for name in ["cut#1", "cut@5#1", "cut?tokens=9#1", "cut@5?tokens=9#1"] {
        assert_eq!(model(name).fault.kind, Kind::Cut, "{name}");
    }
}

#[test]
fn where_a_fault_strikes_depends_on_the_fault() {
    for (name, position) in [
        ("reset", 0),
        ("reset@3", 3),
        ("stall?tokens=4", 2),
        ("stall@4?tokens=4", 4),
        ("no-done", 17),
        ("no-done?tokens=0", 0),
        ("overloaded@1", 1),
    ] {
        assert_eq!(model(name).position, position, "{name}");
    }
}

#[test]
fn what_strikes_once_can_strike_more_often() {
    assert_eq!(model("error-once").times, 1);
    assert_eq!(model("error-once?times=3").times, 3);
    assert_eq!(model("overloaded").times, u64::MAX);
    assert_eq!(model("overloaded?times=3").times, 3);
}

#[test]
fn retry_after_is_told_where_it_is_asked_for() {
    let told = |seconds, form| Some(RetryAfter { seconds, form });
    for (name, expected) in [
        ("rate-limit", None),
        ("rate-limit?after=7", told(7, RetryForm::Seconds)),
        ("rate-limit?date", told(1, RetryForm::Date)),
        ("rate-limit-once", told(1, RetryForm::Seconds)),
        ("rate-limit-once?after=0&date", told(0, RetryForm::Date)),
        ("overloaded?after=2", told(2, RetryForm::Seconds)),
    ] {
        assert_eq!(model(name).retry_after, expected, "{name}");
    }
}

#[test]
fn waits_are_a_minute_or_twenty_seconds_unless_told() {
    assert_eq!(model("down").lasts, Duration::from_secs(60));
    assert_eq!(model("down?for=5s").lasts, Duration::from_secs(5));
    assert_eq!(model("slow-start").lasts, Duration::from_secs(20));
    assert_eq!(model("slow-start?for=100ms").lasts.as_millis(), 100);
}

#[test]
fn some_faults_choose_what_is_said() {
    assert_eq!(model("tools").text, Text::Tools);
    assert_eq!(model("cut?text=tools").text, Text::Tools);
    assert_eq!(model("split-utf8").text, Text::Accents);
    assert_eq!(model("split-utf8?text=trees").text, Text::Trees);
    assert_eq!(model("drip").pace, Duration::from_millis(10));
    assert_eq!(model("huge?bytes=5").bytes, 5);
}

#[test]
fn what_cannot_be_read_is_named() {
    wrong("gpt-4", "there is no fault `gpt-4`");
    wrong("", "there is no fault ``");
    wrong("cut@x", "the position `x` is no number of tokens");
    wrong("cut@", "the position `` is no number of tokens");
    wrong("cut@-1", "the position `-1` is no number of tokens");
    wrong(
        "cut@18",
        "the position 18 is behind the end of an answer of 17 tokens",
    );
    wrong("gzip@1", "`gzip` takes no position");
    wrong(
        "cut?speed=1",
        "there is no key `speed`; there are tokens, pace, after, date, times, for, prefill, text, bytes",
    );
    wrong("cut?after=1", "`cut` takes no key `after`");
    wrong("cut?date", "`cut` takes no key `date`");
    wrong("cut?for=1s", "`cut` takes no key `for`");
    wrong("cut?bytes=1", "`cut` takes no key `bytes`");
    wrong("cut?tokens=1&tokens=1", "the key `tokens` is given twice");
    wrong(
        "cut?tokens=many",
        "`tokens=many`: the value must be a number up to 100000",
    );
    wrong(
        "cut?tokens=100001",
        "`tokens=100001`: the value must be a number up to 100000",
    );
    wrong(
        "cut?pace=2h",
        "`pace=2h`: the value must be a wait like `20ms`, at most an hour",
    );
    wrong("rate-limit?date=1", "`date=1`: the value must be left out");
    wrong(
        "cut?prefill=no",
        "`prefill=no`: the value must be reject, ignore or continue",
    );
    wrong(
        &"x".repeat(NAME_BYTES_MAX + 1),
        "a model's name has at most 256 bytes",
    );
}

proptest! {
    #[test]
    fn no_name_is_too_strange(name in "\\PC{0,300}") {
        drop(name.parse::<Model>());
    }

    #[test]
    fn a_position_is_never_behind_the_end(
        fault in prop::sample::select(&super::super::kind::FAULTS[..]).prop_map(|fault| fault.name),
        position in 0_usize..40,
        tokens in 0_usize..40,
    ) {
        if let Ok(model) = format!("{fault}@{position}?tokens={tokens}").parse::<Model>() {
            prop_assert!(model.position == position && position <= model.tokens);
        }
    }
}
