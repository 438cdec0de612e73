//! The outlines of the three classes, built from a few primitives in units of the object's height.

use crate::random::Random;

/// Class names, in the order of their indices.
pub const CLASS_NAMES: [&str; 3] = ["person", "cycle", "car"];

/// A point, or a direction.
pub(super) type Point = [f32; 2];

/// A filled outline.
#[derive(Debug, Clone)]
pub(super) enum Form {
    Ellipse {
        centre: Point,
        radii: Point,
    },
    /// A line with round ends.
    Stroke {
        from: Point,
        to: Point,
        radius: f32,
    },
    Ring {
        centre: Point,
        radius: f32,
        half_width: f32,
    },
    Polygon(Vec<Point>),
    /// Upright: x1 y1 x2 y2.
    Rectangle([f32; 4]),
}

/// What a part is made of: decides its colour and its warmth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Material {
    Skin,
    Cloth,
    Trousers,
    Frame,
    Tyre,
    Paint,
    Glass,
    /// Paint over the engine.
    Bonnet,
}

/// One part of an object.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) form: Form,
    pub(super) material: Material,
}

/// The parts of an object of this class in a random pose, one unit high, x to the right and y down, back to front.
pub(super) fn parts(class: usize, random: &mut Random) -> Vec<Part> {
    match class {
        0 => person(random),
        1 => cycle(random),
        _ => car(random),
    }
}

fn part(material: Material, form: Form) -> Part {
    Part { form, material }
}

fn stroke(from: Point, to: Point, radius: f32) -> Form {
    Form::Stroke { from, to, radius }
}

fn person(random: &mut Random) -> Vec<Part> {
    use Material::{Cloth, Skin, Trousers};
    let step = random.range(0.03, 0.13);
    let swing = random.range(0.02, 0.12);
    let width = random.range(0.08, 0.115);
    vec![
        part(Trousers, stroke([-0.05, 0.55], [-step, 0.95], 0.05)),
        part(Trousers, stroke([0.05, 0.55], [step, 0.95], 0.05)),
        part(Cloth, stroke([-width, 0.23], [-width - swing, 0.48], 0.033)),
        part(Cloth, stroke([width, 0.23], [width + swing, 0.48], 0.033)),
        part(Cloth, Form::Polygon(vec![[-width, 0.18], [width, 0.18], [0.09, 0.57], [-0.09, 0.57]])),
        part(Skin, Form::Ellipse { centre: [0.0, 0.09], radii: [0.068, 0.09] }),
    ]
}

fn cycle(random: &mut Random) -> Vec<Part> {
    use Material::{Frame, Tyre};
    let (radius, half_width) = (0.3, 0.035);
    let base = random.range(0.48, 0.58);
    let (rear, front) = ([-base, 0.665], [base, 0.665]);
    let (pedals, seat, head) = ([-0.05, 0.68], [-0.2, 0.25], [0.36, 0.24]);
    vec![
        part(Tyre, Form::Ring { centre: rear, radius, half_width }),
        part(Tyre, Form::Ring { centre: front, radius, half_width }),
        part(Frame, stroke(rear, pedals, 0.026)),
        part(Frame, stroke(rear, seat, 0.026)),
        part(Frame, stroke(pedals, seat, 0.03)),
        part(Frame, stroke(pedals, head, 0.034)),
        part(Frame, stroke(seat, head, 0.034)),
        part(Frame, stroke(front, [0.31, 0.05], 0.03)),
        part(Tyre, stroke([0.31, 0.04], [0.44, 0.1], 0.035)),
        part(Tyre, stroke([-0.31, 0.18], [-0.1, 0.18], 0.045)),
    ]
}

fn car(random: &mut Random) -> Vec<Part> {
    use Material::{Bonnet, Glass, Paint, Tyre};
    let half = random.range(0.98, 1.15);
    let roof = random.range(0.3, 0.42);
    let wheel = |x: f32| Form::Ellipse { centre: [x, 0.81], radii: [0.19, 0.19] };
    let cabin = vec![[-roof - 0.28, 0.42], [-roof, 0.0], [roof - 0.05, 0.0], [roof + 0.28, 0.42]];
    let rear_window = vec![[-roof - 0.17, 0.4], [-roof + 0.02, 0.08], [-0.07, 0.08], [-0.07, 0.4]];
    let front_window = vec![[0.0, 0.4], [0.0, 0.08], [roof - 0.08, 0.08], [roof + 0.14, 0.4]];
    let body =
        vec![[-half, 0.46], [-roof - 0.3, 0.4], [roof + 0.3, 0.4], [half, 0.52], [half, 0.82], [-half, 0.82]];
    let bonnet = vec![[roof + 0.3, 0.4], [half, 0.52], [half, 0.66], [roof + 0.22, 0.62]];
    vec![
        part(Paint, Form::Polygon(cabin)),
        part(Paint, Form::Polygon(body)),
        part(Glass, Form::Polygon(rear_window)),
        part(Glass, Form::Polygon(front_window)),
        part(Bonnet, Form::Polygon(bonnet)),
        part(Tyre, wheel(-half * 0.6)),
        part(Tyre, wheel(half * 0.6)),
    ]
}

