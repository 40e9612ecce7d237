//! One line of an outcome file. Parsed without building the JSON in between: files have millions of scores.

use std::{collections::HashMap, fmt, io, path::PathBuf};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::ids::ExpertId;

/// Names in `scores` are experts; more than this are a mistake in the file, such as a question's words for keys.
const EXPERTS_MAX: usize = 10_000;

/// What is wrong with one line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not text.
    #[error("the line cannot be read")]
    Unreadable(#[from] io::Error),
    /// It is longer than any question.
    #[error("the line is longer than {bytes_max} bytes; write one JSON object a line")]
    TooLong {
        /// What a line may have.
        bytes_max: usize,
    },
    /// It is not JSON, or a field is not what it must be.
    #[error("column {column}: {problem}")]
    Malformed {
        /// Where, counted from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// It has no scores.
    #[error("`scores` is missing; write {{\"scores\": {{\"EXPERT\": 0.8}}}}")]
    NoScores,
    /// It lacks the field that gives its category.
    #[error("`{field}` is missing, which gives the category; the row has {}", has.join(", "))]
    NoCategory {
        /// The field.
        field: String,
        /// Fields that the row has.
        has: Vec<String>,
    },
    /// It has no text, where the category comes from that.
    #[error("`prompt` is missing; write the question as text")]
    NoPrompt,
    /// An expert has a second score on the same question.
    #[error(
        "`{expert}` has a score already on this question (id `{id}`), which began at {}:{line}; give each question an `id` of its own",
        file.display()
    )]
    ScoredAgain {
        /// Who has two.
        expert: ExpertId,
        /// The question's id.
        id: String,
        /// Where the question came first.
        file: PathBuf,
        /// The line there, counted from 1.
        line: u32,
    },
    /// A question has another category than before.
    #[error(
        "this question (id `{id}`) is of `{category}` here and of another category at {}:{line}, where it came first; give both lines the same, or each question an `id` of its own",
        file.display()
    )]
    OtherCategory {
        /// The category here.
        category: String,
        /// The question's id.
        id: String,
        /// Where the question came first.
        file: PathBuf,
        /// The line there, counted from 1.
        line: u32,
    },
    /// Too many different names in `scores`.
    #[error("`scores` has named more than {EXPERTS_MAX} experts by now; its keys must be experts")]
    TooManyExperts,
}

/// The experts that were met, numbered as they came.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// None for an expert that was not asked for.
    number_of: HashMap<Box<str>, Option<usize>>,
    experts: Vec<ExpertId>,
    /// Whether only the experts given at first are wanted.
    closed: bool,
}

/// What a line says; reused from line to line.
#[derive(Debug, Default)]
pub(super) struct RawRow {
    pub(super) id: Option<String>,
    pub(super) prompt: Option<String>,
    pub(super) category: Option<String>,
    /// Expert's number, score.
    pub(super) scores: Vec<(usize, f32)>,
    /// Expert's number, dollars.
    pub(super) costs_usd: Vec<(usize, f32)>,
    has_scores: bool,
    too_many: bool,
    fields: Vec<String>,
}

impl Names {
    /// Takes only these experts, or all where none is given.
    pub(super) fn new(wanted: &[ExpertId]) -> Self {
        let mut names = Self::default();
        for expert in wanted {
            names.number(expert.as_str());
        }
        names.closed = !wanted.is_empty();
        names
    }

    /// The experts by number.
    pub(super) fn experts(&self) -> &[ExpertId] {
        &self.experts
    }

    /// Experts that were met though nobody asked for them, by name.
    pub(super) fn others(&self) -> Vec<&str> {
        let others = self.number_of.iter();
        let mut others: Vec<&str> = others
            .filter(|(_, number)| number.is_none())
            .map(|(name, _)| &**name)
            .collect();
        others.sort_unstable();
        others
    }

    fn number(&mut self, name: &str) -> Option<usize> {
        if let Some(number) = self.number_of.get(name) {
            return *number;
        }
        let number = (!self.closed).then_some(self.experts.len());
        if number.is_some() {
            self.experts.push(ExpertId::new(name));
        }
        self.number_of.insert(name.into(), number);
        number
    }
}

