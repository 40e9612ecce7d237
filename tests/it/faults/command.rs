//! `coterie fault-server` as a process.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

fn coterie() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coterie"));
    command.stdin(Stdio::null());
    command
}

#[tokio::test]
async fn it_says_where_it_listens_answers_and_ends_when_told() {
    for signal in ["TERM", "INT"] {
        let mut child = coterie()
            .args(["fault-server", "--listen", "127.0.0.1:0"])
            .args(["--time-scale", "0.01"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let base = line
            .strip_prefix("coterie fault-server listens on ")
            .unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let models = client.get(format!("{base}/v1/models")).send().await;
        let models: Value = models.unwrap().json().await.unwrap();
        assert_eq!(models["data"][0]["id"], "healthy");

        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        assert!(child.wait().unwrap().success(), "{signal}");
    }
}

#[test]
fn it_is_not_in_the_short_help() {
    let help = coterie().arg("--help").output().unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("fault"));
    let help = coterie().args(["fault-server", "--help"]).output().unwrap();
    assert!(help.status.success());
}

#[test]
fn a_wrong_call_is_told() {
    let scaled = coterie()
        .args(["fault-server", "--time-scale", "-1"])
        .output()
        .unwrap();
    assert_eq!(scaled.status.code(), Some(2));
}