impl Form {
    /// The same form, scaled about the origin (mirrored where asked), then moved.
    pub(super) fn placed(&self, scale: f32, mirrored: bool, offset: Point) -> Form {
        let sign = if mirrored { -1.0 } else { 1.0 };
        let place = |p: &Point| [sign * p[0] * scale + offset[0], p[1] * scale + offset[1]];
        match self {
            Form::Ellipse { centre, radii } => {
                Form::Ellipse { centre: place(centre), radii: radii.map(|r| r * scale) }
            }
            Form::Stroke { from, to, radius } => {
                Form::Stroke { from: place(from), to: place(to), radius: radius * scale }
            }
            Form::Ring { centre, radius, half_width } => {
                Form::Ring { centre: place(centre), radius: radius * scale, half_width: half_width * scale }
            }
            Form::Polygon(corners) => Form::Polygon(corners.iter().map(place).collect()),
            Form::Rectangle([x1, y1, x2, y2]) => {
                let (a, b) = (place(&[*x1, *y1]), place(&[*x2, *y2]));
                Form::Rectangle([a[0].min(b[0]), a[1], a[0].max(b[0]), b[1]])
            }
        }
    }

    /// The tight box around the form: x1 y1 x2 y2.
    pub(super) fn bounds(&self) -> [f32; 4] {
        let around = |p: &Point, r: Point| [p[0] - r[0], p[1] - r[1], p[0] + r[0], p[1] + r[1]];
        match self {
            Form::Ellipse { centre, radii } => around(centre, *radii),
            Form::Stroke { from, to, radius } => union(around(from, [*radius; 2]), around(to, [*radius; 2])),
            Form::Ring { centre, radius, half_width } => around(centre, [radius + half_width; 2]),
            Form::Polygon(corners) => corners.iter().map(|p| around(p, [0.0; 2])).fold(NOTHING, union),
            Form::Rectangle(bounds) => *bounds,
        }
    }

    /// Signed distance from the outline, negative inside; for ellipses an approximation that is good near it.
    pub(super) fn distance(&self, p: Point) -> f32 {
        match self {
            Form::Ellipse { centre, radii } => {
                let q = [(p[0] - centre[0]) / radii[0], (p[1] - centre[1]) / radii[1]];
                (length(q) - 1.0) * radii[0].min(radii[1])
            }
            Form::Stroke { from, to, radius } => length(to_segment(p, *from, *to)) - radius,
            Form::Ring { centre, radius, half_width } => {
                (length([p[0] - centre[0], p[1] - centre[1]]) - radius).abs() - half_width
            }
            Form::Polygon(corners) => to_polygon(p, corners),
            Form::Rectangle([x1, y1, x2, y2]) => (x1 - p[0]).max(p[0] - x2).max(y1 - p[1]).max(p[1] - y2),
        }
    }
}

/// The box of nothing, neutral in [`union`].
pub(super) const NOTHING: [f32; 4] = [f32::MAX, f32::MAX, f32::MIN, f32::MIN];

/// The box around two boxes.
pub(super) fn union(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
}

fn length(p: Point) -> f32 {
    p[0].hypot(p[1])
}

/// From the nearest point of a segment to `p`.
fn to_segment(p: Point, from: Point, to: Point) -> Point {
    let (along, rel) = ([to[0] - from[0], to[1] - from[1]], [p[0] - from[0], p[1] - from[1]]);
    let squared = (along[0].powi(2) + along[1].powi(2)).max(1e-12);
    let t = ((rel[0] * along[0] + rel[1] * along[1]) / squared).clamp(0.0, 1.0);
    [rel[0] - t * along[0], rel[1] - t * along[1]]
}

fn to_polygon(p: Point, corners: &[Point]) -> f32 {
    let mut nearest = f32::MAX;
    let mut inside = false;
    for (i, &a) in corners.iter().enumerate() {
        let b = corners[(i + 1) % corners.len()];
        nearest = nearest.min(length(to_segment(p, a, b)));
        if (a[1] > p[1]) != (b[1] > p[1]) && p[0] < a[0] + (p[1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0]) {
            inside = !inside;
        }
    }
    if inside { -nearest } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_of_an_object_is_tight_and_one_unit_high() {
        for (class, seed) in (0..CLASS_NAMES.len()).flat_map(|class| (0..5).map(move |seed| (class, seed))) {
            let parts = parts(class, &mut Random::keyed(&[seed]));
            let bounds = parts.iter().map(|part| part.form.bounds()).fold(NOTHING, union);
            let mut filled = NOTHING;
            for p in (0..400 * 400).map(|i| [(i % 400) as f32 / 133.0 - 1.5, (i / 400) as f32 / 266.0 - 0.25])
            {
                if parts.iter().any(|part| part.form.distance(p) <= 0.0) {
                    filled = union(filled, [p[0], p[1], p[0], p[1]]);
                }
            }
            let difference = bounds.iter().zip(filled).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference < 0.02, "{}: {bounds:?} but {filled:?}", CLASS_NAMES[class]);
            assert!((bounds[1]).abs() < 0.01 && (bounds[3] - 1.0).abs() < 0.01, "{bounds:?}");
        }
    }
}
