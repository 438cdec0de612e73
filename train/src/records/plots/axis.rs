//! Axes with ticks at round numbers, written with the digits they need.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// An axis from one value to another; the first may be the larger one, then it is drawn the other way round.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// At most `most_ticks` ticks, at least `least_step` apart.
    pub(super) fn new(from: f64, to: f64, most_ticks: usize, least_step: f64) -> Self {
        let ticks = ticks((from.min(to), from.max(to)), most_ticks, least_step);
        Self { from, to, ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.to - self.from);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        tick_label(*value, &self.ticks)
    }
}

/// The range of the finite values with a little room on both sides; 0..1 where there are none.
pub(super) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    // A constant gets room in proportion to its size; zero, or a span lost in rounding, gets any.
    let span = if high - low > 1e-9 * high.abs() { high - low } else { high.abs().max(1e-6) };
    (low - 0.05 * span, high + 0.05 * span)
}

/// At most `most` round numbers (1, 2 or 5 times a power of ten apart, at least `least_step`) in `low..=high`.
fn ticks((low, high): (f64, f64), most: usize, least_step: f64) -> Vec<f64> {
    let step = round_step((high - low) / most.max(1) as f64).max(least_step);
    let first = (low / step).ceil();
    let count = ((high / step).floor() - first).max(-1.0) as usize + 1;
    // `+ 0.0` makes the zero of a negative multiple positive.
    (0..count.min(most + 1)).map(|i| (first + i as f64) * step + 0.0).collect()
}

fn round_step(at_least: f64) -> f64 {
    if !(at_least.is_finite() && at_least > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(at_least.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= at_least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// How ticks are written: all with the digits that tell them apart.
fn tick_label(value: f64, ticks: &[f64]) -> String {
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).next().unwrap_or(value.abs().max(1e-12));
    let largest = ticks.iter().fold(0.0f64, |most, tick| most.max(tick.abs()));
    if value == 0.0 {
        return "0".to_string();
    }
    if !(1e-3..1e6).contains(&largest) {
        return format!("{:.1e}", value);
    }
    let digits = (-(step.log10() + 1e-9).floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks((0.0, 1.0), 5, 0.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks((1.0, 30.0), 6, 1.0), [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        assert_eq!(ticks((0.5, 1.5), 6, 1.0), [1.0]);
        assert_eq!(ticks((1.0, 2.0), 6, 1.0), [1.0, 2.0]);
        assert!(ticks((f64::NAN, 1.0), 5, 0.0).len() <= 6);
    }

    #[test]
    fn labels_have_the_digits_they_need() {
        let labels = |ticks: &[f64]| ticks.iter().map(|&t| tick_label(t, ticks)).collect::<Vec<_>>();
        assert_eq!(labels(&[0.0, 0.2, 0.4]), ["0", "0.2", "0.4"]);
        assert_eq!(labels(&[0.002, 0.004]), ["0.002", "0.004"]);
        assert_eq!(labels(&[0.00002, 0.00004]), ["2.0e-5", "4.0e-5"]);
        assert_eq!(labels(&[100.0, 200.0]), ["100", "200"]);
    }

    #[test]
    fn ranges_are_never_empty() {
        for values in [vec![], vec![f64::NAN], vec![0.0], vec![5.0, 5.0], vec![-1.0, f64::INFINITY, 2.0]] {
            let (low, high) = range(values.iter().copied());
            assert!(low < high && low.is_finite() && high.is_finite(), "{values:?}: {low}..{high}");
        }
    }
}
