//! Progress on standard error: a bar where that is a terminal and nobody asked for quiet.

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
