//! What every picture has: a white page, axes, colours. A picture is an SVG document.

use std::{error::Error, ops::Range};

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

/// Wong's colours ("Points of view: Color blindness", Nature Methods 2011), told apart by everyone.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
/// See [`BLUE`].
pub const VERMILION: RGBColor = RGBColor(213, 94, 0);
/// See [`BLUE`].
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
/// See [`BLUE`].
pub const ORANGE: RGBColor = RGBColor(230, 159, 0);
/// For what is not the point.
pub const GREY: RGBColor = RGBColor(150, 150, 150);

/// The face of all text.
pub const FONT: &str = "sans-serif";

/// A picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be drawn")]
pub struct PlotError(#[source] Box<dyn Error + Send + Sync>);

/// What drawing a part of a picture gives.
pub type Drawn<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A part of the page.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Axes on a part of the page.
pub type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws on a white page of so many pixels, width and height.
///
/// # Errors
/// The picture cannot be drawn.
pub fn picture(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<String, PlotError> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)
            .map_err(Into::into)
            .and_then(|()| draw(&area))
            .and_then(|()| Ok(area.present()?))
    };
    drawn.map(|()| svg).map_err(PlotError)
}

/// A chart over these ranges, under its caption.
///
/// # Errors
/// It cannot be drawn.
pub fn axes<'a>(
    area: &Area<'a>,
    caption: &str,
    (x, y): (Range<f64>, Range<f64>),
) -> Drawn<Chart<'a>> {
    let mut chart = ChartBuilder::on(area);
    if !caption.is_empty() {
        chart.caption(caption, (FONT, 20));
    }
    Ok(chart
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)?)
}

/// Names the axes.
///
/// # Errors
/// It cannot be drawn.
pub fn describe(chart: &mut Chart<'_>, x: &str, y: &str) -> Drawn {
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

/// Joins the points by a line.
///
/// # Errors
/// It cannot be drawn.
pub fn line_with_points(chart: &mut Chart<'_>, points: &[(f64, f64)], colour: RGBColor) -> Drawn {
    let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
    chart.draw_series(line)?;
    let dots = points.iter().map(|at| Circle::new(*at, 3, colour.filled()));
    chart.draw_series(dots)?;
    Ok(())
}
