//! Work ahead of its consumer: several threads, results in order, a bounded number of them waiting.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::error::DataError;

/// Runs `work` on every job on `workers` threads and gives the results in the order of the jobs. At most `depth`
/// results are begun or waiting (at least one for each worker), so memory stays bounded however slow the consumer is.
///
/// A panic in `work` becomes an error in its place, and the others go on; a panic in `jobs` is the last item.
/// Dropping the iterator lets the jobs in hand finish and joins the threads.
pub fn prefetch<J, T, I, W>(jobs: I, workers: usize, depth: usize, work: W) -> Prefetch<T>
where
    J: Send + 'static,
    T: Send + 'static,
    I: Iterator<Item = J> + Send + 'static,
    W: Fn(J) -> T + Send + Sync + 'static,
{
    let workers = workers.max(1);
    let depth = depth.max(workers);
    let (permits, permitted) = bounded(depth);
    let (done, results) = unbounded();
    for _ in 0..depth {
        // The channel has room for exactly these, so that this cannot block or fail.
        let _ = permits.send(());
    }
    let queue = Arc::new(Mutex::new(Queue { jobs: Some(jobs), next: 0 }));
    let work = Arc::new(work);
    let threads = (0..workers)
        .map(|_| {
            let (queue, work) = (Arc::clone(&queue), Arc::clone(&work));
            let (permitted, done) = (permitted.clone(), done.clone());
            std::thread::spawn(move || serve(&queue, &permitted, &done, &*work))
        })
        .collect();
    Prefetch { permits: Some(permits), results: Some(results), early: BTreeMap::new(), next: 0, threads }
}

/// The iterator that [`prefetch`] returns.
pub struct Prefetch<T> {
    permits: Option<Sender<()>>,
    results: Option<Receiver<Outcome<T>>>,
    early: BTreeMap<usize, Result<T, DataError>>,
    next: usize,
    threads: Vec<JoinHandle<()>>,
}

type Outcome<T> = (usize, Result<T, DataError>);

struct Queue<I> {
    /// `None` once they are used up or panicked.
    jobs: Option<I>,
    next: usize,
}

impl<J, I: Iterator<Item = J>> Queue<I> {
    /// The next job and its number.
    fn take(&mut self) -> Option<(usize, Result<J, DataError>)> {
        let jobs = self.jobs.as_mut()?;
        let job = catch_unwind(AssertUnwindSafe(|| jobs.next()));
        if !matches!(job, Ok(Some(_))) {
            self.jobs = None;
        }
        let number = self.next;
        self.next += 1;
        match job {
            Ok(job) => job.map(|job| (number, Ok(job))),
            Err(panic) => Some((number, Err(worker_error(panic.as_ref())))),
        }
    }
}

fn serve<J, T, I: Iterator<Item = J>>(
    queue: &Mutex<Queue<I>>,
    permitted: &Receiver<()>,
    done: &Sender<Outcome<T>>,
    work: &(impl Fn(J) -> T + ?Sized),
) {
    // A permit is taken before a job, so that the jobs in flight are always the next ones in order.
    while permitted.recv().is_ok() {
        let taken = queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((number, job)) = taken else { return };
        let result = job.and_then(|job| {
            catch_unwind(AssertUnwindSafe(|| work(job))).map_err(|panic| worker_error(panic.as_ref()))
        });
        if done.send((number, result)).is_err() {
            return;
        }
    }
}

fn worker_error(panic: &(dyn Any + Send)) -> DataError {
    let said = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
    DataError::Worker(said.unwrap_or_else(|| "it panicked".into()))
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = loop {
            if let Some(result) = self.early.remove(&self.next) {
                break result;
            }
            // Fails once all workers have left: the jobs are used up.
            let (number, result) = self.results.as_ref()?.recv().ok()?;
            self.early.insert(number, result);
        };
        self.next += 1;
        if let Some(permits) = &self.permits {
            let _ = permits.try_send(());
        }
        Some(result)
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.permits = None;
        self.results = None;
        for thread in self.threads.drain(..) {
            // Panics of the work were caught in the thread.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order() {
        let slow_first = |i: u64| {
            std::thread::sleep(Duration::from_millis(if i.is_multiple_of(3) { 3 } else { 0 }));
            i * i
        };
        let squares: Vec<u64> = prefetch(0..50, 4, 8, slow_first).map(|r| r.expect("no panic")).collect();
        assert_eq!(squares, (0..50).map(|i| i * i).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_than_depth_are_begun() {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let mut ahead = prefetch(0..100, 2, 5, move |_| count.fetch_add(1, Ordering::SeqCst));
        assert!(ahead.next().is_some());
        std::thread::sleep(Duration::from_millis(50));
        assert!(begun.load(Ordering::SeqCst) <= 6, "five waiting and the one that was taken");
    }

    #[test]
    fn a_panic_is_an_error_in_its_place() {
        let work = |i: usize| if i == 2 { panic!("two") } else { i };
        let all: Vec<_> = prefetch(0..4, 2, 4, work).collect();
        assert!(matches!(&all[2], Err(DataError::Worker(why)) if why == "two"));
        assert!(all.len() == 4 && matches!(all[3], Ok(3)));
    }

    #[test]
    fn a_panic_of_the_jobs_ends_them() {
        let jobs = (0..10).inspect(|&i| assert!(i < 3, "no more"));
        let all: Vec<_> = prefetch(jobs, 2, 4, |i| i).collect();
        assert!(all.len() == 4 && all[3].is_err());
    }

    #[test]
    fn dropping_joins_the_threads() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let mut ahead = prefetch(0.., 3, 6, move |i: usize| (i, Arc::strong_count(&held)).0);
        assert!(ahead.next().is_some());
        drop(ahead);
        assert_eq!(Arc::strong_count(&alive), 1, "no thread holds the work any more");
    }
}
