//! Means, spreads and confidence intervals of values that come in folds.
//!
//! Runs on one fold share its pairs, so they are not independent: their mean is one observation, and the folds are the
//! sample. The interval of a mean is Student's t over the folds' means. Training sets of different folds overlap, which
//! makes that interval too narrow; the correction of Nadeau and Bengio (Machine Learning 52, 2003) for resampled tests
//! widens it, and is given beside it.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Share of the intervals that hold the truth.
const CONFIDENCE: f64 = 0.95;

/// Mean and spread of values that come in folds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Mean of the folds' means.
    pub mean: f64,
    /// Standard deviation of the folds' means; 0 of a single fold.
    pub over_folds: f64,
    /// Standard deviation of the runs within a fold, pooled over folds; 0 where every fold has one run.
    pub over_seeds: f64,
    /// Number of values.
    pub runs: usize,
}

/// A mean and the interval in which it lies with a confidence of 95 %.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// Mean of the folds' means.
    pub mean: f64,
    /// Half the width of Student's interval over the folds' means; infinite of a single fold.
    pub half: f64,
    /// The same, corrected for training sets that overlap.
    pub corrected: f64,
    /// The folds' means.
    pub folds: Vec<f64>,
}

impl Interval {
    /// Whether zero is outside, with and without the correction.
    pub fn excludes_zero(&self) -> [bool; 2] {
        [self.half, self.corrected].map(|half| self.mean.abs() > half)
    }
}

/// Mean and spread of (fold, value); `None` of nothing.
pub fn summary(values: &[(usize, f64)]) -> Option<Summary> {
    let folds = by_fold(values);
    if folds.is_empty() {
        return None;
    }
    let means: Vec<f64> = folds.iter().map(|fold| mean(fold)).collect();
    let squares: f64 = folds.iter().map(|fold| sum_of_squares(fold)).sum();
    let freedom = values.len() - folds.len();
    Some(Summary {
        mean: mean(&means),
        over_folds: deviation(&means),
        over_seeds: if freedom == 0 { 0.0 } else { (squares / freedom as f64).sqrt() },
        runs: values.len(),
    })
}

/// Mean of (fold, value) and its interval; `test_to_train` is the ratio of tested to learned pairs. `None` of nothing.
pub fn interval(values: &[(usize, f64)], test_to_train: f64) -> Option<Interval> {
    let folds: Vec<f64> = by_fold(values).iter().map(|fold| mean(fold)).collect();
    let count = folds.len() as f64;
    let half = match folds.len() {
        0 => return None,
        1 => f64::INFINITY,
        _ => quantile(count - 1.0) * deviation(&folds) / count.sqrt(),
    };
    let corrected = half * (1.0 + count * test_to_train).sqrt();
    Some(Interval { mean: mean(&folds), half, corrected, folds })
}

/// Two-sided quantile of Student's t.
fn quantile(freedom: f64) -> f64 {
    let upper = |t: StudentsT| t.inverse_cdf(0.5 + CONFIDENCE / 2.0);
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, upper)
}

fn by_fold(values: &[(usize, f64)]) -> Vec<Vec<f64>> {
    let mut folds: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    values.iter().for_each(|&(fold, value)| folds.entry(fold).or_default().push(value));
    folds.into_values().collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn sum_of_squares(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// Of a sample; 0 of fewer than two.
fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 { 0.0 } else { (sum_of_squares(values) / (values.len() - 1) as f64).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five folds of three runs; what scipy 1.17 says of the folds' means (`stats.t.ppf`, `ttest_1samp(...)
    /// .confidence_interval`) and numpy of their deviation (`ddof=1`).
    const TABLE: [[f64; 3]; 5] = [
        [0.040, 0.049, 0.032],
        [0.013, 0.026, 0.010],
        [0.042, 0.080, 0.025],
        [0.021, 0.055, 0.051],
        [0.043, 0.012, 0.039],
    ];

    fn values() -> Vec<(usize, f64)> {
        TABLE.iter().enumerate().flat_map(|(fold, row)| row.map(|value| (fold, value))).collect()
    }

    fn near(is: f64, expected: f64) {
        assert!((is - expected).abs() < 1e-9 * expected.abs().max(1.0), "{is}, not {expected}");
    }

    #[test]
    fn quantiles_are_scipys() {
        for (freedom, expected) in [
            (1.0, 12.706204736174694),
            (2.0, 4.302652729749462),
            (4.0, 2.7764451051977934),
            (9.0, 2.262157162798205),
            (29.0, 2.045229642132703),
        ] {
            near(quantile(freedom), expected);
        }
    }

    #[test]
    fn means_spreads_and_intervals_are_numpys_and_scipys() {
        let summary = summary(&values()).unwrap();
        near(summary.mean, 0.035866666666666665);
        near(summary.over_folds, 0.012613044394153573);
        near(summary.over_seeds, 0.01770498988044519);
        assert_eq!(summary.runs, 15);
        let interval = interval(&values(), 41.0 / 165.0).unwrap();
        near(interval.mean, 0.035866666666666665);
        near(interval.half, 0.015661163131966298);
        near(interval.corrected, 0.02345216296014821);
        assert_eq!((interval.folds.len(), interval.excludes_zero()), (5, [true, true]));
    }

    #[test]
    fn folds_count_alike_however_many_runs_they_have() {
        let uneven = [(0, 0.1), (0, 0.2), (0, 0.15), (1, 0.3), (1, 0.26), (2, 0.05)];
        let summary = summary(&uneven).unwrap();
        near(summary.mean, 0.16);
        near(summary.over_folds, 0.11532562594670798);
        near(summary.over_seeds, 0.0439696865275764);
        near(interval(&uneven, 0.5).unwrap().half, 0.28648473654542966);
    }

    #[test]
    fn a_single_fold_has_no_interval_and_nothing_nothing() {
        let one = interval(&[(3, 0.5), (3, 0.25)], 0.25).unwrap();
        assert_eq!((one.mean, one.half, one.excludes_zero()), (0.375, f64::INFINITY, [false, false]));
        assert_eq!((summary(&[]), interval(&[], 0.25)), (None, None));
        let run = summary(&[(0, 0.5)]).unwrap();
        assert_eq!((run.over_folds, run.over_seeds), (0.0, 0.0));
    }
}
