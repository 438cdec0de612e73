//! Which rank sees what.

use std::ops::Range;

/// One rank's part of whatever all ranks share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// This rank, below `size`.
    pub rank: usize,
    /// Ranks, at least one.
    pub size: usize,
}

impl Shard {
    /// Everything, where there is one rank.
    pub const WHOLE: Shard = Shard { rank: 0, size: 1 };

    /// This rank's part of `n` things in a row: ranks follow one another, and differ by one thing at most.
    pub fn of(self, n: usize) -> Range<usize> {
        self.rank * n / self.size..(self.rank + 1) * n / self.size
    }

    /// Batches of an epoch of `pictures`: the same number on every rank, none of them empty.
    ///
    /// A last batch with fewer pictures than ranks is added to the one before.
    pub fn batches(self, pictures: usize, batch: usize) -> usize {
        let (whole, rest) = (pictures / batch, pictures % batch);
        if whole > 0 && rest < self.size { whole } else { pictures.div_ceil(batch) }
    }

    /// This rank's pictures in every batch of an epoch, which `order` names; `batch` is the size over all ranks.
    /// Together the ranks see every picture once.
    pub fn epoch(self, order: &[usize], batch: usize) -> Vec<Vec<usize>> {
        let count = self.batches(order.len(), batch);
        let whole = |index: usize| match index + 1 {
            last if last == count => &order[index * batch..],
            _ => &order[index * batch..(index + 1) * batch],
        };
        (0..count).map(whole).map(|pictures| pictures[self.of(pictures.len())].to_vec()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_is_seen_once_in_batches_that_no_rank_misses() {
        for (pictures, batch, size) in
            [(100, 16, 1), (100, 16, 2), (97, 16, 3), (97, 8, 4), (5, 8, 3), (9, 4, 4)]
        {
            let order: Vec<usize> = (0..pictures).rev().collect();
            let ranks: Vec<Vec<Vec<usize>>> =
                (0..size).map(|rank| Shard { rank, size }.epoch(&order, batch)).collect();
            let steps = Shard { rank: 0, size }.batches(pictures, batch);
            let mut seen: Vec<usize> = vec![];
            for step in 0..steps {
                let sizes: Vec<usize> = ranks.iter().map(|rank| rank[step].len()).collect();
                assert!(sizes.iter().all(|&n| n > 0), "{pictures} pictures, {size} ranks: {sizes:?}");
                assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
                ranks.iter().for_each(|rank| seen.extend(&rank[step]));
            }
            assert!(ranks.iter().all(|rank| rank.len() == steps));
            assert_eq!(seen, order, "one rank after the other, the ranks see what one would");
        }
    }

    #[test]
    fn one_rank_keeps_a_last_batch_of_any_size() {
        let sizes =
            |n| Shard::WHOLE.epoch(&(0..n).collect::<Vec<_>>(), 4).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!((sizes(9), sizes(8), sizes(3)), (vec![4, 4, 1], vec![4, 4], vec![3]));
    }
}
