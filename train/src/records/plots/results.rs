//! `results.png`: losses, metrics and learning rates over the epochs.

use std::path::Path;

use plotters::prelude::*;
use yf_chart::{BLUE, Canvas, Drawn, GREEN, GRID, INK, ORANGE, TEXT_SIZE, TITLE_SIZE, text};

use super::axis::{Axis, range};
use super::save;
use crate::records::error::RecordError;
use crate::records::results::Row;

const SIZE: (u32, u32) = (2400, 1400);
/// Up to so many epochs every one is marked with a dot.
const MARKED_EPOCHS: usize = 60;

struct Line {
    name: &'static str,
    colour: RGBColor,
    value: fn(&Row) -> f64,
}

struct Panel {
    title: &'static str,
    lines: Vec<Line>,
    /// Whether values are fractions, to be read against 0.
    from_zero: bool,
}

/// Draws losses (training and validation), precision, recall, mAP and learning rates over the epochs as PNG.
/// Values that are not finite leave gaps.
///
/// # Errors
/// The file cannot be written.
pub fn results(rows: &[Row], path: &Path) -> Result<(), RecordError> {
    save(path, SIZE, |canvas| {
        for (area, panel) in canvas.margin(10, 10, 10, 30).split_evenly((2, 3)).iter().zip(panels()) {
            draw(area, &panel, rows)?;
        }
        Ok(())
    })
}

fn panels() -> [Panel; 6] {
    let train_and_val = |title, train: fn(&Row) -> f64, val: fn(&Row) -> f64| Panel {
        title,
        lines: vec![line("train", BLUE, train), line("val", ORANGE, val)],
        from_zero: false,
    };
    [
        train_and_val("box loss", |row| row.train[0], |row| row.val[0]),
        train_and_val("class loss", |row| row.train[1], |row| row.val[1]),
        train_and_val("DFL loss", |row| row.train[2], |row| row.val[2]),
        Panel {
            title: "precision and recall",
            lines: vec![
                line("precision", BLUE, |row| row.precision),
                line("recall", ORANGE, |row| row.recall),
            ],
            from_zero: true,
        },
        Panel {
            title: "average precision",
            lines: vec![line("mAP50", BLUE, |row| row.map50), line("mAP50-95", ORANGE, |row| row.map50_95)],
            from_zero: true,
        },
        Panel {
            title: "learning rate",
            lines: vec![
                line("pg0", BLUE, |row| row.lr[0]),
                line("pg1", ORANGE, |row| row.lr[1]),
                line("pg2", GREEN, |row| row.lr[2]),
            ],
            from_zero: true,
        },
    ]
}

fn line(name: &'static str, colour: RGBColor, value: fn(&Row) -> f64) -> Line {
    Line { name, colour, value }
}

fn draw(area: &Canvas<'_>, panel: &Panel, rows: &[Row]) -> Drawn {
    let values = panel.lines.iter().flat_map(|line| rows.iter().map(line.value));
    let zero = panel.from_zero.then_some(0.0);
    let (low, high) = range(values.chain(zero));
    let low = if panel.from_zero { low.max(0.0) } else { low };
    let epochs = epoch_range(rows);
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, text(TITLE_SIZE))
        .margin(16)
        .x_label_area_size(76)
        .y_label_area_size(96)
        .build_cartesian_2d(Axis::new(epochs.0, epochs.1, 6, 1.0), Axis::new(low, high, 8, 0.0))?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(text(TEXT_SIZE))
        .axis_desc_style(text(TEXT_SIZE))
        .x_desc("epoch")
        .draw()?;
    let mut shown = 0;
    for line in &panel.lines {
        let style = line.colour.stroke_width(4);
        let named = chart.draw_series(std::iter::empty::<PathElement<(f64, f64)>>())?.label(line.name);
        named.legend(move |(x, y)| PathElement::new([(x, y), (x + 36, y)], style));
    }
    // The first line lies on top: where several coincide it stands for all.
    for line in panel.lines.iter().rev() {
        let runs = finite_runs(rows, line.value);
        shown += runs.len();
        let style = line.colour.stroke_width(4);
        chart.draw_series(runs.iter().map(|run| PathElement::new(run.clone(), style)))?;
        let marks = runs.iter().filter(|run| run.len() == 1 || rows.len() <= MARKED_EPOCHS).flatten();
        chart.draw_series(marks.map(|&point| Circle::new(point, 6, line.colour.filled())))?;
    }
    if shown == 0 {
        area.draw(&Text::new(
            "no finite values",
            (area.dim_in_pixel().0 as i32 / 2 - 60, 200),
            text(TEXT_SIZE),
        ))?;
        return Ok(());
    }
    chart
        .configure_series_labels()
        .position(if rising(panel, rows) {
            SeriesLabelPosition::LowerRight
        } else {
            SeriesLabelPosition::UpperRight
        })
        .label_font(text(TEXT_SIZE))
        .legend_area_size(50)
        .margin(16)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .draw()?;
    Ok(())
}

/// First to last epoch; a single one gets room on both sides.
fn epoch_range(rows: &[Row]) -> (f64, f64) {
    let first = rows.iter().map(|row| row.epoch).min().unwrap_or(1) as f64;
    let last = rows.iter().map(|row| row.epoch).max().unwrap_or(1) as f64;
    if last > first { (first, last) } else { (first - 0.5, first + 0.5) }
}

/// The stretches of epochs with finite values, each as points of one unbroken line.
fn finite_runs(rows: &[Row], value: fn(&Row) -> f64) -> Vec<Vec<(f64, f64)>> {
    let points: Vec<(f64, f64)> = rows.iter().map(|row| (row.epoch as f64, value(row))).collect();
    let runs = points.split(|(_, value)| !value.is_finite());
    runs.filter(|run| !run.is_empty()).map(<[_]>::to_vec).collect()
}

/// Whether the panel's lines end higher than they start, so that the legend keeps out of their way.
fn rising(panel: &Panel, rows: &[Row]) -> bool {
    let change = |line: &Line| {
        let mut finite = rows.iter().map(line.value).filter(|value| value.is_finite());
        let first = finite.next().unwrap_or(0.0);
        finite.next_back().unwrap_or(first) - first
    };
    panel.lines.iter().map(change).sum::<f64>() > 0.0
}
