//! Outcomes on their way to the file: what a full queue, a failing file, a shutdown and a killed process do to them.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use coterie::{
    config::{ContentPolicy, Prefer, Preference},
    decision::{Decision, Reason},
    ids::{ExpertId, MappingId, RouterId},
    mapping::Grounds,
    outcome::{
        Ask, Feedback, FeedbackError, NoSlot, Recorder, RecorderOptions, Retention, Ticket,
        Unrecorded, Writer,
    },
    store::{Store, StoreError},
};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Long enough that only a test that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store in a folder of its own.
struct House {
    store: Store,
    folder: TempDir,
}

impl House {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("coterie.db"))
            .await
            .unwrap();
        Self { store, folder }
    }

    /// A recorder that writes only when it must: when a batch is full, on a flush and at the end.
    fn recorder(&self, keep: Option<Duration>) -> (Recorder, Writer) {
        let options = RecorderOptions {
            content: ContentPolicy::Redacted,
            retention: Retention {
                keep,
                keep_labelled: None,
            },
            flush_interval: Duration::from_secs(3600),
            prices: HashMap::new(),
            shutdown: CancellationToken::new(),
        };
        Recorder::start(self.store.clone(), options)
    }

    /// Runs statements over a connection of their own, as another program would.
    async fn meddle(&self, sql: &'static str) {
        let mut other = SqliteConnection::connect(self.store.path().to_str().unwrap())
            .await
            .unwrap();
        sqlx::query(sql).execute(&mut other).await.unwrap();
        other.close().await.unwrap();
    }

    async fn count_after_reopening(self) -> u64 {
        let path = self.store.path().to_owned();
        drop(self.store);
        let reopened = Store::open(&path).await.unwrap();
        let count = reopened.count().await.unwrap();
        drop(self.folder);
        count
    }
}

async fn open(recorder: &Recorder) -> Result<Ticket, NoSlot> {
    let decision = Decision {
        category: None,
        confidence: 1.0,
        scores: Vec::new(),
        tier: None,
        reason: Reason::ExpertNamed,
        strangeness: None,
        instruction: None,
        session: None,
        expert: ExpertId::new("general"),
        fallbacks: Vec::new(),
        propensity: 1.0,
        grounds: Grounds::new(MappingId::new("m1"), Prefer::Word(Preference::Balanced)),
        router: RouterId::new("r1"),
        took: Duration::ZERO,
    };
    let slot = recorder.reserve().await?;
    Ok(slot.open(Ask::default(), decision, Instant::now()))
}

fn feedback(outcome_id: &str) -> Feedback {
    Feedback {
        outcome_id: outcome_id.into(),
        score: Some(1.0),
        comment: Some("thanks, ada@example.com".into()),
        ..Feedback::default()
    }
}

#[tokio::test]
async fn a_thousand_questions_at_once_are_all_recorded() {
    let house = House::new().await;
    let (recorder, writer) = house.recorder(None);
    let tasks = TaskTracker::new();
    tasks.spawn(writer.run());
    for _ in 0..1000 {
        let recorder = recorder.clone();
        tasks.spawn(async move {
            let ticket = open(&recorder).await.unwrap();
            tokio::task::yield_now().await;
            drop(ticket);
        });
    }
    tasks.close();
    // The writer ends last, and only because the recorder is closed once everybody has asked.
    while tasks.len() > 1 {
        tokio::task::yield_now().await;
    }
    recorder.close(PATIENCE).await.unwrap();
    tasks.wait().await;
    assert_eq!(house.count_after_reopening().await, 1000);
}

