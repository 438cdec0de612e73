//! Which pairs a batch is made of.

use yf_data::random::Random;

use crate::distributed::Shard;

/// This rank's part of every batch of an epoch, whose order is keyed by seed and epoch; the last batch may be smaller.
pub fn batches(seed: u64, epoch: usize, pictures: usize, batch: usize, shard: Shard) -> Vec<Vec<usize>> {
    shard.epoch(&shuffled(seed, epoch, pictures), batch.max(1))
}

/// Which pictures may share a mosaic with another: any. Only in a run's first epoch, in which every pair has to be read
/// from its files, they come from the batches so far, so that each batch has few pairs that are not there yet.
pub struct Partners {
    /// All pictures; those of the first epoch in its order.
    pictures: Vec<usize>,
    /// In the first epoch: how many of them each picture may choose from.
    seen: Option<Vec<usize>>,
}

impl Partners {
    /// Those of an epoch whose batches, over all ranks, have `batch` pictures.
    pub fn new(seed: u64, epoch: usize, pictures: usize, batch: usize) -> Self {
        if epoch > 0 {
            return Partners { pictures: (0..pictures).collect(), seen: None };
        }
        let order = shuffled(seed, epoch, pictures);
        let mut seen = vec![0; pictures];
        for (at, &picture) in order.iter().enumerate() {
            seen[picture] = (at / batch.max(1) + 1).saturating_mul(batch.max(1)).min(pictures);
        }
        Partners { pictures: order, seen: Some(seen) }
    }

    /// The partners of a picture; it is one of them itself.
    pub fn of(&self, picture: usize) -> &[usize] {
        match &self.seen {
            None => &self.pictures,
            Some(seen) => &self.pictures[..seen[picture]],
        }
    }
}

/// All pictures in an order keyed by seed and epoch.
fn shuffled(seed: u64, epoch: usize, pictures: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pictures).collect();
    let mut random = Random::keyed(&[seed, epoch as u64, u64::from_le_bytes(*b"shuffle.")]);
    for last in (1..pictures).rev() {
        order.swap(last, random.below(last + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_picture_once_in_an_order_of_its_own() {
        let first = shuffled(7, 0, 100);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(first, shuffled(7, 0, 100));
        assert_ne!(first, shuffled(7, 1, 100));
        assert_ne!(first, shuffled(8, 0, 100));
        let batches = batches(7, 0, 100, 16, Shard::WHOLE);
        assert_eq!((batches.len(), batches[6].len(), batches.concat()), (7, 4, first));
    }

    #[test]
    fn the_first_epoch_reads_no_more_than_its_batches() {
        let first = Partners::new(7, 0, 100, 16);
        let batches = batches(7, 0, 100, 16, Shard::WHOLE);
        for (i, batch) in batches.iter().enumerate() {
            let so_far = batches[..=i].concat();
            assert!(batch.iter().all(|&picture| first.of(picture) == so_far), "batch {i}");
        }
        assert_eq!(Partners::new(7, 1, 100, 16).of(3).len(), 100);
    }
}
