//! What a retraining found, for a person who has a minute.

use std::fmt::Write as _;

use plotters::prelude::*;
use serde::Serialize;

use super::{
    crossfit::Heard,
    gate::{Check, Ending, Interval, Subject},
    remap::Remapped,
    resolve::Account,
    retrain::{PICTURE_FILE, Retrained},
};
use crate::{
    evaluate::{Evaluation, Judged},
    plot::{self, Area, BLUE, Drawn, GREY, PlotError, VERMILION},
};

/// Width of the picture, and the height that each of its lines has.
const WIDTH: u32 = 720;
const LINE_HEIGHT: u32 = 26;
const MARGIN_HEIGHT: u32 = 110;

/// How both did on the newest block of the rows that they were judged on, of which nothing was known but what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Newest {
    /// Its rows.
    pub rows: usize,
    /// Of how many of these the champion, or its stand-in, says the right category.
    pub champion_right: usize,
    /// Of how many the challenger's stand-in does.
    pub challenger_right: usize,
}

impl Newest {
    /// Counts the newest of what was said, which comes last.
    pub fn of(heard: &Heard) -> Self {
        let right = |said: &[Judged]| {
            let newest = said.iter().rev().take(heard.newest);
            newest.filter(|judged| judged.is_right()).count()
        };
        Self {
            rows: heard.newest,
            champion_right: right(&heard.champion),
            challenger_right: right(&heard.challenger),
        }
    }
}

/// The report as Markdown.
pub fn markdown(retrained: &Retrained) -> String {
    let mut text = format!(
        "# Router {} against {}\n\n**{}**\n\n",
        retrained.challenger,
        retrained.champion,
        verdict(retrained)
    );
    if let Some([champion, challenger]) = &retrained.figures {
        text += &table(champion, challenger);
        text += &by_time(retrained);
        let _ = write!(text, "\n![accuracy by category]({PICTURE_FILE})\n");
    }
    text += "\n## What was checked\n\n| | check |\n| --- | --- |\n";
    for check in &retrained.judgement.checks {
        let _ = writeln!(text, "| {} | {} |", mark(check.ending), check.words);
    }
    text += &mapping(&retrained.mapping);
    text += &evidence(retrained);
    text
}

/// Who should answer what instead, and whether that is better.
fn mapping(remapped: &Remapped) -> String {
    let mut text = format!(
        "\n## The mapping\n\n{}{}. {} older outcomes chose, {} newer ones judged.\n",
        if remapped.passed { "✓ " } else { "" },
        capital(&remapped.reason),
        remapped.chosen_by,
        remapped.judged_by
    );
    if remapped.changes.is_empty() {
        return text;
    }
    text += "\n| category | answered by | mean reward | would be | mean reward | changes the mean of all newer ones by |\n| --- | --- | --- | --- | --- | --- |\n";
    for change in &remapped.changes {
        let [now, then] = change.rewards;
        let [rows_now, rows_then] = change.rows;
        let judged = change.difference.map_or_else(
            || "–".to_owned(),
            |it| format!("{:+.3} ({:+.3} to {:+.3})", it.value, it.low, it.high),
        );
        let _ = writeln!(
            text,
            "| {} | {} | {now:.3} of {rows_now:.0} | {} | {then:.3} of {rows_then:.0} | {judged} |",
            change.category, change.from, change.to
        );
    }
    text
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>());
    format!("{}{}", first.unwrap_or_default(), letters.as_str())
}

fn verdict(retrained: &Retrained) -> String {
    format!("{}.", capital(&retrained.judgement.reason))
}

fn mark(ending: Ending) -> &'static str {
    match ending {
        Ending::Passed => "✓",
        Ending::Failed => "✗",
        Ending::Skipped => "–",
    }
}

fn table(champion: &Evaluation, challenger: &Evaluation) -> String {
    let mut text = format!(
        "| on {} rows, each unseen by whoever was asked | champion | challenger |\n| --- | --- | --- |\n",
        champion.rows
    );
    let both = |of: fn(&Evaluation) -> Option<f64>| [of(champion), of(challenger)];
    for (name, figures) in [
        ("accuracy", both(|it| Some(it.accuracy))),
        ("accuracy in domain", both(|it| it.in_domain_accuracy)),
        ("calibration error", both(|it| Some(it.ece))),
        ("AUROC out of domain", both(|it| it.ood_auroc)),
        ("routed", both(|it| Some(it.coverage))),
        ("misrouted of these", both(|it| it.misrouted)),
    ] {
        let [old, new] = figures.map(figure);
        let _ = writeln!(text, "| {name} | {old} | {new} |");
    }
    text
}

