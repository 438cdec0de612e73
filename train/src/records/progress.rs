//! How far an epoch is: a bar on standard error, or plain lines where that is no terminal.

mod meter;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use yf_plan::log::say;

pub use meter::Running;
use meter::{Meter, clock, time_left};

/// Between the plain lines inside a long epoch.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// A validation that is done by then shows no bar.
const QUICK: Duration = Duration::from_secs(2);
/// Redraws in a second, at most.
const REDRAWS: u8 = 10;
const TEMPLATE: &str = "{prefix}  {bar:8.cyan} {pos}/{len}  {wide_msg}";

/// The progress of one epoch's training.
///
/// Dropped without [`EpochProgress::finish`], as an error on the way out does, it takes its bar off the screen.
#[derive(Debug)]
pub struct EpochProgress {
    heading: String,
    meter: Meter,
    screen: Screen,
}

#[derive(Debug)]
enum Screen {
    /// For ranks that do not speak.
    Silent,
    Bar(ProgressBar),
    Lines(Pace),
}

/// When the last plain line was written.
#[derive(Debug)]
struct Pace(Instant);

impl Pace {
    fn is_due(&mut self) -> bool {
        let due = self.0.elapsed() >= LINE_EVERY;
        if due {
            self.0 = Instant::now();
        }
        due
    }
}

impl EpochProgress {
    /// Starts epoch `epoch` (from 1) of `epochs`, which has `steps` steps.
    pub fn new(epoch: usize, epochs: usize, steps: usize) -> Self {
        let heading = heading(epoch, epochs);
        let screen = if std::io::stderr().is_terminal() {
            Screen::Bar(bar(&heading, steps))
        } else {
            Screen::Lines(Pace(Instant::now()))
        };
        Self { heading, meter: Meter::new(steps), screen }
    }

    /// Progress that nobody sees.
    pub fn silent(steps: usize) -> Self {
        Self { heading: String::new(), meter: Meter::new(steps), screen: Screen::Silent }
    }

    /// Takes one step.
    pub fn step(&mut self, running: &Running) {
        self.meter.step(running);
        match &mut self.screen {
            Screen::Silent => {}
            Screen::Bar(bar) => {
                bar.set_message(self.meter.while_running());
                bar.inc(1);
            }
            Screen::Lines(pace) => {
                if pace.is_due() {
                    let (done, steps) = self.meter.position();
                    say(format_args!("{}  {done}/{steps}  {}", self.heading, self.meter.while_running()));
                }
            }
        }
    }

    /// Pairs trained on in a second, from the epoch's start to its last step.
    pub fn pairs_per_s(&self) -> f64 {
        self.meter.pairs_per_s()
    }

    /// Writes a line, such as a warning, above the bar.
    pub fn note(&self, line: &str) {
        match &self.screen {
            Screen::Silent => {}
            Screen::Bar(bar) => bar.suspend(|| say(line)),
            Screen::Lines(_) => say(line),
        }
    }

    /// Ends the epoch's training: the bar gives way to one line with `summary` (the losses), speed and time.
    pub fn finish(self, summary: &str) {
        if let Screen::Bar(bar) = &self.screen {
            bar.finish_and_clear();
        }
        if !matches!(self.screen, Screen::Silent) {
            say(self.last_line(summary));
        }
    }

    fn last_line(&self, summary: &str) -> String {
        let parts = [self.heading.as_str(), summary, &self.meter.when_done()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
    }
}

impl Drop for EpochProgress {
    fn drop(&mut self) {
        if let Screen::Bar(bar) = &self.screen {
            bar.finish_and_clear();
        }
    }
}

/// The progress of a validation: nothing where it is quick, else a bar, or a line every half minute where standard
/// error is no terminal. The bar is gone when this is dropped.
#[derive(Debug)]
pub struct ValidationProgress {
    steps: usize,
    done: usize,
    start: Instant,
    terminal: bool,
    bar: Option<ProgressBar>,
    pace: Pace,
}

impl ValidationProgress {
    /// Starts a validation of `steps` batches.
    pub fn new(steps: usize) -> Self {
        let (start, terminal) = (Instant::now(), std::io::stderr().is_terminal());
        Self { steps, done: 0, start, terminal, bar: None, pace: Pace(start) }
    }

    /// Takes one batch.
    pub fn step(&mut self) {
        self.done += 1;
        let spent = self.start.elapsed();
        let left = format!("{} left", clock(time_left(spent, self.done, self.steps)));
        if self.terminal && spent > QUICK {
            let bar = self.bar.get_or_insert_with(|| bar("validation", self.steps));
            bar.set_message(left);
            bar.set_position(self.done as u64);
        } else if !self.terminal && self.pace.is_due() {
            say(format_args!("validation  {}/{}  {left}", self.done, self.steps));
        }
    }
}

impl Drop for ValidationProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows, where standard error is a terminal, that something goes on and how long it has; until it is dropped.
pub struct Busy(ProgressBar);

impl Busy {
    /// With `what` goes on.
    pub fn new(what: &'static str) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style).with_message(what);
        bar.enable_steady_tick(Duration::from_millis(250));
        Busy(bar)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// `epoch  3/100`: as wide in the first epoch as in the last.
fn heading(epoch: usize, epochs: usize) -> String {
    let width = epochs.to_string().len();
    format!("epoch {epoch:>width$}/{epochs}")
}

fn bar(prefix: &str, steps: usize) -> ProgressBar {
    // Only a template with a mistake falls back, and a test reads this one.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr_with_hz(REDRAWS))
        .with_style(style.progress_chars("━╸ "))
        .with_prefix(prefix.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_keep_their_width() {
        assert_eq!(heading(3, 100), "epoch   3/100");
        assert_eq!(heading(100, 100), "epoch 100/100");
    }

    #[test]
    fn the_template_holds() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn the_last_line_tells_the_epoch() {
        let mut progress = EpochProgress::new(2, 2, 1);
        progress.step(&Running { losses: [1.0; 3], scale: Some(65_536.0), pairs: 16, memory_bytes: 0 });
        let line = progress.last_line("box 1.000");
        assert!(line.starts_with("epoch 2/2  box 1.000  "), "{line}");
        assert!(line.ends_with(" pairs/s  scale 65536  0:00"), "{line}");
        assert!(progress.pairs_per_s() > 0.0);
        progress.finish("");
    }

    #[test]
    fn quick_validations_show_no_bar() {
        let mut validation = ValidationProgress::new(2);
        validation.terminal = true;
        validation.step();
        assert!(validation.bar.is_none());
        validation.start -= 2 * QUICK;
        validation.step();
        assert!(validation.bar.is_some());
    }

    #[test]
    fn plain_lines_keep_their_distance() {
        let mut pace = Pace(Instant::now());
        assert!(!pace.is_due());
        pace.0 -= LINE_EVERY;
        assert!(pace.is_due() && !pace.is_due());
    }
}
