//! Evidence → rows to learn from: one category for each distinct text, and an account of what was left out and why.
//!
//! A statement of a more trustworthy origin wins over any of a lesser one ([`Origin`]'s order); among equals the category
//! that was given most often, of equals the one given last.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{
    Evidence, Gathered, Origin, Statement, share,
    trust::{self, Distrusted},
};
use crate::{
    config::Config,
    ids::{CategoryId, OUT_OF_DOMAIN},
    query::Query,
};

pub use super::share::CLIENT_SHARE_MAX;

/// What evidence is turned into rows with.
#[derive(Clone, Debug)]
pub struct Rules<'r> {
    /// Origins that do not count.
    pub without: &'r [Origin],
    /// The categories that there are; `out_of_domain` always counts.
    pub categories: &'r [CategoryId],
    /// See [`CLIENT_SHARE_MAX`].
    pub client_share_max: f64,
}

/// A row to learn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The question, as it is classified.
    pub text: String,
    /// What it is about.
    pub category: CategoryId,
    /// Who says so.
    pub origin: Origin,
    /// The client, where it is feedback.
    pub client: Option<String>,
    /// When it was asked last, milliseconds since 1970 UTC.
    pub asked_at_ms: i64,
    /// Its conversation, or what stands for it.
    pub conversation: String,
}

/// What became of the evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Account {
    /// Outcomes of which something was said.
    pub outcomes: usize,
    /// Statements that were read: of each source the last word on each outcome.
    pub statements: usize,
    /// Statements that were not, since there are more than are read at once.
    pub unread: u64,
    /// Statements of origins that were left out.
    pub left_out: usize,
    /// Statements that name a category that does not exist.
    pub unknown_category: usize,
    /// Statements of clients that are not believed.
    pub distrusted: usize,
    /// Those clients.
    pub clients_distrusted: Vec<Distrusted>,
    /// Outcomes whose text was asked before, or after.
    pub duplicates: usize,
    /// Texts of which the best origin says several things.
    pub disputed: usize,
    /// Rows left out because the routes' examples say otherwise of the text.
    pub contradicted: usize,
    /// Rows left out because one client gave too many.
    pub capped: usize,
    /// Rows left out, the oldest, because there are more than are learnt from at once.
    pub surplus: usize,
    /// Rows that are left, by origin.
    pub rows: BTreeMap<String, usize>,
}

/// Turns evidence into rows by what is configured, without what these origins say.
pub fn by_config(gathered: &Gathered, config: &Config, without: &[Origin]) -> (Vec<Row>, Account) {
    let routes = config.catalogue.routes.iter();
    let categories: Vec<CategoryId> = routes.map(|route| route.category.clone()).collect();
    let rules = Rules {
        without,
        categories: &categories,
        client_share_max: config.learning.client_share_max,
    };
    let (rows, mut account) = resolve(&gathered.evidence, &rules);
    account.unread = gathered.unread;
    (rows, account)
}

/// Turns evidence, in any order, into rows, oldest first.
pub fn resolve(evidence: &[Evidence], rules: &Rules<'_>) -> (Vec<Row>, Account) {
    let clients_distrusted = trust::distrusted(evidence);
    let mut account = Account {
        outcomes: evidence.len(),
        ..Account::default()
    };
    let mut texts: HashMap<String, Vec<Said<'_>>> = HashMap::new();
    for outcome in evidence {
        let counts = |statement: &&Statement| {
            account.statements += 1;
            let refused = refusal(statement, rules, &clients_distrusted);
            match refused {
                Some(Refused::Origin) => account.left_out += 1,
                Some(Refused::Category) => account.unknown_category += 1,
                Some(Refused::Client) => account.distrusted += 1,
                None => {}
            }
            refused.is_none()
        };
        let statements: Vec<_> = outcome.statements.iter().filter(counts).collect();
        let text = Query::from_text(&outcome.question).text;
        if !statements.is_empty() && !text.is_empty() {
            texts.entry(text).or_default().push(Said {
                outcome,
                statements,
            });
        }
    }
    account.clients_distrusted = clients_distrusted;
    account.duplicates = texts.values().map(|said| said.len() - 1).sum();
    let mut rows: Vec<Row> = texts
        .into_iter()
        .filter_map(|(text, said)| row(text, &said, &mut account.disputed))
        .collect();
    rows.sort_by(|a, b| (a.asked_at_ms, &a.text).cmp(&(b.asked_at_ms, &b.text)));
    account.capped = cap(&mut rows, rules.client_share_max);
    for row in &rows {
        *account.rows.entry(row.origin.to_string()).or_default() += 1;
    }
    (rows, account)
}

