//! A street: sky, buildings, ground, things that are nothing to find, and the objects.

use super::SynthObject;
use super::canvas::{Look, Relief, blank, paint};
use super::shapes::{CLASS_NAMES, Form, Material, NOTHING, Part, parts, union};
use crate::picture::Pair;
use crate::random::Random;

/// Everything that is in a picture, in pixels.
pub(super) struct Scene {
    night: bool,
    horizon: f32,
    /// Colours at the top of the sky, at the horizon, and of the ground near and far; infrared last.
    sky: [[f32; 4]; 2],
    ground: [[f32; 4]; 2],
    reliefs: [(Relief, f32); 3],
    /// Buildings, trees, lamps: back to front.
    scenery: Vec<(Form, Look)>,
    /// Far to near.
    objects: Vec<Object>,
}

struct Object {
    class: usize,
    bbox: [f32; 4],
    parts: Vec<Part>,
    wardrobe: Wardrobe,
    seen: [f32; 2],
}

/// The colours and the warmth of one object's materials.
struct Wardrobe {
    main: [u8; 3],
    second: [u8; 3],
    skin: [u8; 3],
    /// Added to every infrared value.
    warmth: f32,
    /// Factor on every colour: how well it is lit.
    lit: f32,
}

/// What is left of an object in the camera that does not see it.
const HIDDEN: f32 = 0.05;
/// Objects in a picture.
const MOST_OBJECTS: usize = 6;
/// Height of each class as a part of the picture's shorter side, far and near.
const HEIGHTS: [(f32, f32); 3] = [(0.22, 0.52), (0.17, 0.33), (0.14, 0.27)];
/// Two objects may share this part of the smaller one's box.
const MOST_OVERLAP: f32 = 0.15;

impl Scene {
    /// A random scene for a picture of this size.
    pub(super) fn compose(random: &mut Random, width: f32, height: f32) -> Self {
        let night = random.chance(0.5);
        let horizon = height * random.range(0.25, 0.42);
        let tone = random.range(0.8, 1.2);
        let (sky, ground) = if night {
            (
                [[8.0, 10.0, 22.0, 22.0], [22.0, 22.0, 34.0, 34.0]],
                [[26.0, 26.0, 30.0, 58.0], [34.0, 33.0, 33.0, 70.0]],
            )
        } else {
            (
                [[96.0, 138.0, 196.0, 30.0], [176.0, 192.0, 212.0, 48.0]],
                [[112.0, 110.0, 104.0, 84.0], [126.0, 122.0, 114.0, 96.0]],
            )
        };
        let toned = |colours: [[f32; 4]; 2]| colours.map(|colour| colour.map(|value| value * tone));
        let mut relief = |cell: f32, strength: f32| {
            (Relief::new(random, width, height, (height * cell).max(2.0)), strength)
        };
        let reliefs = [relief(0.2, 9.0), relief(0.05, 6.0), relief(0.012, 4.0)];
        let mut scene = Self {
            night,
            horizon,
            sky: toned(sky),
            ground: toned(ground),
            reliefs,
            scenery: Vec::new(),
            objects: Vec::new(),
        };
        scene.build_street(random, width, height);
        scene.place_objects(random, width, height);
        scene
    }

    /// Whether it is dark for the RGB camera.
    pub(super) fn is_night(&self) -> bool {
        self.night
    }

    /// The true objects.
    pub(super) fn objects(&self) -> impl Iterator<Item = SynthObject> {
        self.objects.iter().map(|object| {
            let [in_rgb, in_ir] = object.seen.map(|seen| seen > HIDDEN);
            SynthObject { class: object.class, bbox: object.bbox, in_rgb, in_ir }
        })
    }

    /// The scene as both cameras see it, without noise.
    pub(super) fn paint(&self, width: usize, height: usize) -> Pair {
        let mut pair = blank(width, height);
        self.paint_background(&mut pair);
        for (form, look) in &self.scenery {
            paint(&mut pair, form, look);
        }
        for object in &self.objects {
            for part in &object.parts {
                let (rgb, ir) = object.wardrobe.look(part.material, self.night);
                paint(&mut pair, &part.form, &Look { rgb, ir, seen: object.seen });
            }
        }
        pair
    }

