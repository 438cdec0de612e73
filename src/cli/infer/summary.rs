//! What `yf infer` says at the end: how many pairs, how fast, and which stage took the time.

use std::time::{Duration, Instant};

use yf_deploy::pipeline::{PairResult, Stages};

/// Counts results as they come.
pub(super) struct Summary {
    begun: Instant,
    /// Up to the first result: a network's start is in it.
    first: Option<Duration>,
    /// Results that have come, of pairs that could be read or not.
    pub(super) done: usize,
    read: usize,
    objects: usize,
    ms: Stages,
}

impl Summary {
    /// From now on.
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), first: None, done: 0, read: 0, objects: 0, ms: Stages::default() }
    }

    /// One more pair; none where it could not be read.
    pub(super) fn count(&mut self, result: Option<&PairResult>) {
        self.first.get_or_insert_with(|| self.begun.elapsed());
        self.done += 1;
        let Some(result) = result else { return };
        self.read += 1;
        self.objects += result.detections.len();
        self.ms.decode += result.ms.decode;
        self.ms.letterbox += result.ms.letterbox;
        self.ms.network += result.ms.network;
        self.ms.suppression += result.ms.suppression;
    }

    /// Says it on standard error.
    pub(super) fn tell(&self) {
        tracing::info!("{}", self.words(self.begun.elapsed()));
    }

    /// Stages overlap: their times add up to more than the rate says.
    fn words(&self, whole: Duration) -> String {
        let first = self.first.unwrap_or_default();
        let broken = match self.done - self.read {
            0 => String::new(),
            broken => format!(" and {broken} that could not be read"),
        };
        // Of a few batches the time after the first says nothing.
        let rate = match whole.saturating_sub(first) {
            rest if rest < STEADY => String::new(),
            rest => format!(", then {:.0} a second", (self.done - 1) as f64 / rest.as_secs_f64()),
        };
        let ms = |sum: f64| sum / self.read.max(1) as f64;
        format!(
            "{} done{broken} in {:.1} s, {} objects: {:.1} s to the first{rate}; \
             ms each: decode {:.1}, letterbox {:.1}, network {:.1}, suppression {:.1}",
            self.read,
            whole.as_secs_f64(),
            self.objects,
            first.as_secs_f64(),
            ms(self.ms.decode),
            ms(self.ms.letterbox),
            ms(self.ms.network),
            ms(self.ms.suppression),
        )
    }
}

/// A shorter time is none to tell a rate from.
const STEADY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_told_apart_from_the_rate() {
        let ms = Stages { decode: 303.0, letterbox: 20.0, network: 101.0, suppression: 10.1 };
        let first = Some(Duration::from_secs(3));
        let summary = Summary { begun: Instant::now(), first, done: 103, read: 101, objects: 7, ms };
        assert_eq!(
            summary.words(Duration::from_secs(5)),
            "101 done and 2 that could not be read in 5.0 s, 7 objects: 3.0 s to the first, then 51 a second; \
             ms each: decode 3.0, letterbox 0.2, network 1.0, suppression 0.1"
        );
        let short = summary.words(Duration::from_millis(3010));
        assert!(short.contains("to the first; ms each"), "{short}");
    }
}
