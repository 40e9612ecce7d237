//! An evaluation as pictures: SVG documents.

use std::error::Error;

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

use super::Evaluation;

/// Width and height in pixels.
const SIZE: (u32, u32) = (640, 640);

/// Height in pixels of the reliability diagram above its histogram.
const DIAGRAM_HEIGHT: u32 = 460;

/// Wong's blue and vermilion ("Points of view: Color blindness", Nature Methods 2011), told apart by everyone.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(150, 150, 150);

const FONT: &str = "sans-serif";

/// The greatest share of misrouted questions that the curve's axis begins with: a good router's curve is not flat then.
const RISK_AXIS_MIN: f64 = 0.1;

/// A picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be drawn")]
pub struct PlotError(#[source] Box<dyn Error + Send + Sync>);

type Drawn = Result<(), Box<dyn Error + Send + Sync>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// The reliability diagram (Guo et al. 2017): accuracy against confidence of each bin, and under it how many rows have which
/// confidence. A calibrated router's bins lie on the diagonal.
///
/// # Errors
/// The picture cannot be drawn.
pub fn reliability(evaluation: &Evaluation) -> Result<String, PlotError> {
    picture(|area| {
        let (upper, lower) = area.split_vertically(DIAGRAM_HEIGHT);
        let caption = format!(
            "Reliability: expected calibration error {:.3}",
            evaluation.ece
        );
        let mut chart = axes(&upper, &caption, 1.0)?;
        describe(&mut chart, "confidence", "share that is right")?;
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], GREY))?;
        let bins = evaluation.reliability.iter();
        let points: Vec<(f64, f64)> = bins.map(|bin| (bin.confidence, bin.accuracy)).collect();
        line_with_points(&mut chart, &points)?;
        histogram(&lower, &evaluation.confidence_histogram)
    })
}

/// The risk–coverage curve, with its upper bound at 95 % confidence, and where the router stands.
///
/// # Errors
/// The picture cannot be drawn.
pub fn risk_coverage(evaluation: &Evaluation) -> Result<String, PlotError> {
    let curve = &evaluation.risk_coverage;
    let greatest = curve.iter().map(|point| point.misrouted);
    let top = (greatest.fold(RISK_AXIS_MIN, f64::max) * 1.2).min(1.0);
    picture(|area| {
        let mut chart = axes(area, "Risk and coverage", top)?;
        describe(
            &mut chart,
            "coverage: share of questions that are routed",
            "misrouted: share of wrong ones among them",
        )?;
        let bound = curve
            .iter()
            .filter(|point| point.misroute_upper95 <= top)
            .map(|point| (point.coverage, point.misroute_upper95));
        chart
            .draw_series(LineSeries::new(bound, GREY))?
            .label("at most, with 95 % confidence")
            .legend(|at| legend_line(at, GREY));
        let points: Vec<(f64, f64)> = curve
            .iter()
            .map(|point| (point.coverage, point.misrouted))
            .collect();
        line_with_points(&mut chart, &points)?;
        if let Some(misrouted) = evaluation.misrouted {
            let now = Circle::new((evaluation.coverage, misrouted), 7, VERMILION.filled());
            chart
                .draw_series([now])?
                .label("the router's threshold")
                .legend(|(x, y)| Circle::new((x + 8, y), 5, VERMILION.filled()).into_dyn());
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font((FONT, 14))
            .border_style(GREY)
            .background_style(WHITE)
            .draw()?;
        Ok(())
    })
}

/// Draws on a white page.
fn picture(draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, PlotError> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)
            .map_err(Into::into)
            .and_then(|()| draw(&area))
            .and_then(|()| Ok(area.present()?))
    };
    drawn.map(|()| svg).map_err(PlotError)
}

/// A chart over 0 to 1, and 0 to `top`.
fn axes<'a>(
    area: &Area<'a>,
    caption: &str,
    top: f64,
) -> Result<Chart<'a>, Box<dyn Error + Send + Sync>> {
    Ok(ChartBuilder::on(area)
        .caption(caption, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..1.0, 0.0..top)?)
}

fn describe(chart: &mut Chart<'_>, x: &str, y: &str) -> Drawn {
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .light_line_style(TRANSPARENT)
        .axis_desc_style((FONT, 15))
        .label_style((FONT, 13))
        .draw()?;
    Ok(())
}

fn line_with_points(chart: &mut Chart<'_>, points: &[(f64, f64)]) -> Drawn {
    let line = LineSeries::new(points.iter().copied(), BLUE.stroke_width(2));
    chart.draw_series(line)?;
    let dots = points.iter().map(|at| Circle::new(*at, 3, BLUE.filled()));
    chart.draw_series(dots)?;
    Ok(())
}

/// Shares of the rows by confidence, in bins of equal width.
fn histogram(area: &Area<'_>, counts: &[usize]) -> Drawn {
    let rows: usize = counts.iter().sum();
    let shares: Vec<f64> = counts
        .iter()
        .map(|count| *count as f64 / rows.max(1) as f64)
        .collect();
    let top = shares.iter().copied().fold(0.0, f64::max).max(0.01);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..1.0, 0.0..top)?;
    describe(&mut chart, "confidence", "share of rows")?;
    let width = 1.0 / shares.len() as f64;
    let bars = shares.iter().enumerate().map(|(at, share)| {
        let left = at as f64 * width;
        Rectangle::new([(left, 0.0), (left + width * 0.9, *share)], BLUE.filled())
    });
    chart.draw_series(bars)?;
    Ok(())
}

/// A short line beside its name.
fn legend_line<DB: DrawingBackend>(
    (x, y): (i32, i32),
    colour: RGBColor,
) -> DynElement<'static, DB, (i32, i32)> {
    PathElement::new([(x, y), (x + 16, y)], colour).into_dyn()
}
