//! Rates, times, and what they read like.

use std::time::{Duration, Instant};

/// Where an epoch stands after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Running {
    /// Means over the epoch so far of the box, class and DFL loss.
    pub losses: [f64; 3],
    /// The loss scale, where the loss is scaled.
    pub scale: Option<f64>,
    /// Pairs in the step.
    pub pairs: usize,
    /// Memory in use on the device, or at its peak; 0 where it is not known.
    pub memory_bytes: u64,
}

/// Counts an epoch's steps and pairs.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    last_step: Instant,
    steps: usize,
    done: usize,
    pairs: usize,
    losses: [f64; 3],
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
            losses: [f64::NAN; 3],
            scale: None,
            memory_bytes: 0,
        }
    }

    pub(super) fn step(&mut self, running: &Running) {
        self.last_step = Instant::now();
        self.done += 1;
        self.pairs += running.pairs;
        self.losses = running.losses;
        self.scale = running.scale;
        self.memory_bytes = running.memory_bytes;
    }

    /// Steps done and steps in all.
    pub(super) fn position(&self) -> (usize, usize) {
        (self.done, self.steps)
    }

    pub(super) fn pairs_per_s(&self) -> f64 {
        let seconds = self.spent().as_secs_f64();
        if seconds > 0.0 { self.pairs as f64 / seconds } else { 0.0 }
    }

    /// Losses, speed and the time that the rest of the epoch takes.
    pub(super) fn while_running(&self) -> String {
        let [bbox, class, dfl] = self.losses;
        let left = clock(time_left(self.spent(), self.done, self.steps));
        // The most wanted first: a narrow terminal cuts the end off.
        format!("{left} left  box {bbox:.3} cls {class:.3} dfl {dfl:.3}  {}", self.pace())
    }

    /// Speed, and the time that the epoch took.
    pub(super) fn when_done(&self) -> String {
        format!("{}  {}", self.pace(), clock(self.spent()))
    }

    fn pace(&self) -> String {
        let rate = self.pairs_per_s();
        let rate = if rate < 10.0 { format!("{rate:.1} pairs/s") } else { format!("{rate:.0} pairs/s") };
        let scale = self.scale.map(|scale| format!("scale {scale}"));
        let memory = (self.memory_bytes > 0).then(|| format!("{:.1} GB", self.memory_bytes as f64 / 1e9));
        [rate].into_iter().chain(memory).chain(scale).collect::<Vec<_>>().join("  ")
    }

    /// From the epoch's start to its last step.
    fn spent(&self) -> Duration {
        self.last_step.duration_since(self.start)
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

    #[test]
    fn values_read_well() {
        let mut meter = Meter::new(2);
        let running = Running {
            losses: [1.0, 2.0, 3.0],
            scale: Some(32_768.0),
            pairs: 16,
            memory_bytes: 4_200_000_000,
        };
        meter.step(&running);
        meter.start = meter.last_step - Duration::from_secs(8);
        let expected = "0:08 left  box 1.000 cls 2.000 dfl 3.000  2.0 pairs/s  4.2 GB  scale 32768";
        assert_eq!(meter.while_running(), expected);
        meter.step(&Running { scale: None, pairs: 144, memory_bytes: 0, ..running });
        meter.start = meter.last_step - Duration::from_secs(8);
        assert_eq!(meter.when_done(), "20 pairs/s  0:08");
        assert_eq!(meter.position(), (2, 2));
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
