//! What comes in must be sound, and nothing that is no file is replaced by one.

use super::*;
use crate::{config::ContentPolicy, outcome::content};

#[tokio::test]
async fn no_more_is_kept_of_peoples_words_than_is_configured() {
    let folder = TempDir::new().unwrap();
    let mut told = line("told", 1, &[]);
    told["question"] = "write to jane@example.com".into();
    told["feedback"] = serde_json::json!([{
        "given_at_ms": 5, "score": 1.0, "category": null, "expert": null, "comment": "mine is joe@example.com",
        "key_name": null, "judged_by": null,
    }]);
    let path = write(&folder, "told.jsonl", &[told]);
    for (name, policy) in [
        ("none", ContentPolicy::None),
        ("redacted", ContentPolicy::Redacted),
    ] {
        let store = open(&folder, name).await;
        let keep = |text| content::keep(policy, text);
        let imported = import::files(&store, std::slice::from_ref(&path), &keep, &mut |_| {}).await;
        assert_eq!(imported.unwrap().feedback, 1);
        let record = format!("{:?}", all(&store).await);
        assert!(!record.contains("example.com"), "{record}");
        assert_eq!(
            record.contains("write to"),
            policy == ContentPolicy::Redacted
        );
        assert_eq!(
            record.contains("With sort()"),
            policy == ContentPolicy::Redacted
        );
    }
}

#[tokio::test]
async fn what_no_outcome_could_say_is_wrong() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, "one.db").await;
    let with = |name: &str, value: Value| {
        let mut line = line(name, 1, &[]);
        line[name] = value;
        line
    };
    let lines = [
        with("propensity", 0.0.into()),
        with("propensity", 1.5.into()),
        with("asked_at_ms", (-5).into()),
    ];
    let (imported, complaints) = bring_in(&store, &write(&folder, "wrong.jsonl", &lines)).await;
    assert_eq!((imported.wrong, imported.outcomes), (3, 0));
    assert!(complaints[0].contains("propensity"), "{complaints:?}");
    assert!(complaints[2].contains("asked_at_ms"), "{complaints:?}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_stays_one_and_a_link_too() {
    let folder = TempDir::new().unwrap();
    let store = filled(&folder).await;
    let [pipe, file, link] = ["pipe", "file", "link"].map(|name| folder.path().join(name));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    for path in [&pipe, &link] {
        let all = Selection::default();
        let rows = export::to_file(&store, &all, Format::Jsonl, path, |_| {}).await;
        assert_eq!(rows.unwrap(), 602);
    }
    let read = reader.join().unwrap();
    assert_eq!(read.lines().count(), 602);
    assert!(!fs::symlink_metadata(&pipe).unwrap().is_file());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&file).unwrap(), read);
}
