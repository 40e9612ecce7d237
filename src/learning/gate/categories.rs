//! Whether a category loses what the others gain.
//!
//! A category holds a challenger back if its loss is large, which is to say more than the margin, and certain, which is to
//! say more than chance in any of so many categories would bring. Either alone would not do: by chance small categories
//! lose more than any margin, and in a large one a loss may be certain that nobody would notice. To demand of every
//! category a proof that it loses no more than the margin would refuse all challengers: with 100 rows, of which the two
//! disagree on twelve, nothing below seven points can be told from chance.

use std::collections::BTreeMap;

use super::{
    Bounds, Check, Ending, Interval, Row, Subject, better,
    bootstrap::Bootstrap,
    paired::{self, Pairs},
    sample::{Group, Sample},
};

/// One check for each category with enough rows, and one for all others together. Categories with too few rows even
/// together are not judged: a loss in them is seen only in the accuracy of all rows.
pub(super) fn checks(sample: &Sample<'_>, bootstrap: &Bootstrap, bounds: &Bounds) -> Vec<Check> {
    let judged: Vec<usize> = (0..sample.groups().len())
        .filter(|group| sample.groups()[*group].rows >= bounds.category_rows_min.max(1))
        .collect();
    let witnesses = witnesses(sample);
    let p_values: Vec<f64> = judged
        .iter()
        .map(|group| witnesses[*group].p_of_loss())
        .collect();
    let mut checks: Vec<Check> = judged
        .iter()
        .zip(paired::holm(&p_values))
        .map(|(group, p_value)| check(sample, bootstrap, bounds, *group, p_value))
        .collect();
    checks.extend(
        sample
            .groups()
            .iter()
            .filter(|group| group.rows < bounds.category_rows_min.max(1))
            .map(|group| skipped(group, bounds)),
    );
    checks
}

/// For each group, in how many conversations each router did better in it. A conversation counts once, however many rows
/// it has, by what is left when its gains and losses cancel out; where it has one row, these are the rows.
///
/// What a new category takes away is left out: whoever adds one wants it to have questions that were others' before, and how
/// many of them wrongly shows in the measure over all rows.
fn witnesses(sample: &Sample<'_>) -> Vec<Pairs> {
    let mut nets: Vec<BTreeMap<usize, i64>> = vec![BTreeMap::new(); sample.groups().len()];
    for (at, row) in sample.rows().iter().enumerate() {
        let of_conversation = nets[sample.group_of(at)].entry(sample.conversation_of(at));
        *of_conversation.or_default() += if row.is_taken { 0 } else { row.net() };
    }
    nets.into_iter()
        .map(|nets| Pairs::of(nets.into_values()))
        .collect()
}

fn check(
    sample: &Sample<'_>,
    bootstrap: &Bootstrap,
    bounds: &Bounds,
    number: usize,
    p_value: f64,
) -> Check {
    let group = &sample.groups()[number];
    let rows = sample
        .rows()
        .iter()
        .enumerate()
        .filter(|(at, _)| sample.group_of(*at) == number)
        .map(|(_, row)| row);
    let taken = rows.clone().filter(|row| row.is_taken).count();
    let interval = interval(sample, bootstrap, bounds.confidence, (number, rows.clone()));
    let is_large = gain(rows.clone()) < -bounds.category_margin;
    let accuracies = better::accuracies(rows);
    let is_certain = p_value <= 1.0 - bounds.category_confidence;
    let ending = Ending::passed_if(!(is_large && is_certain));
    let said = match (is_large, is_certain) {
        (true, true) => "loses",
        (true, false) => "loses no more than chance would explain",
        (false, _) => "loses no more than its margin",
    };
    let words = format!(
        "{} {said}: {} on {} rows{} (p of a loss = {p_value:.4}, corrected for all categories)",
        group.in_words(),
        better::in_words(accuracies, interval),
        group.rows,
        match taken {
            0 => String::new(),
            taken => format!(", of which categories that are new take {taken}"),
        }
    );
    group
        .check(ending, bounds, words)
        .with_figures(accuracies)
        .with_doubt(interval, p_value)
}

/// The accuracy that a challenger gains, without what new categories take: see [`witnesses`].
fn gain<'r>(rows: impl Iterator<Item = &'r Row>) -> f64 {
    let (net, count) = rows.fold((0, 0_u32), |(net, count), row| {
        let of_row = if row.is_taken { 0 } else { row.net() };
        (net + of_row, count + 1)
    });
    net as f64 / f64::from(count.max(1))
}

fn interval<'r>(
    sample: &Sample<'_>,
    bootstrap: &Bootstrap,
    confidence: f64,
    (group, rows): (usize, impl Iterator<Item = &'r Row>),
) -> Interval {
    if sample.is_of_single_rows() {
        Pairs::of(rows.map(Row::net)).interval(confidence)
    } else {
        bootstrap
            .spread(|figures| figures.group_gains[group])
            .interval(confidence)
    }
}

fn skipped(group: &Group, bounds: &Bounds) -> Check {
    let words = format!(
        "{} not judged: {} rows, {} are needed",
        group.in_words(),
        group.rows,
        bounds.category_rows_min
    );
    group.check(Ending::Skipped, bounds, words)
}

impl Group {
    fn check(&self, ending: Ending, bounds: &Bounds, words: String) -> Check {
        let subject = match self.is_of_small {
            true => Subject::SmallCategories,
            false => Subject::Category,
        };
        let mut check = Check::new(subject, ending, -bounds.category_margin, words);
        check.category = match self.is_of_small {
            true => None,
            false => self.categories.first().cloned(),
        };
        check
    }

    fn in_words(&self) -> String {
        let names: Vec<String> = self.categories.iter().map(|id| format!("`{id}`")).collect();
        match self.is_of_small {
            true => format!("what has too few rows by itself ({})", names.join(", ")),
            false => names.join(", "),
        }
    }
}