#[tokio::test]
async fn a_full_queue_turns_questions_away_and_loses_none_that_it_took() {
    let house = House::new().await;
    let (recorder, writer) = house.recorder(None);
    tokio::time::pause();
    let mut taken = Vec::new();
    let waiting_since = loop {
        let asked = tokio::time::Instant::now();
        match open(&recorder).await {
            Ok(ticket) => taken.push(ticket),
            Err(NoSlot) => break asked,
        }
    };
    assert!(waiting_since.elapsed() < Duration::from_secs(10));
    let asked = u64::try_from(taken.len()).unwrap();
    assert!(asked > 1000);
    drop(taken);
    assert!(open(&recorder).await.is_err(), "nobody has written yet");
    tokio::time::resume();
    let tasks = TaskTracker::new();
    tasks.spawn(writer.run());
    drop(open(&recorder).await.unwrap());
    recorder.close(PATIENCE).await.unwrap();
    assert_eq!(house.count_after_reopening().await, asked + 1);
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_loses_nothing() {
    let house = House::new().await;
    let (recorder, writer) = house.recorder(None);
    let mut failing = recorder.failing();
    let tasks = TaskTracker::new();
    tasks.spawn(writer.run());
    house.meddle("ALTER TABLE outcomes RENAME TO away").await;
    let mut ids = Vec::new();
    for _ in 0..300 {
        let ticket = open(&recorder).await.unwrap();
        ids.push(ticket.id().to_owned());
    }
    failing.wait_for(|failing| *failing).await.unwrap();

    house.meddle("ALTER TABLE away RENAME TO outcomes").await;
    failing.wait_for(|failing| !failing).await.unwrap();
    recorder.flush().await.unwrap();

    for id in ids {
        assert!(house.store.outcome(&id).await.unwrap().is_some());
    }
    recorder.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn feedback_finds_an_outcome_that_still_waits() {
    let house = House::new().await;
    let (recorder, writer) = house.recorder(None);
    let tasks = TaskTracker::new();
    tasks.spawn(writer.run());
    let ticket = open(&recorder).await.unwrap();
    let id = ticket.id().to_owned();
    assert!(matches!(
        recorder.feedback(feedback(&id)).await,
        Err(FeedbackError::UnknownOutcome { .. })
    ));
    drop(ticket);
    recorder.feedback(feedback(&id)).await.unwrap();
    recorder.feedback(feedback(&id)).await.unwrap();
    let given = house.store.feedback(&id).await.unwrap();
    assert_eq!(given.len(), 2);
    assert_eq!(given[0].comment.as_deref(), Some("thanks, [email]"));
    recorder.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn feedback_is_put_off_while_nothing_is_written() {
    let house = House::new().await;
    let (recorder, _writer) = house.recorder(None);
    tokio::time::pause();
    assert!(recorder.flush().await.is_err());
}

#[tokio::test]
async fn closing_waits_for_answers_under_way() {
    let house = House::new().await;
    let (recorder, writer) = house.recorder(None);
    let tasks = TaskTracker::new();
    tasks.spawn(writer.run());
    let ticket = open(&recorder).await.unwrap();
    let closing = tasks.spawn({
        let recorder = recorder.clone();
        async move { recorder.close(PATIENCE).await }
    });
    // Once closed it takes nobody in, and it still waits for the ticket.
    while open(&recorder).await.is_ok() {}
    assert!(!closing.is_finished());
    drop(ticket);
    closing.await.unwrap().unwrap();
    assert!(matches!(
        house.store.count().await,
        Err(StoreError::Failed { .. })
    ));
    assert!(house.count_after_reopening().await >= 1);
}

#[tokio::test]
async fn closing_ends_at_its_deadline_and_says_what_is_lost() {
    let house = House::new().await;
    let (recorder, writer) = house.recorder(None);
    let tasks = TaskTracker::new();
    tasks.spawn(writer.run());
    let forgotten = open(&recorder).await.unwrap();
    drop(open(&recorder).await.unwrap());
    assert!(matches!(
        recorder.close(Duration::ZERO).await,
        Err(Unrecorded { outcomes: 1 | 2 })
    ));
    tasks.close();
    tasks.wait().await;
    drop(forgotten);
}

#[tokio::test]
async fn what_is_too_old_is_deleted_while_the_recorder_runs() {
    let house = House::new().await;
    let (recorder, writer) = house.recorder(None);
    let tasks = TaskTracker::new();
    tasks.spawn(writer.run());
    for _ in 0..10 {
        drop(open(&recorder).await.unwrap());
    }
    recorder.flush().await.unwrap();
    let (recorder, writer) = house.recorder(Some(Duration::ZERO));
    tasks.spawn(writer.run());
    let emptied = async {
        while house.store.count().await.unwrap() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, emptied).await.unwrap();
    recorder.close(PATIENCE).await.unwrap();
}

/// Names the file that [`writes_until_it_is_killed`] writes to.
const KILLED_PATH: &str = "COTERIE_TEST_KILLED_PATH";

#[tokio::test]
async fn a_killed_process_leaves_a_clean_file_with_all_that_was_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("coterie.db");
    for round in 0..3 {
        let asked = 20 + round * 7;
        let ids = ids_written_before_the_kill(&path, asked);
        assert_eq!(ids.len(), asked);
        let store = Store::open(&path).await.unwrap();
        assert_eq!(integrity(&path).await, "ok");
        for id in &ids {
            assert!(store.outcome(id).await.unwrap().is_some());
        }
        store.close().await.unwrap();
    }
}

/// Has this test binary write in a process of its own, kills it in the middle, and returns what it said it had written.
fn ids_written_before_the_kill(path: &Path, ids: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("store::writes_until_it_is_killed")
        .env(KILLED_PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let written = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("written ").map(str::to_owned))
        .take(ids)
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    written
}

async fn integrity(path: &Path) -> String {
    let mut connection = SqliteConnection::connect(path.to_str().unwrap())
        .await
        .unwrap();
    sqlx::query_scalar(AssertSqlSafe("PRAGMA integrity_check"))
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
#[ignore = "never ends: the process that the test of kill -9 starts and kills"]
async fn writes_until_it_is_killed() {
    #[expect(
        clippy::disallowed_methods,
        reason = "tells a child process of this test its file"
    )]
    let path = PathBuf::from(std::env::var_os(KILLED_PATH).unwrap());
    let store = Store::open(&path).await.unwrap();
    let options = RecorderOptions {
        content: ContentPolicy::Full,
        retention: Retention::default(),
        flush_interval: Duration::ZERO,
        prices: HashMap::new(),
        shutdown: CancellationToken::new(),
    };
    let (recorder, writer) = Recorder::start(store, options);
    let tasks = TaskTracker::new();
    tasks.spawn(writer.run());
    loop {
        let ticket = open(&recorder).await.unwrap();
        let id = ticket.id().to_owned();
        drop(ticket);
        recorder.flush().await.unwrap();
        writeln!(std::io::stdout(), "\nwritten {id}").unwrap();
    }
}
