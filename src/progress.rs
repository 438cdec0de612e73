//! Progress on standard error: a bar where that is a terminal and nobody asked for quiet.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tracing::level_filters::LevelFilter;

/// A bar of `length` steps; `what` says what is counted.
pub fn bar(length: usize, what: &str) -> ProgressBar {
    if LevelFilter::current() < LevelFilter::INFO {
        return ProgressBar::hidden();
    }
    let template = format!("{{bar:30}} {{pos}}/{{len}} {what}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style)
}

/// Runs `work`, and shows meanwhile that it goes on and how long it has.
pub fn during<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    if LevelFilter::current() < LevelFilter::INFO {
        return work();
    }
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
    let bar = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_message(what);
    bar.enable_steady_tick(Duration::from_millis(250));
    let done = work();
    bar.finish_and_clear();
    done
}
