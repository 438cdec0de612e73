//! Rectangles and labels on a picture, in line widths and letters that suit its size.

use ab_glyph::{Font, FontRef, PxScaleFont, ScaleFont, point};
use epaint_default_fonts::HACK_REGULAR;

use super::palette::ink_on;
use crate::picture::Picture;

/// Draws on one picture; whatever lies outside is cut.
pub(super) struct Pen<'a> {
    picture: &'a mut Picture<3>,
    line: i64,
    letters: f32,
    font: PxScaleFont<FontRef<'static>>,
}

/// Pixels: left and top inside, right and bottom outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    left: i64,
    top: i64,
    right: i64,
    bottom: i64,
}

impl Area {
    fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
}

impl<'a> Pen<'a> {
    /// A pen whose lines and letters grow with the picture.
    pub(super) fn for_picture(picture: &'a mut Picture<3>) -> Self {
        let size = (picture.width + picture.height) as f32 / 2.0;
        let line = (size * 0.003).round().max(1.0) as i64;
        let letters = (size * 0.024).clamp(13.0, 48.0);
        let font = FontRef::try_from_slice(HACK_REGULAR).expect("the embedded font can be read");
        Self { picture, line, letters, font: font.into_scaled(letters) }
    }

    /// The outline of a box x1 y1 x2 y2.
    pub(super) fn rectangle(&mut self, bbox: [f32; 4], colour: [u8; 3]) {
        let Area { left, top, right, bottom } = self.area(bbox);
        let line = self.line;
        for side in [
            Area { left, top, right, bottom: top + line },
            Area { left, top: bottom - line, right, bottom },
            Area { left, top, right: left + line, bottom },
            Area { left: right - line, top, right, bottom },
        ] {
            self.fill(side, colour);
        }
    }

    /// Where to write `text` for a box: above it, below it, inside its top or its bottom edge, the first
    /// that lies in the picture and on none of the labels in `taken`. Moved left where it would leave the picture.
    pub(super) fn place_label(&self, bbox: [f32; 4], text: &str, taken: &[Area]) -> Area {
        let area = self.area(bbox);
        let advances = text.chars().map(|letter| self.font.h_advance(self.font.glyph_id(letter)));
        let wide = advances.sum::<f32>().ceil() as i64 + 2 * self.padding();
        let high = self.font.height().ceil() as i64;
        let left = area.left.min(self.picture.width as i64 - wide).max(0);
        let at = |top: i64| Area { left, top, right: left + wide, bottom: top + high };
        let inside = |label: &Area| label.top >= 0 && label.bottom <= self.picture.height as i64;
        let places = [area.top - high, area.bottom, area.top, area.bottom - high].map(at);
        let mut possible = places.iter().filter(|place| inside(place));
        let free = possible.clone().find(|place| !taken.iter().any(|label| label.meets(place)));
        free.or_else(|| possible.next()).copied().unwrap_or_else(|| at(0))
    }

    /// Writes `text` where [`Self::place_label`] has put it, on a ground of this colour.
    pub(super) fn label(&mut self, place: Area, text: &str, colour: [u8; 3]) {
        self.fill(place, colour);
        let ink = ink_on(colour);
        let mut pen = point((place.left + self.padding()) as f32, place.top as f32 + self.font.ascent());
        for letter in text.chars() {
            let glyph = self.font.glyph_id(letter).with_scale_and_position(self.letters, pen);
            pen.x += self.font.h_advance(glyph.id);
            if let Some(outline) = self.font.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|x, y, coverage| {
                    let at = (corner.x as i64 + i64::from(x), corner.y as i64 + i64::from(y));
                    self.blend(at, ink, coverage);
                });
            }
        }
    }

    /// Left and right of the text.
    fn padding(&self) -> i64 {
        (self.letters * 0.2).round() as i64
    }

    /// Whole pixels of a box, cut to the picture, at least one line wide and high.
    fn area(&self, [x1, y1, x2, y2]: [f32; 4]) -> Area {
        let within = |low: f32, high: f32, side: usize| {
            let side = side as i64;
            let low = (low.round() as i64).clamp(0, (side - self.line).max(0));
            (low, (high.round() as i64).clamp(low + self.line, side.max(low + self.line)))
        };
        let (left, right) = within(x1, x2, self.picture.width);
        let (top, bottom) = within(y1, y2, self.picture.height);
        Area { left, top, right, bottom }
    }

    fn fill(&mut self, area: Area, colour: [u8; 3]) {
        let within = |value: i64, side: usize| value.clamp(0, side as i64) as usize;
        let (left, right) = (within(area.left, self.picture.width), within(area.right, self.picture.width));
        for y in within(area.top, self.picture.height)..within(area.bottom, self.picture.height) {
            let row = y * self.picture.width;
            let pixels = &mut self.picture.pixels[3 * (row + left)..3 * (row + right)];
            pixels.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&colour));
        }
    }

    fn blend(&mut self, (x, y): (i64, i64), colour: [u8; 3], coverage: f32) {
        let (width, height) = (self.picture.width as i64, self.picture.height as i64);
        if !(0..width).contains(&x) || !(0..height).contains(&y) {
            return;
        }
        let start = 3 * (y * width + x) as usize;
        for (below, above) in self.picture.pixels[start..start + 3].iter_mut().zip(colour) {
            let mixed = f32::from(*below) + (f32::from(above) - f32::from(*below)) * coverage.clamp(0.0, 1.0);
            *below = mixed.round() as u8;
        }
    }
}
