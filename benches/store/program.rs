//! What the program itself does with the store, whose memory is then its own.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Done, mebibytes,
    promises::{Promises, RETRAINING_BYTES_MAX, RETRAINING_MAX},
    rate, tell,
    traffic::{CATEGORIES, EXPERTS, Traffic, category, expert},
};

/// Examples of each route.
const EXAMPLES: usize = 20;

/// Configurations over a folder with a store.
pub(crate) struct Program<'f> {
    folder: &'f Path,
    from: String,
}

impl<'f> Program<'f> {
    /// Writes routes of the made-up categories, and a configuration.
    pub(crate) fn over(folder: &'f TempDir) -> Done<Self> {
        let folder = folder.path();
        write_routes(&folder.join("routes"))?;
        let from = write_config(folder, "coterie")?;
        Ok(Self { folder, from })
    }

    /// Trains and judges a challenger on all that was said.
    pub(crate) fn retrain(&self, promises: &mut Promises) -> Done<()> {
        let out = self.folder.join("retrained.json");
        let call = ["retrain", "--dry-run", "--json", "--config", &self.from];
        let (took, peak) = run(&call, File::create(&out)?.into())?;
        let found: Value = serde_json::from_slice(&fs::read(&out)?)?;
        let found = format!(
            "{:.0} s, {} at most; {} rows learnt, {} judged, {} and {} outcomes for the mapping",
            took.as_secs_f64(),
            mebibytes(peak),
            found["learnt"],
            found["judged"],
            found["mapping"]["chosen_by"],
            found["mapping"]["judged_by"],
        );
        tell("retraining, without the transformer", found);
        promises.less("a retraining", took, RETRAINING_MAX);
        promises.less("the bytes of a retraining", peak, RETRAINING_BYTES_MAX);
        Ok(())
    }

    /// Exports everything and imports it elsewhere.
    pub(crate) fn export(&self, rows: usize) -> Done<()> {
        for format in ["jsonl", "parquet"] {
            let file = self.folder.join(format!("outcomes.{format}"));
            let out = file.display().to_string();
            let call = [
                "export", "--format", format, "--out", &out, "--config", &self.from,
            ];
            let (took, peak) = run(&call, Stdio::inherit())?;
            let size = mebibytes(fs::metadata(&file)?.len());
            tell(
                &format!("export, {format}"),
                format!("{}, {size}, {} at most", rate(rows, took), mebibytes(peak)),
            );
            let to = write_config(self.folder, format)?;
            let (took, peak) = run(&["import", &out, "--config", &to], Stdio::inherit())?;
            tell(
                &format!("import, {format}"),
                format!("{}, {} at most", rate(rows, took), mebibytes(peak)),
            );
            fs::remove_file(self.folder.join(format!("{format}.db")))?;
            fs::remove_file(&file)?;
        }
        Ok(())
    }
}

fn write_routes(folder: &Path) -> Done<()> {
    fs::create_dir_all(folder)?;
    let mut made_up = Traffic::new(5);
    for at in 0..CATEGORIES {
        let name = category(at);
        let mut yaml = format!("description: Questions of {name}.\nexamples:\n");
        for _ in 0..EXAMPLES {
            writeln!(yaml, "  - '{}'", made_up.question(at).trim())?;
        }
        fs::write(folder.join(format!("{name}.yaml")), yaml)?;
    }
    Ok(())
}

/// Writes the configuration of the store of a name; where it is.
fn write_config(folder: &Path, store: &str) -> Done<String> {
    let at = folder.display();
    let experts: String = (0..EXPERTS)
        .map(|at| {
            let name = expert(at);
            format!("  {name}: {{ kind: remote, base_url: 'http://localhost:1/v1', model: m }}\n")
        })
        .collect();
    let text = format!(
        "router: {{ features: [sparse, static], artefacts: '{at}/routers', routes: '{at}/routes' }}\n\
         store: {{ url: 'sqlite://{at}/{store}.db' }}\nmapping: {{ default: {} }}\nexperts:\n{experts}",
        expert(0)
    );
    let path = folder.join(format!("{store}.yaml"));
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Runs the program; how long it took, and the most memory that it had, in bytes.
fn run(args: &[&str], out: Stdio) -> Done<(Duration, u64)> {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_coterie"))
        .args(args)
        .stdout(out)
        .spawn()?;
    let mut peak = None;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak_memory(&child).or(peak);
        std::thread::park_timeout(Duration::from_millis(5));
    };
    assert!(status.success(), "{args:?} failed");
    let peak = peak.ok_or("the kernel does not tell a process's memory")?;
    Ok((started.elapsed(), peak))
}

/// What the kernel calls the high-water mark of a process's resident memory, in bytes; none once it has ended.
fn peak_memory(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}
