//! `labels.png`: what the labels of a data set look like.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use yf_chart::{BLUE, Canvas, Drawn, GRID, INK, TEXT_SIZE, TITLE_SIZE, text};
use yf_data::labels::BoxLabel;
use yf_data::metrics::table::name_of;

use super::axis::Axis;
use super::save;
use crate::records::error::RecordError;

const SIZE: (u32, u32) = (2400, 1600);
/// Width of the column of classes, in pixels.
const CLASSES_WIDTH: u32 = 800;
/// With more classes the most frequent ones are shown.
const MOST_CLASSES: usize = 80;
/// So many classes need half of the column.
const FEW_CLASSES: usize = 24;
/// Rows that fewer classes are spread over, so that bars stay bars.
const LEAST_ROWS: usize = 8;
const LONGEST_NAME: usize = 20;
/// Bins of a two-dimensional histogram along each axis.
const BINS: usize = 50;
/// Boxes that are outlined.
const MOST_OUTLINES: usize = 1000;

/// Draws instances of each class, where boxes lie, how large they are, and how many a picture has, as PNG.
/// `labels` has an entry a picture, `names` are indexed by class.
///
/// # Errors
/// The file cannot be written.
pub fn labels(labels: &[Vec<BoxLabel>], names: &[String], path: &Path) -> Result<(), RecordError> {
    let finite = |b: &&BoxLabel| [b.cx, b.cy, b.w, b.h].iter().all(|v| v.is_finite());
    let boxes: Vec<BoxLabel> = labels.iter().flatten().filter(finite).copied().collect();
    save(path, SIZE, |canvas| {
        let canvas = canvas.margin(10, 10, 10, 30);
        let (column, rest) = canvas.split_horizontally(CLASSES_WIDTH);
        let squares = rest.split_evenly((2, 2));
        let centres = boxes.iter().map(|b| (b.cx, b.cy));
        density(&squares[0], &Density { title: "box centres", x: "x", y: "y", downwards: true }, centres)?;
        let sizes = boxes.iter().map(|b| (b.w, b.h));
        density(
            &squares[1],
            &Density { title: "box sizes", x: "width", y: "height", downwards: false },
            sizes,
        )?;
        outlines(&squares[2], &boxes)?;
        if class_counts(&boxes, names).len() > FEW_CLASSES {
            instances(&column, &boxes, names)?;
            return boxes_per_picture(&squares[3], labels);
        }
        let (upper, lower) = column.split_vertically(column.dim_in_pixel().1 / 2);
        instances(&upper, &boxes, names)?;
        boxes_per_picture(&lower, labels)?;
        sides(&squares[3], &boxes)
    })
}

/// Bars: instances of each class.
fn instances(area: &Canvas<'_>, boxes: &[BoxLabel], names: &[String]) -> Drawn {
    let bars = class_counts(boxes, names);
    let most = bars.iter().map(|bar| bar.1).max().unwrap_or(0).max(1) as f64;
    let rows = bars.len().max(LEAST_ROWS) as f64;
    let known = names.len().max(bars.len());
    let title = match known > bars.len() {
        true => format!("instances ({} most frequent of {known} classes)", bars.len()),
        false => format!("instances ({} in all)", boxes.len()),
    };
    // Room to the right of the longest bar for its number.
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(TITLE_SIZE))
        .margin(16)
        .x_label_area_size(16)
        .y_label_area_size(230)
        .build_cartesian_2d(0.0..most * 1.22, rows..0.0)?;
    let row_height = chart.plotting_area().dim_in_pixel().1 as f64 / rows;
    let text_size = (row_height * 0.85).clamp(8.0, f64::from(TEXT_SIZE)) as i32;
    let palette = |index: usize| class_colour(bars[index].0);
    chart.draw_series(bars.iter().enumerate().map(|(row, bar)| {
        let (top, bottom) = (row as f64 + 0.15, row as f64 + 0.85);
        Rectangle::new([(0.0, top), (bar.1 as f64, bottom)], palette(row).filled())
    }))?;
    let left = text(text_size).pos(Pos::new(HPos::Left, VPos::Center));
    let right = text(text_size).pos(Pos::new(HPos::Right, VPos::Center));
    for (row, (class, count)) in bars.iter().enumerate() {
        let (_, y) = chart.backend_coord(&(0.0, row as f64 + 0.5));
        let (end, _) = chart.backend_coord(&(*count as f64, row as f64 + 0.5));
        let (start, _) = chart.backend_coord(&(0.0, row as f64));
        let (left_edge, top_edge) = area.get_base_pixel();
        let (y, end, start) = (y - top_edge, end - left_edge, start - left_edge);
        area.draw(&Text::new(short_name(&name_of(*class, names)), (start - 12, y), right.clone()))?;
        area.draw(&Text::new(count.to_string(), (end + 10, y), left.clone()))?;
    }
    Ok(())
}

