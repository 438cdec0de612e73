//! How far an epoch is: a bar on standard error, or plain lines where that is no terminal.

mod meter;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use meter::Running;
use meter::{Meter, clock};

/// Between the plain lines inside a long epoch.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Validation that is done by then shows no bar.
const QUICK: Duration = Duration::from_secs(2);
/// Redraws in a second, at most.
const REDRAWS: u8 = 10;

/// One epoch's progress, its running means included.
///
/// Dropped without [`EpochProgress::finish`], as an error on the way out does, it takes its bar off the screen.
#[derive(Debug)]
pub struct EpochProgress {
    heading: String,
    epochs_left: usize,
    meter: Meter,
    screen: Screen,
}

#[derive(Debug)]
enum Screen {
    Bar { all: MultiProgress, bar: ProgressBar },
    Lines(Pace),
}

/// When the last plain line was written.
#[derive(Debug)]
struct Pace {
    last: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { last: Instant::now() }
    }

    fn is_due(&mut self) -> bool {
        let due = self.last.elapsed() >= LINE_EVERY;
        if due {
            self.last = Instant::now();
        }
        due
    }
}

impl EpochProgress {
    /// Starts epoch `epoch` (from 1) of `epochs`, which has `steps` steps.
    pub fn new(epoch: usize, epochs: usize, steps: usize) -> Self {
        let heading = heading(epoch, epochs);
        let screen = if std::io::stderr().is_terminal() {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS));
            let bar = all.add(bar(steps).with_prefix(heading.clone()));
            Screen::Bar { all, bar }
        } else {
            Screen::Lines(Pace::new())
        };
        Self { heading, epochs_left: epochs.saturating_sub(epoch), meter: Meter::new(steps), screen }
    }

    /// Takes one step.
    pub fn step(&mut self, running: &Running) {
        self.advance(1, running);
    }

    /// Takes several steps at once: a GPU is not to be waited for at each. `running.losses` are their means and
    /// `running.pairs` their sum.
    pub fn advance(&mut self, steps: usize, running: &Running) {
        self.meter.advance(steps, running);
        match &mut self.screen {
            Screen::Bar { bar, .. } => {
                bar.inc(steps as u64);
                bar.set_message(self.meter.while_running());
            }
            Screen::Lines(pace) => {
                if pace.is_due() {
                    let (done, steps) = self.meter.position();
                    eprintln!("{}  {done}/{steps}  {}", self.heading, self.meter.while_running());
                }
            }
        }
    }

    /// Means over the epoch so far of the box, class and DFL loss; NaN before the first finite one.
    pub fn losses(&self) -> [f64; 3] {
        self.meter.losses()
    }

    /// Pairs trained on in a second, from the epoch's start to its last step.
    pub fn pairs_per_s(&self) -> f64 {
        self.meter.pairs_per_s()
    }

    /// Writes a line above the bar, such as a warning.
    pub fn note(&self, line: &str) {
        match &self.screen {
            Screen::Bar { all, .. } => all.suspend(|| eprintln!("{line}")),
            Screen::Lines(_) => eprintln!("{line}"),
        }
    }

    /// A bar below this one for the validation after the epoch's last step.
    pub fn validation(&self, steps: usize) -> ValidationProgress {
        match &self.screen {
            Screen::Bar { all, .. } => ValidationProgress::start(steps, Some(all.clone())),
            Screen::Lines(_) => ValidationProgress::start(steps, None),
        }
    }

    /// Ends the epoch, validation included: its bar gives way to one line that ends with `summary` (the metrics)
    /// and the time that the epochs to come will take.
    pub fn finish(self, summary: &str) {
        if let Screen::Bar { all, bar } = &self.screen {
            bar.finish_and_clear();
            // A cleared bar must not come back with a later drawing of the group.
            all.remove(bar);
        }
        eprintln!("{}", self.last_line(summary));
    }

    fn last_line(&self, summary: &str) -> String {
        let mut parts = vec![self.heading.clone(), self.meter.when_done()];
        if !summary.is_empty() {
            parts.push(summary.to_string());
        }
        if self.epochs_left > 0 {
            let left = self.meter.since_start() * u32::try_from(self.epochs_left).unwrap_or(u32::MAX);
            parts.push(format!("{} left", clock(left)));
        }
        parts.join("  ")
    }
}