impl RawRow {
    /// Reads a line over what was here before. `by`: the field that gives the category.
    pub(super) fn read(
        &mut self,
        line: &[u8],
        names: &mut Names,
        by: Option<&str>,
    ) -> Result<(), LineError> {
        self.clear();
        let mut json = serde_json::Deserializer::from_slice(line);
        let reader = RowReader {
            row: self,
            names,
            by,
        };
        let parsed = json.deserialize_map(reader).and_then(|()| json.end());
        if self.too_many {
            return Err(LineError::TooManyExperts);
        }
        parsed.map_err(|error| malformed(&error))?;
        if !self.has_scores {
            return Err(LineError::NoScores);
        }
        match by {
            Some(field) if self.category.is_none() => Err(LineError::NoCategory {
                field: field.to_owned(),
                has: self.fields.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn clear(&mut self) {
        self.scores.clear();
        self.costs_usd.clear();
        self.fields.clear();
        (self.id, self.prompt, self.category) = (None, None, None);
        (self.has_scores, self.too_many) = (false, false);
    }
}

/// The place in the file is known better than by the parser, which saw one line.
fn malformed(error: &serde_json::Error) -> LineError {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    LineError::Malformed {
        column: error.column().max(1),
        problem: text.strip_suffix(&place).unwrap_or(&text).to_owned(),
    }
}

struct RowReader<'a> {
    row: &'a mut RawRow,
    names: &'a mut Names,
    by: Option<&'a str>,
}

impl<'de> Visitor<'de> for RowReader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with `id`, `prompt` and `scores`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { row, names, by } = self;
        while let Some(field) = map.next_key_seed(Text)? {
            match field.as_str() {
                "scores" => {
                    row.has_scores = true;
                    let into = &mut row.scores;
                    map.next_value_seed(Numbers {
                        names,
                        into,
                        field: "scores",
                    })?;
                }
                COSTS => {
                    let into = &mut row.costs_usd;
                    map.next_value_seed(Numbers {
                        names,
                        into,
                        field: COSTS,
                    })?;
                }
                name if Some(name) == by => {
                    row.category = map.next_value_seed(Scalar(name))?;
                    // A field that is the category as well as the text or the name of the question.
                    match name {
                        "prompt" => row.prompt.clone_from(&row.category),
                        "id" => row.id.clone_from(&row.category),
                        _ => {}
                    }
                }
                "prompt" => row.prompt = map.next_value_seed(Scalar("prompt"))?,
                "id" => row.id = map.next_value_seed(Scalar("id"))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            row.too_many = names.experts.len() > EXPERTS_MAX;
            if row.too_many {
                return Err(serde::de::Error::custom("too many experts"));
            }
            row.fields.push(field);
        }
        Ok(())
    }
}

/// A key as text.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        serde::Deserialize::deserialize(from)
    }
}

/// The field of what each answer cost, in dollars.
const COSTS: &str = "cost_usd";

/// Numbers by expert: `scores` or [`COSTS`].
struct Numbers<'a> {
    names: &'a mut Names,
    into: &'a mut Vec<(usize, f32)>,
    field: &'static str,
}

impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` to be an object of numbers by expert", self.field)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(number) = map.next_key_seed(NameKey(self.names))? {
            let value = map.next_value_seed(Number(self.field))?;
            if let (Some(number), Some(value)) = (number, value) {
                self.into.push((number, value));
            }
        }
        self.into.sort_unstable_by_key(|(number, _)| *number);
        let mut pairs = self.into.windows(2);
        match pairs.find(|pair| pair[0].0 == pair[1].0) {
            None => Ok(()),
            Some(pair) => Err(serde::de::Error::custom(format_args!(
                "`{}` has two numbers for `{}`; keep one",
                self.field, self.names.experts[pair[0].0]
            ))),
        }
    }
}

/// A key that names an expert → its number.
struct NameKey<'a>(&'a mut Names);

impl<'de> DeserializeSeed<'de> for NameKey<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for NameKey<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an expert's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        if name.is_empty() {
            return Err(E::custom("an expert's name is empty"));
        }
        Ok(self.0.number(name))
    }
}

/// A number, or null where an expert was not tried.
struct Number(&'static str);

impl<'de> DeserializeSeed<'de> for Number {
    type Value = Option<f32>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<f32>, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Number {
    type Value = Option<f32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a number in `{}`, or null for an expert that was not tried",
            self.0
        )
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "seven digits are more than any judge gives; what overflows is refused"
    )]
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Option<f32>, E> {
        let value = value as f32;
        if !value.is_finite() {
            return Err(E::custom(format!("a number in `{}` is too large", self.0)));
        }
        if value < 0.0 && self.0 == COSTS {
            return Err(E::custom(format!("a number in `{COSTS}` is below 0")));
        }
        Ok(Some(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Option<f32>, E> {
        Ok(Some(value as f32))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Option<f32>, E> {
        self.visit_f64(value as f64)
    }

    fn visit_unit<E>(self) -> Result<Option<f32>, E> {
        Ok(None)
    }
}

/// A text, number or truth value as text; none if it is null.
struct Scalar<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Scalar<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<String>, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Scalar<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` to be a text", self.0)
    }

    fn visit_str<E>(self, value: &str) -> Result<Option<String>, E> {
        Ok(Some(value.to_owned()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Option<String>, E> {
        Ok(None)
    }
}