/// Class and instances, in the order of classes; the most frequent ones where there are too many.
fn class_counts(boxes: &[BoxLabel], names: &[String]) -> Vec<(usize, usize)> {
    let highest = boxes.iter().map(|b| b.class + 1).max().unwrap_or(0);
    let mut counts = vec![0; highest.max(names.len())];
    for label in boxes {
        counts[label.class] += 1;
    }
    let mut bars: Vec<(usize, usize)> = counts.into_iter().enumerate().collect();
    if bars.len() > MOST_CLASSES {
        bars.sort_by_key(|&(class, count)| (std::cmp::Reverse(count), class));
        bars.truncate(MOST_CLASSES);
        bars.sort_unstable();
    }
    bars
}

struct Density {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    /// Whether y grows downwards, as in a picture.
    downwards: bool,
}

/// A two-dimensional histogram over fractions of the picture.
fn density(area: &Canvas<'_>, what: &Density, points: impl Iterator<Item = (f32, f32)>) -> Drawn {
    let counts = bin(points);
    let most = counts.iter().copied().max().unwrap_or(0);
    let title = if most == 0 {
        format!("{} (none)", what.title)
    } else {
        format!("{} (darkest: {most})", what.title)
    };
    let (bottom, top) = if what.downwards { (1.0, 0.0) } else { (0.0, 1.0) };
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(TITLE_SIZE))
        .margin(16)
        .x_label_area_size(80)
        .y_label_area_size(100)
        .build_cartesian_2d(Axis::new(0.0, 1.0, 5, 0.0), Axis::new(bottom, top, 5, 0.0))?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(text(TEXT_SIZE))
        .axis_desc_style(text(TEXT_SIZE))
        .x_desc(format!("{} (of the picture's width)", what.x))
        .y_desc(format!("{} (of the picture's height)", what.y))
        .draw()?;
    let cell = |index: usize| {
        let (x, y) = ((index % BINS) as f64, (index / BINS) as f64);
        [(x, y), (x + 1.0, y + 1.0)].map(|(x, y)| (x / BINS as f64, y / BINS as f64))
    };
    let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    chart.draw_series(
        filled.map(|(index, &count)| Rectangle::new(cell(index), shade(count, most).filled())),
    )?;
    Ok(())
}

fn bin(points: impl Iterator<Item = (f32, f32)>) -> Vec<usize> {
    let mut counts = vec![0; BINS * BINS];
    for (x, y) in points {
        counts[place(y) * BINS + place(x)] += 1;
    }
    counts
}

/// The bin of a fraction. A cast saturates: what lies outside lands in the first or last bin.
fn place(fraction: f32) -> usize {
    ((fraction * BINS as f32) as usize).min(BINS - 1)
}

/// From light to dark blue; the square root keeps rare cells visible beside frequent ones.
fn shade(count: usize, most: usize) -> RGBColor {
    let share = (count as f64 / most.max(1) as f64).sqrt();
    let mix = |light: f64, dark: f64| (light + (dark - light) * share) as u8;
    RGBColor(mix(214.0, 8.0), mix(230.0, 48.0), mix(245.0, 107.0))
}