/// What counts of one outcome's statements.
struct Said<'e> {
    outcome: &'e Evidence,
    statements: Vec<&'e Statement>,
}

enum Refused {
    Origin,
    Category,
    Client,
}

fn refusal(statement: &Statement, rules: &Rules<'_>, distrusted: &[Distrusted]) -> Option<Refused> {
    let is_known = |category: &str| {
        category == OUT_OF_DOMAIN || rules.categories.iter().any(|it| it.as_str() == category)
    };
    let is_distrusted = || {
        let client = statement.given_by.as_ref();
        statement.origin == Origin::Feedback
            && client.is_some_and(|client| distrusted.iter().any(|it| it.client == *client))
    };
    if rules.without.contains(&statement.origin) {
        Some(Refused::Origin)
    } else if !is_known(&statement.category) {
        Some(Refused::Category)
    } else if is_distrusted() {
        Some(Refused::Client)
    } else {
        None
    }
}

/// The row of one text: by what its best origin says.
fn row(text: String, said: &[Said<'_>], disputed: &mut usize) -> Option<Row> {
    let all = || said.iter().flat_map(|said| said.statements.iter().copied());
    let best = all().map(|statement| &statement.origin).max()?;
    let mut best: Vec<&Statement> = all().filter(|it| it.origin == *best).collect();
    best.sort_by_key(|statement| statement.given_at_ms);
    let chosen = elected(&best)?;
    *disputed += usize::from(best.iter().any(|it| it.category != chosen.category));
    let last = said.iter().map(|said| said.outcome);
    let last =
        last.max_by(|a, b| (a.asked_at_ms, &a.outcome_id).cmp(&(b.asked_at_ms, &b.outcome_id)))?;
    Some(Row {
        text,
        category: CategoryId::new(chosen.category.as_str()),
        origin: chosen.origin.clone(),
        client: match chosen.origin {
            Origin::Feedback => chosen.given_by.clone(),
            _ => None,
        },
        asked_at_ms: last.asked_at_ms,
        conversation: last.conversation().to_owned(),
    })
}

/// The statement whose category was given most often, of equals the one given last.
///
/// What one source says twice counts once, with its last word.
fn elected<'s>(statements: &[&'s Statement]) -> Option<&'s Statement> {
    let mut last_words: BTreeMap<(Option<&str>, i64), &Statement> = BTreeMap::new();
    for (at, statement) in (0..).zip(statements) {
        // Whoever has no name may be anyone: each statement is somebody's.
        let number = if statement.given_by.is_some() { -1 } else { at };
        last_words.insert((statement.given_by.as_deref(), number), statement);
    }
    let votes = |wanted: &Statement| {
        let same = last_words
            .values()
            .filter(|it| it.category == wanted.category);
        same.count()
    };
    last_words
        .values()
        .copied()
        .max_by_key(|statement| (votes(statement), statement.given_at_ms))
}

/// Leaves out rows of clients that gave more of the feedback than one may, evenly over time; returns how many.
fn cap(rows: &mut Vec<Row>, share_max: f64) -> usize {
    let mut by_client: BTreeMap<&str, usize> = BTreeMap::new();
    for client in rows.iter().filter_map(|row| row.client.as_deref()) {
        *by_client.entry(client).or_default() += 1;
    }
    let allowed = share::allowed(&by_client.values().copied().collect::<Vec<_>>(), share_max);
    let mut given: BTreeMap<String, Given> = by_client
        .into_iter()
        .map(|(client, rows)| (client.to_owned(), Given { rows, so_far: 0 }))
        .collect();
    let before = rows.len();
    rows.retain(|row| {
        let given = row.client.as_ref().and_then(|client| given.get_mut(client));
        given.is_none_or(|given| given.keeps_next(allowed))
    });
    before - rows.len()
}

/// A client's rows, one after the other.
struct Given {
    rows: usize,
    so_far: usize,
}

impl Given {
    /// Whether the next row is among those `allowed`, which are spread evenly.
    fn keeps_next(&mut self, allowed: usize) -> bool {
        let kept = allowed.min(self.rows);
        let up_to = |rows: usize| rows * kept / self.rows;
        self.so_far += 1;
        up_to(self.so_far) > up_to(self.so_far - 1)
    }
}

#[cfg(test)]
mod tests;
