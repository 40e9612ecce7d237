//! Outcome files → [`Outcomes`], a line at a time.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::PathBuf,
};

use super::{
    Outcomes, OutcomesError, Row,
    column::{Builder, Column},
    line::{LineError, Names, RawRow},
};
use crate::{
    bom,
    ids::{CategoryId, ExpertId},
};

/// What a line may have: a question is a few kilobytes, a long conversation some megabytes.
const LINE_BYTES_MAX: usize = 64 << 20;

/// What is read of a file at once.
const READ_BYTES: usize = 1 << 20;

/// The category of rows that were not parted by a field.
const UNDIVIDED: &str = "all";

/// Experts that are named where one that was asked for has no scores.
const KNOWN_SHOWN: usize = 10;

/// What is read of outcome files, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The field that gives a row's category; all rows are of one category where there is none.
    pub by: Option<String>,
    /// The experts that are read, in this order; all, by name, where it is empty.
    pub experts: Vec<ExpertId>,
    /// What becomes of the prompts.
    pub texts: Texts,
}

/// Whether prompts are kept: most of a file's bytes, and needed only where something reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Texts {
    /// They are read for what they identify, and dropped.
    #[default]
    Drop,
    /// They are kept, and every row must have one.
    Keep,
}

/// Reads the outcomes of every file, in order. An expert that no row has a score of is left out.
///
/// # Errors
/// The first file that cannot be read or is empty, the first line that is no outcome or scores an expert again on the same
/// question, or an expert that was asked for and has no score.
pub fn read(paths: &[PathBuf], options: &Options) -> Result<Outcomes, OutcomesError> {
    let mut reader = Reader::new(options);
    for number in 0..paths.len() {
        reader.read_file(paths, number)?;
    }
    reader.finish()
}

struct Reader<'o> {
    options: &'o Options,
    names: Names,
    categories: BTreeMap<String, u32>,
    /// The row of each question that was met, by a digest of id and prompt.
    row_of: HashMap<u64, usize>,
    /// Where each row began: which of the files, and its line.
    begun: Vec<(u32, u32)>,
    scores: Vec<Builder>,
    costs_usd: Vec<Builder>,
    outcomes: Outcomes,
}

impl<'o> Reader<'o> {
    fn new(options: &'o Options) -> Self {
        Self {
            options,
            names: Names::new(&options.experts),
            categories: BTreeMap::new(),
            row_of: HashMap::new(),
            begun: Vec::new(),
            scores: Vec::new(),
            costs_usd: Vec::new(),
            outcomes: Outcomes::default(),
        }
    }

