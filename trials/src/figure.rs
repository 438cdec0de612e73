//! A comparison as a picture: each variant's difference to the baseline, with its interval and its folds.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use yf_chart::{Canvas, Drawn, GREEN, GREY, GRID, INK, RED, TEXT_SIZE, TITLE_SIZE, text};

use crate::TrialError;
use crate::comparison::{Compared, Comparison, Metric};
use crate::statistics::Interval;

const WIDTH: u32 = 2000;
/// Of a variant's row, and of what is above and below all of them.
const ROW: u32 = 84;
const AROUND: u32 = 230;
/// For the variants' names.
const NAMES: u32 = 400;

/// Draws, as PNG, a row a variant: a dot at the mean difference to the baseline, a bar over its 95 % interval, a thin
/// line over the corrected one, a small circle for every fold. Green bars lie above zero, red ones below. `None` where
/// there is nothing to compare.
///
/// # Errors
/// The picture cannot be drawn.
pub fn png(comparison: &Comparison) -> Result<Option<Vec<u8>>, TrialError> {
    let rows: Vec<Row> = comparison.variants.iter().filter_map(Row::of).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let size = (WIDTH, AROUND + ROW * rows.len() as u32);
    let png = yf_chart::png(size, |canvas| paint(canvas, &rows, &comparison.baseline));
    png.map(Some).map_err(|error| TrialError::Figure { why: error.to_string() })
}

/// A variant that has a difference with an interval.
struct Row<'a> {
    name: &'a str,
    intervals: &'a [Interval; 2],
}

impl<'a> Row<'a> {
    fn of(variant: &'a Compared) -> Option<Self> {
        let intervals = variant.difference.as_ref()?;
        let drawable = intervals.iter().all(|i| i.half.is_finite() && i.mean.is_finite());
        drawable.then_some(Row { name: &variant.name, intervals })
    }
}

fn paint(canvas: &Canvas<'_>, rows: &[Row], baseline: &str) -> Drawn {
    let (left, right) = canvas.margin(10, 10, 10, 40).split_horizontally((WIDTH - NAMES) / 2 + NAMES);
    for (panel, area, names) in [(0, &left, NAMES), (1, &right, 30)] {
        let title = format!("{} − {baseline}", Metric::ALL[panel].name());
        draw(area, &title, rows, |row| &row.intervals[panel], names)?;
    }
    Ok(())
}

fn draw<'a>(
    area: &Canvas<'_>,
    title: &str,
    rows: &[Row<'a>],
    of: impl Fn(&Row<'a>) -> &'a Interval,
    names: u32,
) -> Drawn {
    let (low, high) = range(rows.iter().map(&of));
    let count = rows.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(TITLE_SIZE))
        .margin(10)
        .x_label_area_size(60)
        .y_label_area_size(names)
        .build_cartesian_2d(low..high, count..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_labels(8)
        .x_label_formatter(&|x| if x.abs() < 1e-9 { "0".to_owned() } else { format!("{x:+.2}") })
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(text(TEXT_SIZE))
        .draw()?;
    chart.draw_series([PathElement::new([(0.0, 0.0), (0.0, count)], INK.stroke_width(3))])?;
    for (index, row) in rows.iter().enumerate() {
        let (interval, y) = (of(row), index as f64 + 0.5);
        let colour = colour(interval);
        let bar = |half: f64, width: u32| {
            let ends = [(interval.mean - half, y), (interval.mean + half, y)];
            PathElement::new(ends, colour.stroke_width(width))
        };
        chart.draw_series([bar(interval.corrected, 3), bar(interval.half, 12)])?;
        let folds = interval.folds.iter().map(|&fold| Circle::new((fold, y - 0.28), 6, INK.stroke_width(2)));
        chart.draw_series(folds)?;
        chart.draw_series([Circle::new((interval.mean, y), 13, colour.filled())])?;
        if names == NAMES {
            let (left, middle) = chart.backend_coord(&(low, y));
            let (origin_x, origin_y) = area.get_base_pixel();
            let style = text(TEXT_SIZE).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(row.name, (left - origin_x - 24, middle - origin_y), style))?;
        }
    }
    Ok(())
}

fn colour(interval: &Interval) -> RGBColor {
    match (interval.excludes_zero()[0], interval.mean > 0.0) {
        (false, _) => GREY,
        (true, true) => GREEN,
        (true, false) => RED,
    }
}

/// Zero, the corrected intervals, the folds, and a little room.
fn range<'a>(intervals: impl Iterator<Item = &'a Interval>) -> (f64, f64) {
    let ends = |i: &'a Interval| {
        let corrected = [i.mean - i.corrected, i.mean + i.corrected];
        corrected.into_iter().chain(i.folds.iter().copied())
    };
    let (low, high) = intervals.flat_map(ends).fold((0.0f64, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
    let room = 0.05 * (high - low).max(1e-3);
    (low - room, high + room)
}
