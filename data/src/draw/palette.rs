//! Colours that tell classes apart, the same in every run.

/// Red, green, blue of a class: neighbours are far apart in hue, and the wheel is used at three brightnesses.
pub fn class_colour(class: usize) -> [u8; 3] {
    // Steps of the golden ratio never come close to an earlier hue before they must.
    let hue = (class as f64 * 0.618_033_988_749_895 + 0.03).fract() as f32;
    let (saturation, value) = [(0.85, 255.0), (0.6, 255.0), (0.9, 190.0)][class / 8 % 3];
    [5.0, 3.0, 1.0].map(|offset: f32| {
        let k = (offset + hue * 6.0).rem_euclid(6.0);
        (value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))) as u8
    })
}

/// Black or white, whichever reads better on `ground`.
pub(super) fn ink_on(ground: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = ground.map(f32::from);
    if 0.299 * r + 0.587 * g + 0.114 * b > 140.0 { [0; 3] } else { [255; 3] }
}