/// How far these rows are split by time, and what they say as far as they are.
fn by_time(retrained: &Retrained) -> String {
    const LATER: &str = "had learnt later questions of other conversations as well";
    let Some(newest) = retrained.newest else {
        return String::new();
    };
    let Newest {
        rows,
        champion_right,
        challenger_right,
    } = newest;
    let others = retrained.judged.saturating_sub(rows);
    if rows == 0 {
        return format!(
            "\nNone of these rows are of the newest block, which alone is a true split by time: the stand-ins that judged them {LATER}.\n"
        );
    }
    let percent = |right: usize| 100.0 * right as f64 / rows as f64;
    let mut text = format!(
        "\nOf these rows the newest {rows} alone are a true split by time: nothing was known but what came before. The champion is \
         right on {champion_right} of them ({:.1} %), the challenger on {challenger_right} ({:.1} %, {:+.1} points).",
        percent(champion_right),
        percent(challenger_right),
        percent(challenger_right) - percent(champion_right)
    );
    if others > 0 {
        let _ = write!(
            text,
            " The stand-ins that judged the other {others} {LATER}."
        );
    }
    text + "\n"
}

fn figure(figure: Option<f64>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.3}"))
}

/// What was learnt without a label.
fn guessed(questions: usize) -> String {
    match questions {
        0 => String::new(),
        _ => format!(
            " So were {questions} questions that nobody had labelled, as of categories that were accepted."
        ),
    }
}

fn evidence(retrained: &Retrained) -> String {
    let Account {
        outcomes,
        statements,
        unread,
        left_out,
        unknown_category,
        distrusted,
        clients_distrusted,
        duplicates,
        disputed,
        contradicted,
        capped,
        surplus,
        rows,
    } = &retrained.account;
    let guessed = guessed(retrained.guessed);
    let mut text = format!(
        "\n## What it learnt from\n\n{} rows were learnt from.{guessed} {} were judged by routers that had learnt from the others alone; of {} the \
         champion had learnt, so that one trained like it was asked in its place. Seed {}.\n\n| | |\n| --- | --- |\n",
        retrained.learnt, retrained.judged, retrained.judged_by_stand_in, retrained.seed
    );
    for (what, count) in [
        ("outcomes of which something was said", outcomes),
        ("statements", statements),
        ("statements of origins left out", left_out),
        (
            "statements of categories that do not exist",
            unknown_category,
        ),
        ("statements of clients that are not believed", distrusted),
        ("outcomes whose text occurs elsewhere", duplicates),
        ("texts of which different things are said", disputed),
        (
            "texts of which the routes' examples say otherwise, and count",
            contradicted,
        ),
        ("rows over what one client may give", capped),
        (
            "rows that are older than those learnt from at once",
            surplus,
        ),
        (
            "rows that the champion had learnt and that judge nobody, since none could be trained like it",
            &retrained.left_out,
        ),
    ] {
        let _ = writeln!(text, "| {what} | {count} |");
    }
    for (origin, count) in rows {
        let _ = writeln!(text, "| rows by {origin} | {count} |");
    }
    if *unread > 0 {
        let _ = write!(
            text,
            "\n{unread} further statements were not read: there are more than are read at once. People's labels come first, then every other source in its turn.\n"
        );
    }
    for client in clients_distrusted {
        let _ = write!(
            text,
            "\n`{}` is not believed: {} of its {} statements contradict the router where it was confident; of the other clients' {:.0} % do. A person's label (`coterie label`) counts all the same.\n",
            client.client,
            client.contradictions,
            client.statements,
            100.0 * client.others_share
        );
    }
    text
}

/// How much better or worse each category became, with its interval; none where nothing was compared.
///
/// # Errors
/// It cannot be drawn.
pub fn picture(retrained: &Retrained) -> Result<Option<String>, PlotError> {
    let Some([champion, challenger]) = &retrained.figures else {
        return Ok(None);
    };
    let all = Line {
        name: "all".to_owned(),
        difference: challenger.accuracy - champion.accuracy,
        interval: None,
        failed: false,
    };
    let of_categories = retrained.judgement.checks.iter().filter_map(line);
    let lines: Vec<Line> = std::iter::once(all).chain(of_categories).collect();
    let height =
        MARGIN_HEIGHT + LINE_HEIGHT * u32::try_from(lines.len()).unwrap_or(u32::MAX / LINE_HEIGHT);
    let reach = lines
        .iter()
        .flat_map(|line| {
            let interval = line.interval;
            let ends = interval.map_or([line.difference; 2], |it| [it.low, it.high]);
            [line.difference.abs(), ends[0].abs(), ends[1].abs()]
        })
        .fold(0.02, f64::max);
    plot::picture((WIDTH, height), |area| draw(area, &lines, reach)).map(Some)
}

