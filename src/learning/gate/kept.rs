//! What the challenger must not lose: shares of rows that are as they should be.

use std::collections::BTreeMap;

use super::{Bounds, Check, Ending, Row, Said, Subject, better, paired::Pairs};
use crate::{ids::OUT_OF_DOMAIN, risk::misroute_upper};

/// A share of rows, and when a row is as it should be.
struct Share {
    subject: Subject,
    of: &'static str,
    is_well: fn(&Row, Said) -> bool,
}

/// What is asked in the place of being better.
const RIGHT: Share = Share {
    subject: Subject::Better,
    of: "right (the routes have changed since the champion was trained, so that no gain is asked for)",
    is_well: |_, said| said.is_right,
};

/// Those of the newest rows that are right: of them nothing was known but what came before, as of tomorrow's.
const NEWEST: Share = Share {
    subject: Subject::Newest,
    of: "right of the newest rows, of which nothing was known but what came before",
    is_well: |_, said| said.is_right,
};

/// What is done with a question goes by the threshold as well: it may make a router that knows more refuse more.
const SETTLED: Share = Share {
    subject: Subject::Settled,
    of: "sent to their category, or refused where none covers them",
    is_well: |row, said| match row.label.as_str() {
        OUT_OF_DOMAIN => !said.is_routed,
        _ => said.is_routed && said.is_right,
    },
};

/// Or route more, of which more is wrong.
const MISROUTED: Share = Share {
    subject: Subject::Misrouted,
    of: "not sent to a wrong category",
    is_well: |_, said| said.is_right || !said.is_routed,
};

/// How sure it must be that the champion misroutes more than may be.
const BROKEN_LEVEL: f64 = 0.95;

/// Whether the challenger is right about as often.
pub(super) fn as_often_right(rows: &[Row], bounds: &Bounds) -> Check {
    let all: Vec<&Row> = rows.iter().collect();
    check(&RIGHT, &all, bounds)
}

/// One check for each share.
pub(super) fn checks(rows: &[Row], bounds: &Bounds) -> [Check; 3] {
    let newest: Vec<&Row> = rows.iter().filter(|row| row.is_newest).collect();
    let all: Vec<&Row> = rows.iter().collect();
    [
        check(&NEWEST, &newest, bounds),
        broken_promise(rows, bounds).unwrap_or_else(|| check(&SETTLED, &all, bounds)),
        no_bolder(rows, bounds).unwrap_or_else(|| check(&MISROUTED, &all, bounds)),
    ]
}

/// How many rows a router routes, and how many of these rightly.
fn routed(rows: &[Row], said: fn(&Row) -> Said) -> (usize, usize) {
    let routed = rows.iter().map(said).filter(|said| said.is_routed);
    let right = routed.clone().filter(|said| said.is_right).count();
    (routed.count(), right)
}

/// The share of what a router routes that is wrong; none where it routes nothing.
fn misrouted(rows: &[Row], said: fn(&Row) -> Said) -> Option<f64> {
    let (routed, right) = routed(rows, said);
    (routed > 0).then(|| (routed - right) as f64 / routed as f64)
}

/// What stands in the place of what is misrouted where no more is wrong of what the challenger routes than of what the champion
/// does: who routes twice as many questions sends more of them astray, and keeps the promise no worse.
fn no_bolder(rows: &[Row], bounds: &Bounds) -> Option<Check> {
    let champion = misrouted(rows, |row| row.champion)?;
    let challenger = misrouted(rows, |row| row.challenger)?;
    if challenger > champion {
        return None;
    }
    let words = format!(
        "{}: no worse, {:.1} % of what it routes is misrouted, beside {:.1} %",
        MISROUTED.of,
        100.0 * challenger,
        100.0 * champion
    );
    let check = Check::new(
        MISROUTED.subject,
        Ending::Passed,
        -bounds.category_margin,
        words,
    );
    Some(check.with_figures([1.0 - champion, 1.0 - challenger]))
}

/// What stands in the place of what is settled where the champion misroutes more of what it routes than may be: a challenger
/// that keeps the promise must refuse some of that.
fn broken_promise(rows: &[Row], bounds: &Bounds) -> Option<Check> {
    let (routed, right) = routed(rows, |row| row.champion);
    let misrouted_at_least = 1.0 - misroute_upper(right, routed, BROKEN_LEVEL);
    if routed == 0 || misrouted_at_least <= bounds.misroute_max {
        return None;
    }
    let words = format!(
        "{}: not judged, the champion misroutes {:.1} % of what it routes, and {:.1} % may be",
        SETTLED.of,
        100.0 * (routed - right) as f64 / routed as f64,
        100.0 * bounds.misroute_max
    );
    Some(Check::new(
        SETTLED.subject,
        Ending::Skipped,
        -bounds.category_margin,
        words,
    ))
}

/// Refused if the challenger loses more than a category may, and not by chance. Rows of one conversation count once.
fn check(share: &Share, rows: &[&Row], bounds: &Bounds) -> Check {
    let margin = bounds.category_margin;
    if rows.len() < bounds.category_rows_min.max(1) {
        let words = format!(
            "{}: not judged, {} rows, {} are needed",
            share.of,
            rows.len(),
            bounds.category_rows_min
        );
        return Check::new(share.subject, Ending::Skipped, -margin, words);
    }
    let mut nets: BTreeMap<u64, i64> = BTreeMap::new();
    for row in rows {
        let [champion, challenger] =
            [row.champion, row.challenger].map(|said| i64::from((share.is_well)(row, said)));
        *nets.entry(row.conversation).or_default() += challenger - champion;
    }
    let pairs = Pairs::of(nets.into_values());
    let (interval, p_value) = (pairs.interval(bounds.confidence), pairs.p_of_loss());
    let figures = [|row: &Row| row.champion, |row: &Row| row.challenger].map(|said| {
        let well = rows.iter().filter(|row| (share.is_well)(row, said(row)));
        well.count() as f64 / rows.len() as f64
    });
    let [champion, challenger] = figures;
    let is_loss = challenger - champion < -margin && p_value <= 1.0 - bounds.confidence;
    let said = match is_loss {
        true => "worse",
        false => "not found to be worse",
    };
    let words = format!(
        "{}: {said}, {} on {} rows (p of a loss = {p_value:.4})",
        share.of,
        better::in_words(figures, interval),
        rows.len()
    );
    Check::new(share.subject, Ending::passed_if(!is_loss), -margin, words)
        .with_figures(figures)
        .with_doubt(interval, p_value)
}
