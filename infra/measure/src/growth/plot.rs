//! The plot: latency and capacity against the number of sessions in the table.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{CleanupRow, Cost, GrowthError, OF_A_USER, Row, millis};

const SIZE: (u32, u32) = (1200, 420);
const COLORS: [RGBColor; 3] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 120, 20),
    RGBColor(44, 140, 60),
];

/// A line: what it is, and its points.
type Line = (String, Vec<(f64, f64)>);

/// Writes three charts in a row: the median of refresh, of list, and the cleanup.
pub(crate) fn draw(path: &Path, rows: &[Row], cleanups: &[CleanupRow]) -> Result<(), GrowthError> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(plot_error)?;
    let parts = area.split_evenly((1, 3));
    let of_users = |cost: fn(&Row) -> Cost| -> Vec<Line> {
        OF_A_USER
            .into_iter()
            .map(|sessions| {
                let rows = rows.iter().filter(|row| row.sessions == sessions);
                let points = rows.map(|row| (row.size as f64, millis(cost(row).median)));
                (format!("user with {sessions}"), points.collect())
            })
            .collect()
    };
    let cleanup = |units: fn(&CleanupRow) -> f64| -> Vec<(f64, f64)> {
        let points = cleanups.iter().map(|row| (row.size as f64, units(row)));
        points.collect()
    };
    let charts = [
        ("refresh: median, ms", of_users(|row| row.refresh)),
        ("list: median, ms", of_users(|row| row.list)),
        (
            "cleanup, a run",
            vec![
                ("read units".to_owned(), cleanup(|row| row.read_units)),
                ("write units".to_owned(), cleanup(|row| row.write_units)),
                ("seconds".to_owned(), cleanup(|row| row.seconds)),
            ],
        ),
    ];
    for (part, (title, lines)) in parts.iter().zip(charts) {
        chart(part, title, &lines)?;
    }
    area.present().map_err(plot_error)
}

fn chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    lines: &[Line],
) -> Result<(), GrowthError> {
    let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let least = |value: fn((f64, f64)) -> f64| points().map(value).fold(f64::INFINITY, f64::min);
    let most = |value: fn((f64, f64)) -> f64| points().map(value).fold(0.0, f64::max);
    let (left, right) = (least(|point| point.0) / 1.5, most(|point| point.0) * 1.5);
    let (low, high) = (
        (least(|point| point.1) / 3.0).max(1e-3),
        most(|point| point.1) * 3.0,
    );
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((left..right).log_scale(), (low..high).log_scale())
        .map_err(plot_error)?;
    chart
        .configure_mesh()
        .x_desc("sessions in the table")
        .x_labels(4)
        .y_labels(6)
        .light_line_style(WHITE)
        .x_label_formatter(&|size| format!("{size:.0}"))
        .y_label_formatter(&|value| format!("{value}"))
        .draw()
        .map_err(plot_error)?;
    for ((name, points), color) in lines.iter().zip(COLORS) {
        chart
            .draw_series(
                LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3),
            )
            .map_err(plot_error)?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()
        .map_err(plot_error)
}

fn plot_error(error: impl std::fmt::Display) -> GrowthError {
    GrowthError::Plot(error.to_string())
}