/// How much better one category became.
struct Line {
    name: String,
    difference: f64,
    interval: Option<Interval>,
    failed: bool,
}

fn draw(area: &Area<'_>, lines: &[Line], reach: f64) -> Drawn {
    let rows = lines.len() as f64;
    let mut chart = plot::axes(
        area,
        "share of right categories: challenger less champion",
        (-reach * 1.8..reach * 1.1, 0.0..rows),
    )?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .x_desc("difference")
        .draw()?;
    chart.draw_series([PathElement::new([(0.0, 0.0), (0.0, rows)], GREY)])?;
    for (at, line) in lines.iter().rev().enumerate() {
        let y = at as f64 + 0.5;
        let colour = if line.failed { VERMILION } else { BLUE };
        if let Some(interval) = line.interval {
            let ends = [(interval.low, y), (interval.high, y)];
            chart.draw_series([PathElement::new(ends, colour.stroke_width(2))])?;
        }
        chart.draw_series([Circle::new((line.difference, y), 4, colour.filled())])?;
        let style = (plot::FONT, 14).into_text_style(area);
        let place = (-reach * 1.75, y + 0.2);
        chart.draw_series([Text::new(line.name.clone(), place, style)])?;
    }
    Ok(())
}

/// Of a check that is about a category.
fn line(check: &Check) -> Option<Line> {
    let name = match (check.subject, &check.category) {
        (Subject::Category, Some(category)) => category.to_string(),
        (Subject::SmallCategories, _) => "small categories".to_owned(),
        _ => return None,
    };
    Some(Line {
        name,
        difference: check.difference?,
        interval: check.interval,
        failed: check.ending == Ending::Failed,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{
        decision::Score,
        ids::{CategoryId, RouterId},
        learning::gate::Judgement,
    };

    /// What a router says of rows that are all of one category.
    fn said(is_right: impl IntoIterator<Item = bool>) -> Vec<Judged> {
        let judged = |is_right: bool| Judged {
            id: None,
            label: CategoryId::new("law"),
            scores: vec![Score {
                category: CategoryId::new(if is_right { "law" } else { "math" }),
                probability: 1.0,
            }],
            routed: true,
            out_of_domain: 0.0,
            tier: None,
            took_us: None,
            text: "What is a tort?".to_owned(),
            features: Vec::new(),
        };
        is_right.into_iter().map(judged).collect()
    }

    /// The champion is wrong on the last three of ten rows, the challenger on the first two and the last.
    fn report(newest: usize) -> String {
        let heard = Heard {
            rows: (0..10).collect(),
            champion: said((0..10).map(|at| at < 7)),
            challenger: said((0..10).map(|at| (2..9).contains(&at))),
            newest,
            ..Heard::default()
        };
        let figures = |judged: &[Judged], id| Evaluation::of(judged, RouterId::new(id)).unwrap();
        markdown(&Retrained {
            champion: RouterId::new("old"),
            challenger: RouterId::new("new"),
            seed: 7,
            account: Account::default(),
            learnt: 10,
            guessed: 0,
            judged: heard.rows.len(),
            judged_by_stand_in: 0,
            left_out: 0,
            newest: Some(Newest::of(&heard)),
            judgement: Judgement::refused("too few rows".to_owned()),
            figures: Some([
                figures(&heard.champion, "old"),
                figures(&heard.challenger, "new"),
            ]),
            folder: PathBuf::new(),
            promoted: false,
            mapping: Remapped {
                chosen_by: 0,
                judged_by: 0,
                changes: Vec::new(),
                difference: None,
                without_client: None,
                passed: false,
                reason: "nothing to go by".to_owned(),
                promoted: false,
            },
            mapping_error: None,
        })
    }

    #[test]
    fn what_is_split_by_time_is_told_by_itself() {
        let told = report(4);
        let (above, _) = told.split_once("## What was checked").unwrap();
        for part in [
            "the newest 4 alone are a true split by time",
            "right on 1 of them (25.0 %), the challenger on 3 (75.0 %, +50.0 points).",
            "The stand-ins that judged the other 6 had learnt later questions",
        ] {
            assert!(above.contains(part), "{part} is missing:\n{told}");
        }
        assert!(above.contains("| accuracy | 0.700 | 0.700 |"), "{told}");
    }

    #[test]
    fn nothing_is_said_of_others_where_there_are_none_and_nothing_of_time_where_nothing_is_new() {
        let all = report(10);
        assert!(all.contains("the newest 10 alone") && !all.contains("stand-ins that judged"));
        let none = report(0);
        assert!(none.contains("None of these rows are of the newest block"));
        assert!(!none.contains("NaN"), "{none}");
    }
}