/// Boxes around a common centre, an even choice where there are many.
fn outlines(area: &Canvas<'_>, boxes: &[BoxLabel]) -> Drawn {
    let step = boxes.len().div_ceil(MOST_OUTLINES).max(1);
    let shown: Vec<&BoxLabel> = boxes.iter().step_by(step).collect();
    let mut chart = ChartBuilder::on(area)
        .caption(format!("box shapes ({} shown)", shown.len()), text(TITLE_SIZE))
        .margin(16)
        .x_label_area_size(80)
        .y_label_area_size(100)
        .build_cartesian_2d(-0.5..0.5, -0.5..0.5)?;
    chart.configure_mesh().disable_mesh().disable_axes().draw()?;
    chart.draw_series(shown.iter().map(|b| {
        let (x, y) = (f64::from(b.w) / 2.0, f64::from(b.h) / 2.0);
        Rectangle::new([(-x, -y), (x, y)], class_colour(b.class).mix(0.5).stroke_width(2))
    }))?;
    // The picture's frame, on top.
    chart.draw_series([Rectangle::new([(-0.5, -0.5), (0.5, 0.5)], INK.stroke_width(2))])?;
    Ok(())
}

/// Bars: pictures with so many boxes.
fn boxes_per_picture(area: &Canvas<'_>, labels: &[Vec<BoxLabel>]) -> Drawn {
    let most_boxes = labels.iter().map(Vec::len).max().unwrap_or(0);
    // Whole numbers of boxes in a bin, about 40 bins.
    let width = (most_boxes + 1).div_ceil(40);
    let mut pictures = vec![0usize; most_boxes / width + 1];
    for boxes in labels {
        pictures[boxes.len() / width] += 1;
    }
    let title = format!("boxes in a picture ({} pictures)", labels.len());
    let bars =
        Bars { title: &title, x: "boxes", y: "pictures", start: -0.5, width: width as f64, least_step: 1.0 };
    histogram(area, &bars, &pictures)
}

/// Bars: boxes of each size, as the side of a square of the same area.
fn sides(area: &Canvas<'_>, boxes: &[BoxLabel]) -> Drawn {
    let mut counts = vec![0usize; BINS];
    for label in boxes {
        counts[place((label.w * label.h).max(0.0).sqrt())] += 1;
    }
    let bars = Bars {
        title: "box sides",
        x: "square root of the area (of the picture's)",
        y: "boxes",
        start: 0.0,
        width: 1.0 / BINS as f64,
        least_step: 0.0,
    };
    histogram(area, &bars, &counts)
}

struct Bars<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    /// Left edge of the first bar.
    start: f64,
    /// Of a bar.
    width: f64,
    /// Between ticks of x.
    least_step: f64,
}

fn histogram(area: &Canvas<'_>, bars: &Bars<'_>, counts: &[usize]) -> Drawn {
    let highest = counts.iter().copied().max().unwrap_or(0).max(1) as f64 * 1.05;
    let end = bars.start + counts.len().max(10) as f64 * bars.width;
    let mut chart = ChartBuilder::on(area)
        .caption(bars.title, text(TITLE_SIZE))
        .margin(16)
        .x_label_area_size(80)
        .y_label_area_size(110)
        .build_cartesian_2d(
            Axis::new(bars.start, end, 8, bars.least_step),
            Axis::new(0.0, highest, 6, 1.0),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(text(TEXT_SIZE))
        .axis_desc_style(text(TEXT_SIZE))
        .x_desc(bars.x)
        .y_desc(bars.y)
        .draw()?;
    chart.draw_series(counts.iter().enumerate().map(|(index, &count)| {
        let left = bars.start + index as f64 * bars.width;
        let gap = 0.1 * bars.width;
        Rectangle::new([(left + gap, 0.0), (left + bars.width - gap, count as f64)], BLUE.filled())
    }))?;
    Ok(())
}

fn short_name(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_string();
    }
    name.chars().take(LONGEST_NAME - 3).chain("...".chars()).collect()
}

/// The colour that the class has on pictures, too.
fn class_colour(class: usize) -> RGBColor {
    let [red, green, blue] = yf_data::draw::class_colour(class);
    RGBColor(red, green, blue)
}