impl Drop for EpochProgress {
    fn drop(&mut self) {
        if let Screen::Bar { bar, .. } = &self.screen {
            bar.finish_and_clear();
        }
    }
}

/// The progress of a validation: nothing where it is quick, else a bar, or a line every half minute where standard
/// error is no terminal. It is gone when this is dropped.
#[derive(Debug)]
pub struct ValidationProgress {
    steps: usize,
    done: usize,
    start: Instant,
    group: Option<MultiProgress>,
    bar: Option<ProgressBar>,
    pace: Pace,
}

impl ValidationProgress {
    /// A validation of `steps` batches outside an epoch.
    pub fn new(steps: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = || ProgressDrawTarget::stderr_with_hz(REDRAWS);
        Self::start(steps, terminal.then(|| MultiProgress::with_draw_target(target())))
    }

    fn start(steps: usize, group: Option<MultiProgress>) -> Self {
        Self { steps, done: 0, start: Instant::now(), group, bar: None, pace: Pace::new() }
    }

    /// Takes one batch.
    pub fn step(&mut self) {
        self.done += 1;
        match &self.group {
            Some(group) if self.start.elapsed() > QUICK => {
                let (steps, left) = (self.steps, self.left());
                let bar = self.bar.get_or_insert_with(|| group.add(bar(steps).with_prefix("validation")));
                bar.set_position(self.done as u64);
                bar.set_message(left);
            }
            Some(_) => {}
            None if self.pace.is_due() => {
                eprintln!("validation  {}/{}  {}", self.done, self.steps, self.left());
            }
            None => {}
        }
    }

    fn left(&self) -> String {
        format!("{} left", clock(meter::time_left(self.start.elapsed(), self.done, self.steps)))
    }
}

impl Drop for ValidationProgress {
    fn drop(&mut self) {
        if let (Some(group), Some(bar)) = (&self.group, &self.bar) {
            bar.finish_and_clear();
            group.remove(bar);
        }
    }
}

/// `epoch  3/100`: as wide in the first epoch as in the last.
fn heading(epoch: usize, epochs: usize) -> String {
    let width = epochs.to_string().len();
    format!("epoch {epoch:>width$}/{epochs}")
}

fn bar(steps: usize) -> ProgressBar {
    // Only a template with a mistake falls back, and a test draws this one.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    // Hidden until it joins a group: it would draw itself otherwise.
    ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden())
        .with_style(style.progress_chars("━╸ "))
}

const TEMPLATE: &str = "{prefix}  {bar:12.cyan} {pos}/{len}  {wide_msg}";

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
        let bar = bar(40).with_prefix("epoch 1/2");
        bar.inc(10);
        assert_eq!((bar.position(), bar.length(), bar.is_hidden()), (10, Some(40), true));
    }

    #[test]
    fn the_last_line_tells_the_epoch() {
        let mut progress = EpochProgress::new(2, 2, 1);
        progress.step(&Running {
            losses: [1.0, 2.0, 3.0],
            scale: Some(65_536.0),
            pairs: 16,
            memory_bytes: 0,
        });
        let line = progress.last_line("mAP50 0.512");
        assert!(line.starts_with("epoch 2/2  box 1.000  cls 2.000  dfl 3.000  scale 65536  "), "{line}");
        assert!(line.ends_with("  mAP50 0.512"), "{line}");
        let line = EpochProgress::new(1, 2, 1).last_line("");
        assert!(line.ends_with(" left"), "{line}");
        progress.finish("");
    }

    #[test]
    fn quick_validations_show_no_bar() {
        let mut validation = ValidationProgress::start(2, Some(MultiProgress::new()));
        validation.step();
        assert!(validation.bar.is_none());
        validation.start -= 2 * QUICK;
        validation.step();
        assert!(validation.bar.is_some());
    }
}
