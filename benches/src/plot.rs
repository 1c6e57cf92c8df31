//! Lines on two axes, as SVG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

/// A line of a plot.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// Draws `lines` to `path`.
///
/// # Errors
/// What the file system says.
pub fn draw(
    path: &Path,
    title: &str,
    axes: &[String; 2],
    lines: &[Line],
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_max = points().map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max);
    let y_max = points().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (800, 400)).into_drawing_area();
        let drawn = chart(&area, title, axes, lines, (x_max, y_max * 1.05));
        drawn.map_err(|error| error.to_string())?;
    }
    std::fs::write(path, text)?;
    Ok(())
}

fn chart<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    title: &str,
    axes: &[String; 2],
    lines: &[Line],
    (x_max, y_max): (f64, f64),
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..x_max, 0.0..y_max)?;
    chart.configure_mesh().x_desc(&axes[0]).y_desc(&axes[1]).draw()?;
    for (number, line) in lines.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), color))?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    area.present()
}
