//! A frontier as a picture: an SVG document.

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::report::{BaselineReport, Figures, FrontierPoint, Report};
use crate::{
    mapping::quality::prefer::CostUnit,
    plot::{
        self, BLUE, Chart, Drawn, FONT, GREEN, GREY, ORANGE, PlotError, VERMILION, axes, describe,
        line_with_points,
    },
};

/// Width and height in pixels.
const SIZE: (u32, u32) = (760, 520);

/// Room around the points, as a share of what they span.
const MARGIN_SHARE: f64 = 0.08;

/// A point with its name.
struct Mark {
    name: String,
    at: (f64, f64),
    colour: RGBColor,
}

/// Score on rows held back against active parameters, with the mapping and the baselines; none where sizes are not known.
///
/// # Errors
/// The picture cannot be drawn.
pub fn active(report: &Report) -> Result<Option<String>, PlotError> {
    let picture = Picture {
        x: "billions of active parameters",
        by_category: points(&report.frontier, |point| point.active_b),
        per_question: per_question(report, CostUnit::ParamsB),
        marks: mappings(report, |figures| figures.active_b)
            .chain(baselines(report, |baseline| baseline.active_b))
            .collect(),
    };
    picture.drawn()
}

/// Score on rows held back against dollars a question; none where prices are not known.
///
/// # Errors
/// The picture cannot be drawn.
pub fn usd(report: &Report) -> Result<Option<String>, PlotError> {
    let picture = Picture {
        x: "dollars a question",
        by_category: points(&report.frontier_usd, |point| point.usd),
        per_question: per_question(report, CostUnit::Usd),
        marks: mappings(report, |figures| figures.usd)
            .chain(baselines(report, |baseline| baseline.usd))
            .collect(),
    };
    picture.drawn()
}

fn points(
    frontier: &[FrontierPoint],
    cost: impl Fn(&FrontierPoint) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let points = frontier.iter();
    points
        .filter_map(|point| Some((cost(point)?, point.score)))
        .collect()
}

/// The frontier of choices question by question, where that was fitted and λ is a price of what is drawn.
fn per_question(report: &Report, unit: CostUnit) -> Vec<(f64, f64)> {
    let worth = report.per_question.as_ref();
    let worth = worth.filter(|worth| worth.cost_unit == Some(unit));
    let points = worth.map_or(&[][..], |worth| &worth.frontier);
    points
        .iter()
        .map(|point| (point.cost, point.score))
        .collect()
}

/// What the mapping is held against, where its cost is known.
fn baselines(
    report: &Report,
    cost: impl Fn(&BaselineReport) -> Option<f64>,
) -> impl Iterator<Item = Mark> {
    let baselines = report.baselines.named().into_iter();
    baselines.filter_map(move |(name, baseline)| {
        let name = match &baseline.expert {
            Some(expert) => format!("{name}: {expert}"),
            None => name.to_owned(),
        };
        let at = (cost(baseline)?, baseline.score);
        let colour = GREEN;
        Some(Mark { name, at, colour })
    })
}

/// The mapping as it is written, and by categories alone where something chooses question by question.
fn mappings(report: &Report, cost: impl Fn(&Figures) -> Option<f64>) -> impl Iterator<Item = Mark> {
    let by_category = report.by_category.iter();
    let by_category = by_category.map(|figures| ("by category alone", figures, BLUE));
    std::iter::once(("mapping", &report.figures, VERMILION))
        .chain(by_category)
        .filter_map(move |(name, figures, colour)| {
            let at = (cost(figures)?, figures.score);
            let name = name.to_owned();
            Some(Mark { name, at, colour })
        })
}

/// What one picture shows.
struct Picture {
    x: &'static str,
    by_category: Vec<(f64, f64)>,
    per_question: Vec<(f64, f64)>,
    marks: Vec<Mark>,
}

impl Picture {
    fn drawn(&self) -> Result<Option<String>, PlotError> {
        if self.by_category.is_empty() {
            return Ok(None);
        }
        let all = || {
            let marks = self.marks.iter().map(|mark| mark.at);
            let lines = [&self.by_category, &self.per_question];
            lines.into_iter().flatten().copied().chain(marks)
        };
        let (xs, ys) = (span(all().map(|at| at.0)), span(all().map(|at| at.1)));
        let svg = plot::picture(SIZE, |area| {
            let ranges = (xs.0.max(0.0)..xs.1, ys.0..ys.1);
            let caption = if self.per_question.is_empty() {
                "What a budget buys"
            } else {
                "By category (blue); question by question, λ with hindsight (orange)"
            };
            let mut chart = axes(area, caption, ranges)?;
            describe(&mut chart, self.x, "score on rows held back")?;
            line_with_points(&mut chart, &self.per_question, ORANGE)?;
            line_with_points(&mut chart, &self.by_category, BLUE)?;
            draw_marks(&mut chart, &self.marks, f64::midpoint(xs.0, xs.1))
        });
        svg.map(Some)
    }
}

/// A name right of `middle` is written to the left of its point.
fn draw_marks(chart: &mut Chart<'_>, marks: &[Mark], middle: f64) -> Drawn {
    for mark in marks {
        chart.draw_series([Circle::new(mark.at, 5, mark.colour.filled())])?;
        let is_right = mark.at.0 > middle;
        let style = TextStyle::from((FONT, 13).into_font()).color(&GREY);
        let anchor = if is_right { HPos::Right } else { HPos::Left };
        let style = style.pos(Pos::new(anchor, VPos::Bottom));
        chart.draw_series([Text::new(mark.name.clone(), mark.at, style)])?;
    }
    Ok(())
}

/// The least and the greatest value, with room around them.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let margin = ((high - low) * MARGIN_SHARE).max(1e-6);
    (low - margin, high + margin)
}
