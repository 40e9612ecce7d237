//! A person at a terminal, which is a pseudo terminal here: keys go in, pages come out.

use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use coterie::learning::Origin;

use super::{House, text};

/// Python for: run this at a pseudo terminal, whose keys are what comes in here, and which shows what goes out.
const AT_A_TERMINAL: &str =
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// Gives the terminal a size, and looks whether it is left as it was found.
const ON_A_PAGE: &str = "stty rows 40 cols 120 && found=$(stty -g) && \"$@\" \
                         && test \"$found\" = \"$(stty -g)\" && echo as it was found";

/// What begins a page: all that was shown before is cleared away.
const CLEAR: &str = "\u{1b}[2J";

/// What every page ends with.
const FOOT: &str = "esc quit";

/// Leaves the page of its own, for what was there before.
const BACK: &str = "\u{1b}[?1049l";

const CTRL_Z: &str = "\u{1a}";
const ESCAPE: &str = "\u{1b}";

/// How long a test waits for what must be shown before it is called hung.
const HUNG: Duration = Duration::from_secs(60);

/// Pieces of output that are read ahead.
const PIECES_AHEAD_MAX: usize = 16;

const QUESTIONS: [&str; 3] = ["What is a tort?", "What is 2 + 2?", "What is rye?"];

/// `coterie label` at a terminal.
struct Sitting {
    child: Child,
    keys: ChildStdin,
    pieces: Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Sitting {
    #[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
    fn begin(house: &House, by: &str) -> Self {
        let python = std::env::var("COTERIE_TEST_PYTHON")
            .expect("COTERIE_TEST_PYTHON names a Python; scripts/test sets it");
        let label = house.command(&["--by", by]);
        let mut child = Command::new(python)
            .args(["-c", AT_A_TERMINAL, "sh", "-c", ON_A_PAGE, "sh"])
            .arg(label.get_program())
            .args(label.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let (sender, pieces) = sync_channel(PIECES_AHEAD_MAX);
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                if sender.send(piece[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            keys: child.stdin.take().unwrap(),
            child,
            pieces,
            shown: Vec::new(),
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Takes in what is shown next; whether there is more.
    fn is_going_on(&mut self) -> bool {
        match self.pieces.recv_timeout(HUNG) {
            Ok(piece) => self.shown.extend(piece),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => panic!("it hangs: {:?}", text(&self.shown)),
        }
        true
    }

    /// The whole page, as soon as one says this.
    fn page(&mut self, says: &str) -> String {
        loop {
            let shown = text(&self.shown);
            let page = shown.rsplit(CLEAR).next().unwrap();
            if page.contains(says) && page.contains(FOOT) {
                return page.to_owned();
            }
            assert!(self.is_going_on(), "it ended without {says}: {shown:?}");
        }
    }

    /// What was shown after the last page, once it has ended.
    fn ended(mut self) -> String {
        while self.is_going_on() {}
        let shown = text(&self.shown);
        assert!(self.child.wait().unwrap().success(), "{shown:?}");
        shown.rsplit(BACK).next().unwrap().to_owned()
    }
}

fn question_on(page: &str) -> &'static str {
    let mut shown = QUESTIONS.into_iter().filter(|it| page.contains(it));
    shown.next().expect(page)
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_keys_label_take_back_and_leave() {
    let house = House::without_experts().await;
    house.asked(QUESTIONS).await;
    let labels = async |question: &str| house.labels(question, Origin::Person).await;
    let nothing: [String; 0] = [];
    let mut sitting = Sitting::begin(&house, "ann");
    let page = sitting.page("ann · 0 labelled today · 3 left");
    assert!(
        page.contains("[l]egal") && page.contains("[ma]th"),
        "{page:?}"
    );
    let first = question_on(&page);

    sitting.press("l");
    let page = sitting.page("1 labelled today · 2 left");
    assert!(page.contains("the last one: legal"), "{page:?}");
    let second = question_on(&page);
    assert_ne!(first, second);
    assert_eq!(labels(first).await, ["legal"], "before the next is shown");
    sitting.press("ma");
    let page = sitting.page("2 labelled today · 1 left");
    assert!(page.contains("the last one: math"), "{page:?}");
    let third = question_on(&page);
    assert_eq!(labels(second).await, ["math"]);

    sitting.press(CTRL_Z);
    let page = sitting.page("1 labelled today · 2 left");
    assert!(page.contains("taken back"), "{page:?}");
    assert_eq!(question_on(&page), second, "it is asked again");
    assert_eq!(labels(second).await, nothing);
    sitting.press(ESCAPE);
    let after = sitting.ended();
    assert!(after.contains("1 labelled, 2 left"), "{after:?}");
    assert!(after.contains("as it was found"), "{after:?}");
    assert_eq!(labels(first).await, ["legal"]);
    for question in [second, third] {
        assert_eq!(labels(question).await, nothing, "{question}");
    }
}
