//! Host memory of batches, which they hand on to one another.
//!
//! A GPU reads page-locked memory by itself, but locking 128 MB holds it up for 50 to 180 ms. So the memory of all batches
//! under way is taken with the first of them, in one piece.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::AHEAD;
use crate::torch::{Device, Event, HostWords, Stream, Tensor, TorchError};

/// Buffers: of the batches that are prepared or wait, of the one that is sent, and of one whose copy waits for its place on
/// the device. More copies can wait there; then a batch's preparation waits for one of them.
const BUFFERS: usize = AHEAD + 2;
/// How often it is looked whether a copy is done.
const GLANCE: Duration = Duration::from_micros(200);

/// The buffers of a feed.
pub struct HostBuffers {
    /// Where they travel.
    target: Device,
    /// Whether the memory was taken.
    taken: Mutex<bool>,
    free: Receiver<HostBuffer>,
    give_back: Sender<HostBuffer>,
}

struct HostBuffer {
    words: HostWords,
    /// The last batch has left; absent where there was none and on a CPU.
    sent: Option<Event>,
}

/// A buffer in use; goes back when it is dropped.
pub struct HostLease {
    buffer: Option<HostBuffer>,
    /// Words of the batch, at the buffer's beginning.
    length: usize,
    give_back: Sender<HostBuffer>,
}

impl HostBuffers {
    /// Buffers for batches that travel to `target`. Memory is taken with the first batch.
    pub fn new(target: Device) -> Self {
        let (give_back, free) = unbounded();
        HostBuffers { target, taken: Mutex::new(false), free, give_back }
    }

    /// A buffer of any content for a batch of `length` words; hardly any batch will want more than `most`.
    ///
    /// # Errors
    /// No memory, and what the device reports.
    pub fn take(&self, length: usize, most: usize) -> Result<HostLease, TorchError> {
        let most = most.max(length).next_multiple_of(HostWords::ALIGNMENT);
        self.take_memory(most)?;
        // A consumer may hold as many batches as it likes: where no buffer is there, or a large enough one, one is made.
        let free = self.free.try_recv().ok().filter(|buffer| buffer.words.count() >= length);
        let mut buffer = match free {
            Some(buffer) => buffer,
            None => HostBuffer { words: self.words(most)?, sent: None },
        };
        if let Some(sent) = buffer.sent.take() {
            while !sent.is_reached()? {
                std::thread::sleep(GLANCE);
            }
        }
        Ok(HostLease { buffer: Some(buffer), length, give_back: self.give_back.clone() })
    }

    /// Takes the memory, the first time; others wait meanwhile.
    fn take_memory(&self, most: usize) -> Result<(), TorchError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if *taken {
            return Ok(());
        }
        *taken = true;
        match self.words(BUFFERS * most) {
            Ok(words) => {
                for words in words.split(BUFFERS)? {
                    // The other end is beside it.
                    let _ = self.give_back.send(HostBuffer { words, sent: None });
                }
            }
            // Single buffers may still be had.
            Err(why) => tracing::warn!("no memory for {BUFFERS} batches at once: {why}"),
        }
        Ok(())
    }

    /// So many words, or some more.
    fn words(&self, count: usize) -> Result<HostWords, TorchError> {
        // libtorch rounds page-locked memory to a power of two anyway.
        let count = if self.target.is_cuda() { count.next_power_of_two() } else { count };
        HostWords::new(count, self.target)
    }
}

impl HostLease {
    /// The words, to be written before anybody asks for their tensor.
    pub fn words_mut(&mut self) -> &mut [u32] {
        let Some(buffer) = &mut self.buffer else { return &mut [] };
        // SAFETY: whoever had the buffer before has dropped its tensors, copies from it are done, and this batch's tensor
        // is made when it was written.
        let words = unsafe { buffer.words.words_mut() };
        &mut words[..self.length]
    }

    /// The words as a tensor, i32 `[words]`, which is to be dropped before the lease.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn tensor(&self) -> Result<Tensor, TorchError> {
        match &self.buffer {
            Some(buffer) => buffer.words.tensor(self.length),
            None => Err(TorchError("a buffer was given back while it was read".to_owned())),
        }
    }

    /// Gives the buffer back; who takes it next waits until what `stream` was given so far is done.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn sent_on(mut self, stream: &Stream) -> Result<(), TorchError> {
        if let Some(mut buffer) = self.buffer.take() {
            // Where this fails the buffer is never used again.
            buffer.sent = Some(stream.mark()?);
            self.buffer = Some(buffer);
        }
        Ok(())
    }
}

impl Drop for HostLease {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            // Nobody takes it where the feed is gone.
            let _ = self.give_back.send(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(lease: &mut HostLease) -> *const u32 {
        lease.words_mut().as_ptr()
    }

    #[test]
    fn batches_hand_their_memory_on_and_never_share_it() {
        let buffers = HostBuffers::new(Device::Cpu);
        let mut held: Vec<HostLease> = (0..2 * BUFFERS).map(|_| buffers.take(1000, 1100).unwrap()).collect();
        for (number, lease) in held.iter_mut().enumerate() {
            lease.words_mut().fill(number as u32);
        }
        for (number, lease) in held.iter_mut().enumerate() {
            assert!(lease.words_mut().iter().all(|&word| word == number as u32), "batch {number}");
            assert_eq!(lease.tensor().unwrap().size(), [1000]);
        }
        let before: Vec<_> = held.iter_mut().map(start).collect();
        drop(held);
        let mut after: Vec<HostLease> = before.iter().map(|_| buffers.take(900, 1100).unwrap()).collect();
        assert!(after.iter_mut().all(|lease| before.contains(&start(lease))), "memory was taken anew");
    }

    #[test]
    fn a_small_first_batch_leaves_room_for_whole_ones() {
        let buffers = HostBuffers::new(Device::Cpu);
        let count = |lease: HostLease| lease.buffer.as_ref().unwrap().words.count();
        let small = count(buffers.take(6, 2000).unwrap());
        assert_eq!(count(buffers.take(2000, 2000).unwrap()), small, "memory was taken anew");
    }

    #[test]
    fn a_batch_larger_than_the_first_has_room() {
        let buffers = HostBuffers::new(Device::Cpu);
        drop(buffers.take(10, 20).unwrap());
        for _ in 0..2 * BUFFERS {
            let mut lease = buffers.take(100_000, 20).unwrap();
            assert_eq!(lease.words_mut().len(), 100_000);
        }
        assert_eq!(buffers.take(7, 20).unwrap().words_mut().len(), 7);
    }
}