    fn paint_background(&self, pair: &mut Pair) {
        let (width, height) = (pair.rgb.width, pair.rgb.height as f32);
        let mut relief = vec![0.0; width];
        let rows = pair.rgb.pixels.chunks_exact_mut(3 * width).zip(pair.ir.pixels.chunks_exact_mut(width));
        for (y, (rgb, ir)) in rows.enumerate() {
            let at = y as f32;
            let (base, texture) = if at < self.horizon {
                (between(&self.sky, at / self.horizon), 0.25)
            } else {
                (between(&self.ground, (at - self.horizon) / (height - self.horizon)), 1.0)
            };
            let contrast = texture * if self.night { 0.6 } else { 1.0 };
            relief.fill(0.0);
            for (octave, strength) in &self.reliefs {
                octave.add_row(y, strength * contrast, &mut relief);
            }
            for ((rgb, ir), relief) in rgb.chunks_exact_mut(3).zip(ir).zip(&relief) {
                (0..3).for_each(|channel| rgb[channel] = (base[channel] + relief) as u8);
                *ir = (base[3] + 0.7 * relief) as u8;
            }
        }
    }

    /// Buildings with windows, trees, lamps, vents and signs: none of them is an object to find.
    fn build_street(&mut self, random: &mut Random, width: f32, height: f32) {
        for _ in 0..2 + random.below(4) {
            self.build_house(random, width);
        }
        for _ in 0..random.below(4) {
            self.plant_tree(random, width, height);
        }
        for _ in 0..random.below(3) {
            self.put_up_lamp(random, width, height);
        }
    }

    fn build_house(&mut self, random: &mut Random, width: f32) {
        let light = if self.night { 0.22 } else { 1.0 };
        let wall = dimmed(hsv(random.range(0.0, 0.15), 0.25, random.range(110.0, 190.0)), light);
        let warmth = random.range(62.0, 100.0);
        let (left, wide) = (random.range(-0.1, 0.9) * width, random.range(0.12, 0.35) * width);
        let (top, base) = (self.horizon * random.range(0.1, 0.7), self.horizon * 1.03);
        self.scenery
            .push((Form::Rectangle([left, top, left + wide, base]), Look::opaque(wall, warmth as u8)));
        let floor = (self.horizon * 0.16).max(4.0);
        let (mut y, across) = (top + floor * 0.4, 2 + random.below(4));
        while y + floor * 0.6 < base {
            for column in 0..across {
                let x = left + wide * (column as f32 + 0.25) / across as f32;
                let lit = self.night && random.chance(0.3);
                let glass = if lit { [190, 160, 90] } else { dimmed([60, 75, 95], light) };
                let ir = warmth + if random.chance(0.3) { 22.0 } else { -12.0 };
                let window = [x, y, x + wide * 0.5 / across as f32, y + floor * 0.5];
                self.scenery.push((Form::Rectangle(window), Look::opaque(glass, ir as u8)));
            }
            y += floor;
        }
    }

    fn plant_tree(&mut self, random: &mut Random, width: f32, height: f32) {
        let light = if self.night { 0.25 } else { 1.0 };
        let tall = height * random.range(0.2, 0.4);
        let (x, foot) = (random.range(0.0, width), self.horizon + height * random.range(0.02, 0.12));
        let trunk = Form::Stroke { from: [x, foot], to: [x, foot - tall * 0.6], radius: tall * 0.03 };
        self.scenery.push((trunk, Look::opaque(dimmed([92, 70, 48], light), 74)));
        for _ in 0..5 {
            let centre = [x + tall * random.range(-0.18, 0.18), foot - tall * random.range(0.55, 0.9)];
            let radii = [tall * random.range(0.12, 0.2), tall * random.range(0.1, 0.17)];
            let green = dimmed(hsv(random.range(0.24, 0.36), 0.55, random.range(70.0, 120.0)), light);
            let ir = random.range(56.0, 76.0) as u8;
            self.scenery.push((Form::Ellipse { centre, radii }, Look::opaque(green, ir)));
        }
    }

    /// A lamp is hot and bright and small: warmth alone does not make a person.
    fn put_up_lamp(&mut self, random: &mut Random, width: f32, height: f32) {
        let tall = height * random.range(0.25, 0.45);
        let (x, foot) = (random.range(0.0, width), self.horizon + height * random.range(0.02, 0.2));
        let pole = Form::Stroke { from: [x, foot], to: [x, foot - tall], radius: tall * 0.012 };
        self.scenery.push((pole, Look::opaque(if self.night { [30, 30, 32] } else { [84, 86, 88] }, 78)));
        let head = Form::Ellipse { centre: [x, foot - tall], radii: [tall * 0.06, tall * 0.035] };
        let light = if self.night { ([235, 215, 160], 205) } else { ([150, 150, 146], 96) };
        self.scenery.push((head, Look::opaque(light.0, light.1)));
    }

