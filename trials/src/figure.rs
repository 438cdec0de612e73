//! A comparison as a picture: each variant's difference to the baseline, with its interval and its folds.

use std::error::Error;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::TrialError;
use crate::comparison::{Compared, Comparison, Metric};
use crate::statistics::Interval;

type Canvas<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const WIDTH: u32 = 2000;
/// Of a variant's row, and of what is above and below all of them.
const ROW: u32 = 84;
const AROUND: u32 = 230;
/// For the variants' names.
const NAMES: u32 = 400;
const TITLE_SIZE: i32 = 34;
const TEXT_SIZE: i32 = 28;
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
const BETTER: RGBColor = RGBColor(40, 140, 70);
const WORSE: RGBColor = RGBColor(190, 60, 40);
const OPEN: RGBColor = RGBColor(110, 120, 135);

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
    let mut pixels = vec![255; size.0 as usize * size.1 as usize * 3];
    let failed = |error: &dyn Error| TrialError::Figure { why: error.to_string() };
    paint(&mut pixels, size, &rows, &comparison.baseline).map_err(|error| failed(&*error))?;
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&pixels, size.0, size.1, ExtendedColorType::Rgb8)
        .map_err(|error| failed(&error))?;
    Ok(Some(png))
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

fn paint(pixels: &mut [u8], size: (u32, u32), rows: &[Row], baseline: &str) -> Drawn {
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font that is built in cannot be read")?;
    let canvas = BitMapBackend::with_buffer(pixels, size).into_drawing_area();
    let (left, right) = canvas.margin(10, 10, 10, 40).split_horizontally((WIDTH - NAMES) / 2 + NAMES);
    for (panel, area, names) in [(0, &left, NAMES), (1, &right, 30)] {
        let title = format!("{} − {baseline}", Metric::ALL[panel].name());
        draw(area, &title, rows, |row| &row.intervals[panel], names)?;
    }
    canvas.present()?;
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
        (false, _) => OPEN,
        (true, true) => BETTER,
        (true, false) => WORSE,
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

/// Text of this size, in pixels, in the one font.
fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).with_color(INK).into_text_style(&(1, 1))
}