    /// Reads the file of this number.
    fn read_file(&mut self, paths: &[PathBuf], file: usize) -> Result<(), OutcomesError> {
        let path = &paths[file];
        let at_file = u32::try_from(file).unwrap_or(u32::MAX);
        let unreadable = |source| OutcomesError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path)
            .map(|file| BufReader::with_capacity(READ_BYTES, file))
            .map_err(unreadable)?;
        bom::skip(&mut file).map_err(unreadable)?;
        let (mut line, mut raw, mut rows) = (Vec::new(), RawRow::default(), 0);
        for number in 1_usize.. {
            let at = (at_file, u32::try_from(number).unwrap_or(u32::MAX));
            let mut take_line = || -> Result<bool, LineError> {
                if !next_line(&mut file, &mut line)? {
                    return Ok(false);
                }
                if !line.trim_ascii().is_empty() {
                    raw.read(&line, &mut self.names, self.options.by.as_deref())?;
                    self.take(&mut raw, at, paths)?;
                    rows += 1;
                }
                Ok(true)
            };
            let goes_on = take_line().map_err(|source| OutcomesError::Line {
                path: path.to_owned(),
                line: number,
                source,
            })?;
            if !goes_on {
                break;
            }
        }
        if rows == 0 {
            return Err(OutcomesError::Empty {
                path: path.to_owned(),
            });
        }
        Ok(())
    }

    /// Takes the line at that place.
    fn take(
        &mut self,
        raw: &mut RawRow,
        at: (u32, u32),
        paths: &[PathBuf],
    ) -> Result<(), LineError> {
        let keep = self.options.texts == Texts::Keep;
        if keep && raw.prompt.is_none() {
            return Err(LineError::NoPrompt);
        }
        let row = self.row_for(raw);
        if row == self.begun.len() {
            self.begun.push(at);
        } else if let Some(category) = raw.category.take() {
            let known = self.outcomes.rows[row].category;
            if self.categories.get(&category) != Some(&known) {
                let (file, line) = self.begun[row];
                return Err(LineError::OtherCategory {
                    category,
                    id: raw.id.take().unwrap_or_default(),
                    file: paths[file as usize].clone(),
                    line,
                });
            }
        }
        let experts = self.names.experts().len();
        self.scores.resize_with(experts, Builder::default);
        self.costs_usd.resize_with(experts, Builder::default);
        for (expert, score) in &raw.scores {
            if self.scores[*expert].is_known(row) {
                let (file, line) = self.begun[row];
                return Err(LineError::ScoredAgain {
                    expert: self.names.experts()[*expert].clone(),
                    id: raw.id.take().unwrap_or_default(),
                    file: paths[file as usize].clone(),
                    line,
                });
            }
            self.scores[*expert].set(row, *score);
        }
        for (expert, usd) in &raw.costs_usd {
            self.costs_usd[*expert].set(row, *usd);
        }
        Ok(())
    }

    /// The row of a question: that of an earlier line with the same id and prompt, else a new one.
    fn row_for(&mut self, raw: &mut RawRow) -> usize {
        let prompt = raw.prompt.take().unwrap_or_default();
        let new = self.outcomes.rows.len();
        if let Some(id) = &raw.id {
            let key = digest(&[id, &prompt]);
            let row = *self.row_of.entry(key).or_insert(new);
            if row < new {
                return row;
            }
        }
        let asked = match (&*prompt, &raw.id) {
            ("", Some(id)) => digest(&[id]),
            ("", None) => digest(&[&new.to_string()]),
            (prompt, _) => digest(&[prompt]),
        };
        let name = raw.category.take().unwrap_or_else(|| UNDIVIDED.to_owned());
        let next = u32::try_from(self.categories.len()).unwrap_or(u32::MAX);
        self.outcomes.rows.push(Row {
            category: *self.categories.entry(name).or_insert(next),
            prompt_bytes: u32::try_from(prompt.len()).unwrap_or(u32::MAX),
            question: asked,
        });
        if self.options.texts == Texts::Keep {
            self.outcomes.prompts.push(prompt.into());
        }
        new
    }

    /// Puts categories in the order of their names, and experts too unless an order was asked for.
    fn finish(self) -> Result<Outcomes, OutcomesError> {
        let mut outcomes = self.outcomes;
        let mut place = vec![0; self.categories.len()];
        for (at, number) in (0..).zip(self.categories.values()) {
            place[*number as usize] = at;
        }
        for row in &mut outcomes.rows {
            row.category = place[row.category as usize];
        }
        let names = self.categories.into_keys();
        outcomes.categories = names.map(CategoryId::new).collect();
        let experts = self.names.experts();
        let (mut scores, mut costs_usd) = (finished(self.scores), finished(self.costs_usd));
        // Where no row has been read of an expert that was asked for, its columns are missing.
        for columns in [&mut scores, &mut costs_usd] {
            columns.resize_with(experts.len(), Column::default);
        }
        let (mut order, mut unscored): (Vec<usize>, Vec<usize>) =
            (0..experts.len()).partition(|at| scores[*at].count() > 0);
        if let (Some(expert), false) = (unscored.first(), self.options.experts.is_empty()) {
            let wanted = order.iter().map(|at| experts[*at].as_str());
            let mut known: Vec<&str> = self.names.others().into_iter().chain(wanted).collect();
            known.sort_unstable();
            known.truncate(KNOWN_SHOWN);
            return Err(OutcomesError::UnknownExpert {
                expert: experts[*expert].clone(),
                known: known.into_iter().map(str::to_owned).collect(),
            });
        }
        if order.is_empty() {
            return Err(OutcomesError::NoScores);
        }
        if self.options.experts.is_empty() {
            order.sort_by(|a, b| experts[*a].cmp(&experts[*b]));
        }
        unscored.sort_by(|a, b| experts[*a].cmp(&experts[*b]));
        let sorted = |columns: &mut Vec<Column>| {
            let taken = order.iter().map(|at| std::mem::take(&mut columns[*at]));
            taken.collect::<Vec<_>>()
        };
        outcomes.scores = sorted(&mut scores);
        outcomes.costs_usd = sorted(&mut costs_usd);
        let named = |at: &Vec<usize>| at.iter().map(|at| experts[*at].clone()).collect();
        (outcomes.experts, outcomes.unscored) = (named(&order), named(&unscored));
        Ok(outcomes)
    }
}

fn finished(builders: Vec<Builder>) -> Vec<Column> {
    builders.into_iter().map(Builder::finish).collect()
}

/// Reads a line over what was in `line`, its end included; whether there was one.
fn next_line(file: &mut BufReader<File>, line: &mut Vec<u8>) -> Result<bool, LineError> {
    line.clear();
    let mut bounded = io::Read::by_ref(file).take(LINE_BYTES_MAX as u64);
    let read = bounded.read_until(b'\n', line)?;
    if read == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        return Err(LineError::TooLong {
            bytes_max: LINE_BYTES_MAX,
        });
    }
    Ok(read > 0)
}

