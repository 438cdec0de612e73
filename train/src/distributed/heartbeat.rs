//! Ranks that stop without a word, on whatever host, are noticed by the others, also while a CUDA graph replays.
//!
//! Every rank counts up a key of its own in the store. Rank 0 looks at all of them, the others at rank 0's, so that
//! the store has little to do. The first failure that is known stands under one key, which every rank reads; a rank
//! that reads another's failure there says so and ends.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use yf_plan::log::say;

use super::exit;
use crate::torch::{Store, TorchError};

/// Between two signs of life.
const PERIOD: Duration = Duration::from_secs(1);
/// A rank is lost that has not shown one for so long. No work of a rank stands in the way of its thread.
pub const LIMIT: Duration = Duration::from_secs(15);
/// What a rank that notices another's failure leaves to a launcher, which knows more about its own ranks.
const GRACE: Duration = Duration::from_secs(2);
/// In this time every rank has read why another ends.
pub const TO_READ: Duration = Duration::from_secs(5);

const FAILED: &str = "failed";

/// A thread that shows that this rank lives, and watches the others, until dropped.
pub struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts it, over a connection of its own.
    pub fn start(store: Store, rank: usize, size: usize) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let mut watch = Watch::new(rank, size);
            // Rank 0 serves the store, so it goes last: the others are to read there why.
            let grace = if rank == 0 { GRACE + TO_READ } else { GRACE };
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let verdict = watch.look(&store).unwrap_or_else(|e| Some(store_gone(&e)));
                if let Some(why) = verdict {
                    let still_here = stopped.recv_timeout(grace) == Err(RecvTimeoutError::Timeout);
                    if still_here {
                        say(format_args!("error: {why}"));
                        exit(1);
                    }
                    return;
                }
            }
        });
        Heartbeat { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells all ranks why this one ends. The first to tell is the one that is believed.
pub fn tell(store: &Store, why: &str) -> Result<(), TorchError> {
    if store.add("failures", 1)? == 1 { store.set(FAILED, why.as_bytes()) } else { Ok(()) }
}

/// What another rank has told.
pub fn told(store: &Store) -> Result<Option<String>, TorchError> {
    Ok(store.find(FAILED)?.map(|text| String::from_utf8_lossy(&text).into_owned()))
}

/// What there is to say when the store does not answer.
pub fn store_gone(error: &TorchError) -> String {
    format!("rank 0, or whoever serves the store of the ranks, has gone: {}", error.0)
}

struct Watch {
    own: String,
    watched: Vec<Watched>,
}

struct Watched {
    rank: usize,
    beats: i64,
    since: Instant,
}

fn key(rank: usize) -> String {
    format!("alive/{rank}")
}

impl Watch {
    fn new(rank: usize, size: usize) -> Self {
        let ranks = if rank == 0 { 1..size } else { 0..1 };
        let watched = ranks.map(|rank| Watched { rank, beats: 0, since: Instant::now() }).collect();
        Watch { own: key(rank), watched }
    }

    /// Shows that this rank lives; says what is wrong with the others.
    fn look(&mut self, store: &Store) -> Result<Option<String>, TorchError> {
        store.add(&self.own, 1)?;
        if let Some(why) = told(store)? {
            return Ok(Some(why));
        }
        for watched in &mut self.watched {
            let beats = store.add(&key(watched.rank), 0)?;
            if beats != watched.beats {
                (watched.beats, watched.since) = (beats, Instant::now());
            } else if watched.since.elapsed() > LIMIT {
                let (rank, seconds) = (watched.rank, LIMIT.as_secs());
                let why = format!(
                    "rank {rank} has not been heard of for {seconds} s: it was killed, or its host is gone"
                );
                tell(store, &why)?;
                return Ok(Some(why));
            }
        }
        Ok(None)
    }
}
