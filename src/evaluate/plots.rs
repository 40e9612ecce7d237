//! An evaluation as pictures: SVG documents.

use plotters::prelude::*;

use super::Evaluation;
use crate::plot::{
    Area, BLUE, Drawn, FONT, GREY, PlotError, VERMILION, axes, describe, line_with_points, picture,
};

/// Width and height in pixels.
const SIZE: (u32, u32) = (640, 640);

/// Height in pixels of the reliability diagram above its histogram.
const DIAGRAM_HEIGHT: u32 = 460;

/// The greatest share of misrouted questions that the curve's axis begins with: a good router's curve is not flat then.
const RISK_AXIS_MIN: f64 = 0.1;

/// The reliability diagram (Guo et al. 2017): accuracy against confidence of each bin, and under it how many rows have which
/// confidence. A calibrated router's bins lie on the diagonal.
///
/// # Errors
/// The picture cannot be drawn.
pub fn reliability(evaluation: &Evaluation) -> Result<String, PlotError> {
    picture(SIZE, |area| {
        let (upper, lower) = area.split_vertically(DIAGRAM_HEIGHT);
        let caption = format!(
            "Reliability: expected calibration error {:.3}",
            evaluation.ece
        );
        let mut chart = axes(&upper, &caption, (0.0..1.0, 0.0..1.0))?;
        describe(&mut chart, "confidence", "share that is right")?;
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], GREY))?;
        let bins = evaluation.reliability.iter();
        let points: Vec<(f64, f64)> = bins.map(|bin| (bin.confidence, bin.accuracy)).collect();
        line_with_points(&mut chart, &points, BLUE)?;
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
    picture(SIZE, |area| {
        let mut chart = axes(area, "Risk and coverage", (0.0..1.0, 0.0..top))?;
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
        line_with_points(&mut chart, &points, BLUE)?;
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

/// Shares of the rows by confidence, in bins of equal width.
fn histogram(area: &Area<'_>, counts: &[usize]) -> Drawn {
    let rows: usize = counts.iter().sum();
    let shares: Vec<f64> = counts
        .iter()
        .map(|count| *count as f64 / rows.max(1) as f64)
        .collect();
    let top = shares.iter().copied().fold(0.0, f64::max).max(0.01);
    let mut chart = axes(area, "", (0.0..1.0, 0.0..top))?;
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
