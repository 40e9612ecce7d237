//! A frontier as a picture: an SVG document.

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::report::Report;
use crate::plot::{
    self, Chart, Drawn, FONT, GREEN, GREY, PlotError, VERMILION, axes, describe, line_with_points,
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
    let points = report
        .frontier
        .iter()
        .filter_map(|point| Some((point.active_b?, point.score)));
    let mut marks = Vec::new();
    let mut mark = |name: String, active_b: Option<f64>, score, colour| {
        marks.extend(active_b.map(|active_b| Mark {
            name,
            at: (active_b, score),
            colour,
        }));
    };
    mark("mapping".into(), report.active_b, report.score, VERMILION);
    for (name, baseline) in report.baselines.named() {
        let name = match &baseline.expert {
            Some(expert) => format!("{name}: {expert}"),
            None => name.to_owned(),
        };
        mark(name, baseline.active_b, baseline.score, GREEN);
    }
    picture(
        "billions of active parameters",
        &points.collect::<Vec<_>>(),
        &marks,
    )
}

/// Score on rows held back against dollars a question; none where prices are not known.
///
/// # Errors
/// The picture cannot be drawn.
pub fn usd(report: &Report) -> Result<Option<String>, PlotError> {
    let points = report
        .frontier_usd
        .iter()
        .filter_map(|point| Some((point.usd?, point.score)));
    let mapping = report.usd.map(|usd| Mark {
        name: "mapping".into(),
        at: (usd, report.score),
        colour: VERMILION,
    });
    let marks: Vec<Mark> = mapping.into_iter().collect();
    picture("dollars a question", &points.collect::<Vec<_>>(), &marks)
}

fn picture(x: &str, points: &[(f64, f64)], marks: &[Mark]) -> Result<Option<String>, PlotError> {
    if points.is_empty() {
        return Ok(None);
    }
    let all = || {
        let marks = marks.iter().map(|mark| mark.at);
        points.iter().copied().chain(marks)
    };
    let (xs, ys) = (span(all().map(|at| at.0)), span(all().map(|at| at.1)));
    let svg = plot::picture(SIZE, |area| {
        let ranges = (xs.0.max(0.0)..xs.1, ys.0..ys.1);
        let mut chart = axes(area, "What a budget buys", ranges)?;
        describe(&mut chart, x, "score on rows held back")?;
        line_with_points(&mut chart, points)?;
        draw_marks(&mut chart, marks, f64::midpoint(xs.0, xs.1))
    });
    svg.map(Some)
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
