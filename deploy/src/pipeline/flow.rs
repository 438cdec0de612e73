//! The threads of a pipeline: several that read pairs, one that runs the network.
//!
//! ```text
//! buffers -> readers (decode, letterbox) -> in order, in batches -> network -> whoever takes the results
//! ```
//!
//! A pair is begun only where a buffer is free for it, and what leaves the network waits in a short queue. So what is
//! in memory depends on the number of threads and the size of a batch, never on the number of pairs.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};

use super::reader::{Prepared, Reader, Tensors};
use super::timed;
use crate::DeployError;
use crate::backend::Backend;
use crate::pairing::Files;

/// How many pairs go through the network at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// As many as suit the backend, but for the last.
    Auto,
    /// Always so many, but for the last.
    Of(usize),
}

impl Default for Batch {
    fn default() -> Self {
        Self::Of(1)
    }
}

/// A pair to prepare, with the buffers to use.
pub(super) struct Job {
    index: usize,
    tensors: Tensors,
}

/// A pair that a reader is done with.
pub(super) struct Outcome {
    index: usize,
    tensors: Tensors,
    prepared: Result<Prepared, DeployError>,
}

/// A pair that the network is done with: its number, what was prepared, and the network's output for it.
pub(super) type Detected = (usize, Result<(Prepared, Vec<f32>), DeployError>);

/// Reads pairs until no more come.
pub(super) fn read(reader: &Reader, pairs: &[Files], todo: &Receiver<Job>, done: &Sender<Outcome>) {
    for Job { index, mut tensors } in todo {
        let files = &pairs[index];
        // A worker that died would leave the network waiting for its pair.
        let prepared =
            catch_unwind(AssertUnwindSafe(|| reader.prepare(files, &mut tensors))).unwrap_or_else(|panic| {
                Err(DeployError::Worker { path: files.first().to_owned(), why: said(&*panic) })
            });
        if done.send(Outcome { index, tensors, prepared }).is_err() {
            return;
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Takes pairs in order, forms batches of them, and runs the network.
pub(super) struct Network<'a> {
    pub backend: &'a mut dyn Backend,
    pub queue: Queue<'a>,
    /// Most pairs a batch.
    pub most: usize,
    pub results: Sender<Detected>,
}

impl Network<'_> {
    /// Until the pairs are through, nobody takes the results any more, or the network fails.
    pub fn run(mut self) {
        loop {
            let batch = self.queue.batch(self.most);
            if batch.is_empty() || self.detect(batch).is_err() {
                return;
            }
        }
    }

    /// Runs the pairs of a batch that could be read, and hands over all of them in order.
    fn detect(&mut self, batch: Vec<Outcome>) -> Result<(), Stopped> {
        let (values, len) = (self.backend.info().values, self.backend.info().output_len());
        let readable = batch.iter().filter(|outcome| outcome.prepared.is_ok());
        let pairs: Vec<_> = readable.map(|outcome| outcome.tensors.pixels(values)).collect();
        let (readable, mut ms) = (pairs.len(), 0.0);
        let raw = timed(&mut ms, || self.backend.run(&pairs));
        let free = |outcome: Outcome| {
            self.queue.again(outcome.tensors);
            (outcome.index, outcome.prepared)
        };
        let prepared: Vec<_> = batch.into_iter().map(free).collect();
        let raw = match raw {
            Ok(raw) => raw,
            Err(error) => {
                let index = prepared.first().map_or(0, |(index, _)| *index);
                // Whoever takes the results ends the run with this.
                let _ = self.results.send((index, Err(error)));
                return Err(Stopped);
            }
        };
        let mut outputs = raw.chunks_exact(len.max(1));
        for (index, prepared) in prepared {
            let result = prepared.map(|mut prepared| {
                prepared.ms.network = ms / readable as f64;
                (prepared, outputs.next().unwrap_or_default().to_vec())
            });
            self.results.send((index, result)).map_err(|_| Stopped)?;
        }
        Ok(())
    }
}

/// The run is over.
struct Stopped;

/// Hands out pairs, never more than the buffers there are, and puts what comes back in order.
pub(super) struct Queue<'a> {
    jobs: Sender<Job>,
    done: Receiver<Outcome>,
    stop: &'a AtomicBool,
    waiting: BTreeMap<usize, Outcome>,
    next: usize,
    taken: usize,
    total: usize,
}

impl<'a> Queue<'a> {
    /// For that many pairs; no more are begun once `stop` is set.
    pub fn new(jobs: Sender<Job>, done: Receiver<Outcome>, stop: &'a AtomicBool, total: usize) -> Self {
        Self { jobs, done, stop, waiting: BTreeMap::new(), next: 0, taken: 0, total }
    }

    pub fn start(&mut self, buffers: usize) {
        for _ in 0..buffers {
            self.again(Tensors::default());
        }
    }

    /// Gives the next pair to a reader; the order of calls is the order of the pairs.
    fn again(&mut self, tensors: Tensors) {
        if self.next < self.total
            && !self.stop.load(Ordering::Relaxed)
            && self.jobs.send(Job { index: self.next, tensors }).is_ok()
        {
            self.next += 1;
        }
    }

    /// The next pairs in order, `most` of them readable; none where all are through.
    fn batch(&mut self, most: usize) -> Vec<Outcome> {
        let mut batch = Vec::new();
        let mut readable = 0;
        while readable < most {
            let Some(outcome) = self.take() else { break };
            readable += usize::from(outcome.prepared.is_ok());
            // A broken pair needs no network: its buffer goes on, and where it comes first it is reported at once.
            let alone = outcome.prepared.is_err() && readable == 0;
            batch.push(outcome);
            if alone {
                break;
            }
        }
        batch
    }

    /// Waits for the next pair in order; `None` where all that were begun are through.
    fn take(&mut self) -> Option<Outcome> {
        while !self.waiting.contains_key(&self.taken) {
            if self.taken == self.next {
                return None;
            }
            let outcome = self.done.recv().ok()?;
            self.waiting.insert(outcome.index, outcome);
        }
        self.taken += 1;
        self.waiting.remove(&(self.taken - 1))
    }
}
