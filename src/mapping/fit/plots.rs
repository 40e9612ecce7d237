//! A frontier as a picture: an SVG document.

use std::error::Error;

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::report::Report;

/// Width and height in pixels.
const SIZE: (u32, u32) = (760, 520);

/// Wong's colours ("Points of view: Color blindness", Nature Methods 2011), told apart by everyone.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const GREY: RGBColor = RGBColor(120, 120, 120);

const FONT: &str = "sans-serif";

/// Room around the points, as a share of what they span.
const MARGIN_SHARE: f64 = 0.08;

/// A picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be drawn")]
pub struct PlotError(#[source] Box<dyn Error + Send + Sync>);

type Drawn = Result<(), Box<dyn Error + Send + Sync>>;

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
    let baselines = &report.baselines;
    for (name, baseline) in [
        ("best single", &baselines.best_single),
        ("cheapest", &baselines.cheapest),
        ("random", &baselines.random),
        ("oracle", &baselines.oracle),
    ] {
        let expert = baseline
            .expert
            .as_ref()
            .map_or_else(String::new, |expert| format!(": {expert}"));
        mark(
            format!("{name}{expert}"),
            baseline.active_b,
            baseline.score,
            GREEN,
        );
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
    let mut svg = String::new();
    draw(&mut svg, x, points, marks).map_err(PlotError)?;
    Ok(Some(svg))
}

fn draw(svg: &mut String, x: &str, points: &[(f64, f64)], marks: &[Mark]) -> Drawn {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let all = || {
        points
            .iter()
            .copied()
            .chain(marks.iter().map(|mark| mark.at))
    };
    let (xs, ys) = (span(all().map(|at| at.0)), span(all().map(|at| at.1)));
    let mut chart = ChartBuilder::on(&area)
        .caption("What a budget buys", (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(xs.0.max(0.0)..xs.1, ys.0..ys.1)?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc("score on rows held back")
        .light_line_style(TRANSPARENT)
        .axis_desc_style((FONT, 15))
        .label_style((FONT, 13))
        .draw()?;
    chart.draw_series(LineSeries::new(
        points.iter().copied(),
        BLUE.stroke_width(2),
    ))?;
    chart.draw_series(points.iter().map(|at| Circle::new(*at, 3, BLUE.filled())))?;
    for mark in marks {
        chart.draw_series([Circle::new(mark.at, 5, mark.colour.filled())])?;
        // A name on the right half is written to the left of its point.
        let is_right = mark.at.0 > f64::midpoint(xs.0, xs.1);
        let style = TextStyle::from((FONT, 13).into_font()).color(&GREY);
        let anchor = if is_right { HPos::Right } else { HPos::Left };
        let style = style.pos(Pos::new(anchor, VPos::Bottom));
        chart.draw_series([Text::new(mark.name.clone(), mark.at, style)])?;
    }
    area.present()?;
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