    fn place_objects(&mut self, random: &mut Random, width: f32, height: f32) {
        let wanted = 1 + random.below(MOST_OBJECTS);
        for _ in 0..wanted * 8 {
            if self.objects.len() == wanted {
                break;
            }
            if let Some(object) = self.try_object(random, width, height) {
                self.objects.push(object);
            }
        }
        self.objects.sort_by(|a, b| a.bbox[3].total_cmp(&b.bbox[3]));
    }

    /// An object at a random place; `None` where it would leave the picture or cover another.
    fn try_object(&self, random: &mut Random, width: f32, height: f32) -> Option<Object> {
        let class = random.below(CLASS_NAMES.len());
        let nearness = random.unit();
        let (far, near) = HEIGHTS[class];
        let scale = height.min(width) * (far + (near - far) * nearness) * random.range(0.9, 1.1);
        let foot = self.horizon + (height - self.horizon) * (0.25 + 0.73 * nearness);
        let (shape, mirrored, x) = (parts(class, random), random.chance(0.5), random.range(0.0, width));
        let placed =
            |part: &Part| Part { form: part.form.placed(scale, mirrored, [x, foot - scale]), ..*part };
        let parts: Vec<Part> = shape.iter().map(placed).collect();
        let bbox = parts.iter().map(|part| part.form.bounds()).fold(NOTHING, union);
        let inside = bbox[0] >= 0.0 && bbox[1] >= 0.0 && bbox[2] <= width && bbox[3] <= height;
        let free = self.objects.iter().all(|other| overlap(&bbox, &other.bbox) < MOST_OVERLAP);
        let (seen, wardrobe) = (self.visibility(random), Wardrobe::random(random, self.night));
        (inside && free).then_some(Object { class, bbox, parts, wardrobe, seen })
    }

    /// What each camera sees of an object: at night many are out of the light, by day some are no warmer than the
    /// street.
    fn visibility(&self, random: &mut Random) -> [f32; 2] {
        let (ir_alone, rgb_alone) = if self.night { (0.45, 0.08) } else { (0.05, 0.32) };
        match random.unit() {
            draw if draw < ir_alone => [HIDDEN, 1.0],
            draw if draw < ir_alone + rgb_alone => [1.0, HIDDEN],
            _ => [1.0, 1.0],
        }
    }
}

impl Wardrobe {
    fn random(random: &mut Random, night: bool) -> Self {
        Self {
            main: hsv(random.unit(), random.range(0.5, 0.95), random.range(120.0, 235.0)),
            second: hsv(random.unit(), random.range(0.1, 0.6), random.range(30.0, 110.0)),
            skin: hsv(0.06, random.range(0.25, 0.55), random.range(110.0, 230.0)),
            warmth: random.range(-12.0, 12.0),
            lit: if night { random.range(0.55, 0.9) } else { 1.0 },
        }
    }

    /// Colour and infrared value of a material.
    fn look(&self, material: Material, night: bool) -> ([u8; 3], u8) {
        let (colour, heat) = match material {
            Material::Skin => (self.skin, 232.0),
            Material::Cloth => (self.main, 196.0),
            Material::Trousers => (self.second, 176.0),
            Material::Frame => (self.main, 158.0),
            Material::Tyre => ([24, 24, 26], 172.0),
            Material::Paint => (self.main, 140.0),
            Material::Glass => ([52, 66, 84], 40.0),
            Material::Bonnet => (self.main, 216.0),
        };
        let colour = if night && material == Material::Tyre { [52, 52, 54] } else { colour };
        (dimmed(colour, self.lit), (heat + self.warmth) as u8)
    }
}

fn between(ends: &[[f32; 4]; 2], share: f32) -> [f32; 4] {
    std::array::from_fn(|i| ends[0][i] + (ends[1][i] - ends[0][i]) * share)
}

fn dimmed(colour: [u8; 3], light: f32) -> [u8; 3] {
    colour.map(|value| (f32::from(value) * light) as u8)
}

/// Hue and saturation 0..1, value 0..255.
fn hsv(hue: f32, saturation: f32, value: f32) -> [u8; 3] {
    [5.0, 3.0, 1.0].map(|offset: f32| {
        let k = (offset + hue * 6.0).rem_euclid(6.0);
        (value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))) as u8
    })
}

/// The part of the smaller box that both share.
fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let shared = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |c: &[f32; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    shared / area(a).min(area(b)).max(1.0)
}
