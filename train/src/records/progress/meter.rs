//! Running means, rates and what they read like.

use std::time::{Duration, Instant};

/// What one step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Running {
    /// Box, class and DFL loss.
    pub losses: [f64; 3],
    /// The loss scale, where the loss is scaled.
    pub scale: Option<f64>,
    /// Pairs in the step.
    pub pairs: usize,
    /// Memory in use on the device, or at its peak; 0 where it is not known.
    pub memory_bytes: u64,
}

/// Sums over an epoch's steps.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    last_step: Instant,
    steps: usize,
    done: usize,
    pairs: usize,
    loss_sums: [f64; 3],
    /// Pairs whose losses were finite.
    counted: usize,
    scale: Option<f64>,
    memory_bytes: u64,
}

impl Meter {
    pub(super) fn new(steps: usize) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            last_step: now,
            steps,
            done: 0,
            pairs: 0,
            loss_sums: [0.0; 3],
            counted: 0,
            scale: None,
            memory_bytes: 0,
        }
    }

    pub(super) fn advance(&mut self, steps: usize, running: &Running) {
        self.last_step = Instant::now();
        self.done += steps;
        self.pairs += running.pairs;
        self.scale = running.scale;
        self.memory_bytes = running.memory_bytes;
        // A skipped step's infinite losses would hide all others of the epoch.
        if running.losses.iter().all(|loss| loss.is_finite()) {
            self.counted += running.pairs;
            for (sum, loss) in self.loss_sums.iter_mut().zip(running.losses) {
                *sum += loss * running.pairs as f64;
            }
        }
    }

    /// Steps done and steps in all.
    pub(super) fn position(&self) -> (usize, usize) {
        (self.done, self.steps)
    }

    pub(super) fn losses(&self) -> [f64; 3] {
        self.loss_sums.map(|sum| sum / self.counted as f64)
    }

    pub(super) fn pairs_per_s(&self) -> f64 {
        let seconds = self.last_step.duration_since(self.start).as_secs_f64();
        if seconds > 0.0 { self.pairs as f64 / seconds } else { 0.0 }
    }

    /// From the epoch's start to now.
    pub(super) fn since_start(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn while_running(&self) -> String {
        let spent = self.last_step.duration_since(self.start);
        format!("{}  {} left", self.values(), clock(time_left(spent, self.done, self.steps)))
    }

    pub(super) fn when_done(&self) -> String {
        format!("{}  {}", self.values(), clock(self.since_start()))
    }

    fn values(&self) -> String {
        let [bbox, class, dfl] = self.losses();
        let mut parts = vec![format!("box {bbox:.3}  cls {class:.3}  dfl {dfl:.3}")];
        parts.extend(self.scale.map(|scale| format!("scale {scale}")));
        let rate = self.pairs_per_s();
        parts.push(if rate < 10.0 { format!("{rate:.1} pairs/s") } else { format!("{rate:.0} pairs/s") });
        if self.memory_bytes > 0 {
            parts.push(format!("{:.1} GB", self.memory_bytes as f64 / 1e9));
        }
        parts.join("  ")
    }
}

/// What `done` of `steps` in `spent` lets one expect of the rest; zero before the first step.
pub(super) fn time_left(spent: Duration, done: usize, steps: usize) -> Duration {
    let rest = steps.saturating_sub(done) as f64;
    let seconds = if done > 0 { spent.as_secs_f64() * rest / done as f64 } else { 0.0 };
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// `0:07`, `12:34`, `3:00:00`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(losses: [f64; 3], pairs: usize) -> Running {
        Running { losses, scale: None, pairs, memory_bytes: 4_200_000_000 }
    }

    #[test]
    fn losses_are_means_over_pairs() {
        let mut meter = Meter::new(4);
        assert!(meter.losses()[0].is_nan());
        meter.advance(1, &running([1.0, 2.0, 3.0], 3));
        meter.advance(1, &running([f64::NAN, 1.0, 1.0], 3));
        meter.advance(2, &running([5.0, 2.0, 7.0], 1));
        assert_eq!(meter.losses(), [2.0, 2.0, 4.0]);
        assert_eq!((meter.position(), meter.pairs), ((4, 4), 7));
    }

    #[test]
    fn values_read_well() {
        let mut meter = Meter::new(2);
        meter.advance(1, &Running { scale: Some(32_768.0), ..running([1.0, 2.0, 3.0], 16) });
        meter.start = meter.last_step - Duration::from_secs(8);
        let expected = "box 1.000  cls 2.000  dfl 3.000  scale 32768  2.0 pairs/s  4.2 GB  0:08 left";
        assert_eq!(meter.while_running(), expected);
    }

    #[test]
    fn times_are_clocks() {
        for (seconds, expected) in [(0, "0:00"), (7, "0:07"), (754, "12:34"), (10_800, "3:00:00")] {
            assert_eq!(clock(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(time_left(Duration::from_secs(10), 2, 6), Duration::from_secs(20));
        assert_eq!(time_left(Duration::from_secs(10), 0, 6), Duration::ZERO);
        assert_eq!(time_left(Duration::from_secs(10), 6, 6), Duration::ZERO);
    }
}
