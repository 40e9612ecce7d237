//! Labelled questions nearby: what they say of others, and of which others a person had better be asked.

use coterie::learning::Origin;
use serde_json::{Value, json};

use super::{House, text};

/// Questions of two kinds, many of each.
pub(super) fn questions(of: &str, from: usize, count: usize) -> Vec<String> {
    let (names, asks): ([&str; 6], [&str; 5]) = if of == "legal" {
        (
            [
                "contract",
                "tenant",
                "lawsuit",
                "court",
                "copyright licence",
                "will",
            ],
            [
                "Can I sue over a",
                "Which law applies to my",
                "May my lawyer end the",
                "Is the judge bound by a",
                "Who is liable for a",
            ],
        )
    } else {
        (
            [
                "integral",
                "matrix",
                "polynomial",
                "triangle",
                "derivative",
                "prime number",
            ],
            [
                "Compute the value of the",
                "Prove the theorem about a",
                "What is the formula for the",
                "Solve the equation with the",
                "How many solutions has the",
            ],
        )
    };
    let question = |at: usize| format!("{} {} number {at}?", asks[at % 5], names[at / 5 % 6]);
    (from..from + count).map(question).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_spread_to_what_is_near_and_are_made_anew_each_time() {
    let house = House::without_experts().await;
    let seed: Vec<(String, &str)> = ["legal", "math"]
        .into_iter()
        .flat_map(|of| questions(of, 0, 60).into_iter().map(move |it| (it, of)))
        .collect();
    let new: Vec<(String, &str)> = ["legal", "math"]
        .into_iter()
        .flat_map(|of| questions(of, 60, 20).into_iter().map(move |it| (it, of)))
        .collect();
    house
        .asked(seed.iter().chain(&new).map(|(it, _)| it.as_str()))
        .await;

    let nothing = house.told(&["--neighbours"]);
    assert_eq!(
        (&nothing["seed"], &nothing["validated"]),
        (&json!(0), &Value::Null),
        "{nothing:#}"
    );

    let labels: Vec<_> = seed.iter().map(|(it, of)| (it.as_str(), *of)).collect();
    house.labelled(&labels).await;
    let told = house.told(&["--neighbours", "--agree", "0.9"]);
    assert!(
        told["validated"]["precision_lower"].as_f64().unwrap() >= 0.9,
        "{told:#}"
    );
    assert_eq!(
        (&told["seed"], &told["looked_at"]),
        (&json!(120), &json!(40)),
        "{told:#}"
    );
    let labelled = told["labelled"].as_u64().unwrap();
    assert!(labelled >= 20, "{told:#}");
    let mut right = 0;
    for (question, of) in &new {
        let labels = house.labels(question, Origin::Neighbours).await;
        right += u64::from(labels == [*of]);
    }
    assert!(right * 10 >= labelled * 9, "{right} of {labelled}");

    let again = house.told(&["--neighbours", "--agree", "0.9"]);
    assert_eq!(again["taken_back"], labelled, "{again:#}");
    assert_eq!(again["labelled"], labelled, "{again:#}");
    let strict = house.told(&["--neighbours", "--agree", "0.999"]);
    assert_eq!(
        (&strict["labelled"], &strict["taken_back"]),
        (&json!(0), &json!(labelled))
    );
}

/// The question that is shown first; the input ends behind it.
fn first_asked(house: &House) -> String {
    let shown = house.run(&[], "");
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    let asked = shown.lines().find_map(|line| line.strip_prefix("? "));
    asked.expect(&shown).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_labelled_neighbours_disagree_a_person_is_asked_first() {
    const DISAGREEING: [&str; 5] = ["legal", "math", "coding", "writing", "science"];
    let near: [Vec<String>; 2] = ["legal", "math"].map(|of| questions(of, 0, 5));
    let asked: [String; 2] = ["legal", "math"].map(|of| questions(of, 5, 1).remove(0));
    let all = || near.iter().flatten().chain(&asked).map(String::as_str);
    // The two are alike in all else: the router is as unsure of either, and each is as near to the other.
    for (at, agreeing) in [(0, "math"), (1, "legal")] {
        let house = House::without_experts().await;
        house.asked(all()).await;
        let mixed = near[at].iter().zip(DISAGREEING);
        let same = near[1 - at].iter().map(|question| (question, agreeing));
        let labels: Vec<_> = mixed
            .chain(same)
            .map(|(it, of)| (it.as_str(), of))
            .collect();
        house.labelled(&labels).await;
        assert_eq!(first_asked(&house), asked[at]);
    }
}