/// FNV-1a of 64 bits (Fowler, Noll and Vo 1991) over texts, each ended by a byte that UTF-8 never has: the same for the
/// same texts in every version of Rust.
fn digest(texts: &[&str]) -> u64 {
    let bytes = texts
        .iter()
        .flat_map(|text| text.bytes().chain(std::iter::once(0xff)));
    bytes.fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::causes;

    fn read_lines(lines: &str, options: &Options) -> Result<Outcomes, OutcomesError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes.jsonl");
        fs::write(&path, lines).unwrap();
        read(&[path], options)
    }

    fn by(field: &str) -> Options {
        Options {
            by: Some(field.to_owned()),
            ..Options::default()
        }
    }

    fn names<T: ToString>(ids: &[T]) -> Vec<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    const ROWS: &str = concat!(
        r#"{"id": "q1", "prompt": "2+2?", "category": "math", "task": "gsm", "scores": {"big": 1, "small": 0.5}, "other": [1, {}]}"#,
        "\n\n",
        r#"{"id": 2, "prompt": "A poem", "category": "art", "task": "free", "cost_usd": {"big": 0.01}, "scores": {"tiny": -1.0, "big": null}}"#,
        "\r\n",
        r#"{"id": "q1", "prompt": "2+2?", "category": "math", "task": "gsm", "scores": {"tiny": 0.25}}"#,
    );

    #[test]
    fn scores_are_a_matrix_with_holes() {
        let outcomes = read_lines(ROWS, &by("category")).unwrap();
        assert_eq!(names(outcomes.experts()), ["big", "small", "tiny"]);
        assert_eq!(names(outcomes.categories()), ["art", "math"]);
        let row = |row| -> Vec<_> { (0..3).map(|expert| outcomes.score(row, expert)).collect() };
        assert_eq!(outcomes.rows(), 2, "a question in two lines is one row");
        assert_eq!(row(0), [Some(1.0), Some(0.5), Some(0.25)]);
        assert_eq!(row(1), [None, None, Some(-1.0)]);
        assert_eq!((outcomes.category(0), outcomes.category(1)), (1, 0));
        assert_eq!(outcomes.rows_scored(), [1, 1, 2]);
        let costs: Vec<(usize, f64)> = outcomes.costs_usd(0).collect();
        assert!(
            matches!(costs[..], [(1, usd)] if (usd - 0.01).abs() < 1e-8),
            "{costs:?}"
        );
        assert_eq!((outcomes.prompt_bytes(1), outcomes.prompt(1)), (6, ""));
    }

    #[test]
    fn rows_can_be_parted_by_any_field_or_by_names_from_elsewhere() {
        let tasks = read_lines(ROWS, &by("task")).unwrap();
        assert_eq!(names(tasks.categories()), ["free", "gsm"]);
        let whole = read_lines(ROWS, &Options::default()).unwrap();
        assert_eq!(names(whole.categories()), ["all"]);
        let parted = whole.with_categories(&[CategoryId::new("z"), CategoryId::new("a")]);
        assert_eq!(names(parted.categories()), ["a", "z"]);
        assert_eq!((parted.category(0), parted.category(1)), (1, 0));
    }

    #[test]
    fn only_the_experts_asked_for_are_read_in_their_order() {
        let experts = ["tiny", "big"].map(ExpertId::new).to_vec();
        let options = Options {
            experts,
            texts: Texts::Keep,
            ..by("category")
        };
        let outcomes = read_lines(ROWS, &options).unwrap();
        assert_eq!(names(outcomes.experts()), ["tiny", "big"]);
        assert_eq!(outcomes.score(0, 1), Some(1.0));
        assert_eq!(outcomes.prompt(1), "A poem");
        let options = Options {
            experts: vec![ExpertId::new("bgi")],
            ..by("category")
        };
        let error = read_lines(ROWS, &options).unwrap_err().to_string();
        assert!(
            error.contains("`bgi`; scored are big, small, tiny"),
            "{error}"
        );
    }

    #[test]
    fn equal_prompts_are_the_same_question() {
        let rows = r#"{"id": "a", "prompt": "p", "scores": {"x": 1}}
{"id": "b", "prompt": "p", "scores": {"x": 0}}
{"id": "c", "scores": {"x": 0}}
{"scores": {"x": 0}}"#;
        let outcomes = read_lines(rows, &Options::default()).unwrap();
        let asked: Vec<_> = (0..4).map(|row| outcomes.question(row)).collect();
        assert_eq!(asked[0], asked[1]);
        assert!(asked[1] != asked[2] && asked[2] != asked[3]);
    }

    #[test]
    fn every_wrong_line_is_named_with_what_is_wrong() {
        let cases = [
            ("{", "column 1: EOF"),
            ("[1]", "expected a JSON object with `id`"),
            (r#"{"category": "a"}"#, "`scores` is missing; write"),
            (
                r#"{"category": "a", "scores": 1}"#,
                "column 29: invalid type: integer `1`, expected `scores` to be an object of numbers",
            ),
            (
                r#"{"category": "a", "scores": {"x": "1"}}"#,
                "expected a number in `scores`, or null",
            ),
            (r#"{"category": "a", "scores": {"x": NaN}}"#, "column 35: "),
            (
                r#"{"category": "a", "scores": {"": 1}}"#,
                "an expert's name is empty",
            ),
            (r#"{"category": "a", "scores": {"x": 1e300}}"#, "too large"),
            (
                r#"{"task": "a", "scores": {"x": 1}}"#,
                "`category` is missing, which gives the category; the row has task, scores",
            ),
            (
                r#"{"category": ["a"], "scores": {"x": 1}}"#,
                "expected `category` to be a text",
            ),
        ];
        for (line, complaint) in cases {
            let error = read_lines(&format!("\n{line}\n"), &by("category")).unwrap_err();
            let error = causes::in_full(&error);
            assert!(error.contains("outcomes.jsonl:2: "), "{error}");
            assert!(error.contains(complaint), "{line}: {error}");
        }
    }

    #[test]
    fn an_expert_without_any_score_is_left_out_and_told() {
        let rows = r#"{"scores": {"new": null, "big": 1, "other": null}}"#;
        let outcomes = read_lines(rows, &Options::default()).unwrap();
        assert_eq!(names(outcomes.experts()), ["big"]);
        assert_eq!(names(outcomes.unscored()), ["new", "other"]);
        assert_eq!(outcomes.score(0, 0), Some(1.0));
    }

    #[test]
    fn a_mark_before_the_first_line_is_skipped() {
        let rows = "\u{feff}{\"scores\": {\"x\": 1}}\n";
        assert_eq!(read_lines(rows, &Options::default()).unwrap().rows(), 1);
    }

    #[test]
    fn a_second_score_of_the_same_question_is_refused_with_both_lines() {
        let rows =
            "{\"id\": 1, \"scores\": {\"x\": 1}}\n\n{\"id\": 1, \"scores\": {\"y\": 1, \"x\": 0}}";
        let error = read_lines(rows, &Options::default()).unwrap_err();
        let error = causes::in_full(&error);
        assert!(error.contains("outcomes.jsonl:3: "), "{error}");
        assert!(
            error.contains("`x` has a score already on this question (id `1`), which began at ")
                && error.contains("outcomes.jsonl:1;"),
            "{error}"
        );
    }

    #[test]
    fn an_expert_with_two_scores_on_one_line_is_refused() {
        let rows = r#"{"id": 1, "scores": {"x": 1, "y": 0, "x": 0}}"#;
        let error = read_lines(rows, &Options::default()).unwrap_err();
        let error = causes::in_full(&error);
        assert!(
            error.contains("outcomes.jsonl:1: ")
                && error.contains("`scores` has two numbers for `x`; keep one"),
            "{error}"
        );
    }

    #[test]
    fn a_question_of_two_categories_is_refused_whichever_comes_first() {
        let by = Options {
            by: Some("topic".into()),
            ..Options::default()
        };
        let lines = [
            r#"{"id": 1, "topic": "a", "scores": {"x": 1}}"#,
            r#"{"id": 1, "topic": "b", "scores": {"y": 0}}"#,
        ];
        for (first, second, category) in [(0, 1, "b"), (1, 0, "a")] {
            let rows = format!("{}\n{}", lines[first], lines[second]);
            let error = causes::in_full(&read_lines(&rows, &by).unwrap_err());
            assert!(
                error.contains(&format!(
                    "jsonl:2: this question (id `1`) is of `{category}` here"
                )),
                "{error}"
            );
        }
        let same = format!("{}\n{}", lines[0], lines[1].replace("\"b\"", "\"a\""));
        assert_eq!(read_lines(&same, &by).unwrap().rows(), 1);
    }

    #[test]
    fn files_without_anything_to_fit_on_are_refused() {
        let error = read(&["absent.jsonl".into()], &Options::default()).unwrap_err();
        assert!(error.to_string().contains("absent.jsonl"), "{error}");
        let read = |lines| read_lines(lines, &Options::default());
        assert!(matches!(read("\n"), Err(OutcomesError::Empty { .. })));
        assert!(matches!(
            read(r#"{"scores": {"x": null}}"#),
            Err(OutcomesError::NoScores)
        ));
        let texts = Texts::Keep;
        let error = read_lines(
            r#"{"scores": {"x": 1}}"#,
            &Options {
                texts,
                ..Options::default()
            },
        );
        assert!(causes::in_full(&error.unwrap_err()).contains("`prompt` is missing"));
    }
}
