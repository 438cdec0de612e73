//! Which pairs a batch is made of.

use yf_data::random::Random;

use crate::distributed::Shard;

/// This rank's part of every batch of an epoch, whose order is keyed by seed and epoch; the last batch may be smaller.
pub fn batches(seed: u64, epoch: usize, pictures: usize, batch: usize, shard: Shard) -> Vec<Vec<usize>> {
    shard.epoch(&shuffled(seed, epoch, pictures), batch.max(1))
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
}
