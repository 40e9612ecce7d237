//! What one outcome is outside of the store: its columns, and those of the feedback and the labels on it, told once, for
//! every format and for the store.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number of 64 bits.
    Whole,
    /// A number.
    Number,
    /// True or false.
    Truth,
    /// Text.
    Text,
    /// A JSON document, as text.
    Json,
}

impl Kind {
    /// What a person is told to write.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Truth => "true or false",
            Self::Text => "a text",
            Self::Json => "JSON",
        }
    }
}

/// A column, by its name in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it always holds something.
    pub required: bool,
    /// Whether it holds people's words, of which no more is kept than is configured.
    pub is_said: bool,
}

/// The columns of one table, in the order in which rows have them.
pub type Table = &'static [Column];

const fn required(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        required: true,
        is_said: false,
    }
}

const fn optional(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        required: false,
        is_said: false,
    }
}

const fn said(name: &'static str) -> Column {
    Column {
        is_said: true,
        ..optional(name, Kind::Text)
    }
}

/// The columns of `outcomes`, explained in the migrations.
pub const OUTCOMES: Table = &[
    required("id", Kind::Text),
    required("asked_at_ms", Kind::Whole),
    optional("key_name", Kind::Text),
    required("model", Kind::Text),
    required("streamed", Kind::Truth),
    said("question"),
    optional("session", Kind::Text),
    optional("category", Kind::Text),
    optional("confidence", Kind::Number),
    required("scores", Kind::Json),
    required("router", Kind::Text),
    required("reason", Kind::Text),
    required("reason_detail", Kind::Json),
    required("expert", Kind::Text),
    required("fallbacks", Kind::Json),
    optional("propensity", Kind::Number),
    optional("strangeness", Kind::Number),
    required("decision_us", Kind::Whole),
    required("attempts", Kind::Json),
    optional("answered_by", Kind::Text),
    optional("first_token_us", Kind::Whole),
    required("total_us", Kind::Whole),
    optional("prompt_tokens", Kind::Whole),
    optional("completion_tokens", Kind::Whole),
    optional("cost_usd", Kind::Number),
    required("ending", Kind::Text),
    optional("error", Kind::Text),
    said("answer"),
];

/// Where [`OUTCOMES`] has the id.
const ID: usize = 0;

/// The columns of `feedback`, but for its number and its outcome.
pub const FEEDBACK: Table = &[
    required("given_at_ms", Kind::Whole),
    optional("score", Kind::Number),
    optional("category", Kind::Text),
    optional("expert", Kind::Text),
    said("comment"),
    optional("key_name", Kind::Text),
    optional("judged_by", Kind::Text),
];

/// The columns of `labels`, but for its number and its outcome.
pub const LABELS: Table = &[
    required("given_at_ms", Kind::Whole),
    required("category", Kind::Text),
    required("origin", Kind::Text),
    required("given_by", Kind::Text),
];

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Unknown or absent.
    Null,
    /// Of [`Kind::Whole`].
    Whole(i64),
    /// Of [`Kind::Number`].
    Number(f64),
    /// Of [`Kind::Truth`].
    Truth(bool),
    /// Of [`Kind::Text`], or of [`Kind::Json`].
    Text(String),
}

impl Cell {
    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.text().map_or(0, str::len)
    }
}

/// The values of one row, as many as its table has columns.
pub type Row = Vec<Cell>;

/// One outcome with what was said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// A row of [`OUTCOMES`].
    pub outcome: Row,
    /// Rows of [`FEEDBACK`], in the order in which they were given.
    pub feedback: Vec<Row>,
    /// Rows of [`LABELS`], in the order in which they were given.
    pub labels: Vec<Row>,
}

impl Record {
    /// The outcome's id.
    pub fn id(&self) -> &str {
        self.outcome[ID].text().unwrap_or_default()
    }

    /// Leaves of people's words what `keep` does.
    pub fn keep_said(&mut self, keep: impl Fn(String) -> Option<String>) {
        let said = self.feedback.iter_mut().map(|row| (FEEDBACK, row));
        for (table, row) in said.chain([(OUTCOMES, &mut self.outcome)]) {
            for (column, cell) in table.iter().zip(row) {
                if column.is_said
                    && let Cell::Text(text) = cell
                {
                    *cell = keep(std::mem::take(text)).map_or(Cell::Null, Cell::Text);
                }
            }
        }
    }

    /// What no outcome of ours could say; none where all may be true.
    pub fn flaw(&self) -> Option<&'static str> {
        let cell = |name: &str| OUTCOMES.iter().position(|column| column.name == name);
        let cell = |name: &str| cell(name).and_then(|at| self.outcome.get(at));
        if let Some(Cell::Number(propensity)) = cell("propensity")
            && !(*propensity > 0.0 && *propensity <= 1.0)
        {
            return Some("`propensity` must be above 0 and at most 1");
        }
        match cell("asked_at_ms") {
            Some(Cell::Whole(at_ms)) if *at_ms < 0 => Some("`asked_at_ms` must be at least 0"),
            _ => None,
        }
    }

    /// About how many bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        let rows = self.feedback.iter().chain(&self.labels);
        let said: usize = rows.flatten().map(Cell::bytes).sum();
        said + self.outcome.iter().map(Cell::bytes).sum::<usize>()
    }
}
