//! Which pairs of a data set without parts are measured on.

use std::fmt;

use crate::random::Random;

/// Stretches that a data set is cut into, so that each holds a fiftieth.
const STRETCHES: usize = 50;

/// A share of the pairs is kept for validation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holdout {
    /// The share, above 0 and below 1.
    pub share: f32,
    /// Neighbours in the order of their names stay together: pictures of one drive look alike, and what is measured on
    /// must not be what is trained on.
    pub stretches: bool,
    /// Equal seeds give equal parts.
    pub seed: u64,
}

impl Default for Holdout {
    fn default() -> Self {
        Holdout { share: 0.2, stretches: true, seed: 0 }
    }
}

impl Holdout {
    /// For each of `pairs` (2 or more) in the order of their names, whether it is held out: at least one is, and at
    /// least one is not.
    pub(super) fn of(&self, pairs: usize) -> Vec<bool> {
        let length = if self.stretches { pairs.div_ceil(STRETCHES) } else { 1 };
        let stretches = pairs.div_ceil(length);
        let mut order: Vec<usize> = (0..stretches).collect();
        let mut random = Random::keyed(&[self.seed]);
        for last in (1..stretches).rev() {
            order.swap(last, random.below(last + 1));
        }
        let wanted = ((pairs as f64 * f64::from(self.share)).round() as usize).clamp(1, pairs - 1);
        let mut held = vec![false; pairs];
        let mut count = 0;
        for stretch in order.into_iter().take(stretches - 1) {
            if count >= wanted {
                break;
            }
            let start = stretch * length;
            let end = (start + length).min(pairs);
            held[start..end].fill(true);
            count += end - start;
        }
        held
    }
}

impl fmt::Display for Holdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.stretches { "stretches of neighbours" } else { "single pairs" };
        write!(f, "val is a share of {} in {how}, seed {}", self.share, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(held: &[bool]) -> usize {
        held.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    #[test]
    fn stretches_hold_neighbours_together() {
        let (whole, single) = (Holdout::default(), Holdout { stretches: false, ..Holdout::default() });
        let (whole, single) = (whole.of(4200), single.of(4200));
        for held in [&whole, &single] {
            assert_eq!(held.iter().filter(|held| **held).count(), 840);
        }
        assert!(changes(&whole) <= 20 && changes(&single) > 800, "{} {}", changes(&whole), changes(&single));
    }

    #[test]
    fn equal_seeds_give_equal_parts_and_no_part_is_empty() {
        for pairs in [2, 3, 51, 99] {
            for share in [0.001, 0.5, 0.999] {
                let holdout = |seed| Holdout { share, seed, ..Holdout::default() }.of(pairs);
                assert_eq!(holdout(3), holdout(3));
                assert!(holdout(3).contains(&true) && holdout(3).contains(&false), "{pairs} {share}");
            }
        }
        assert_ne!(Holdout::default().of(500), Holdout { seed: 1, ..Holdout::default() }.of(500));
    }
}
