//! What both programs say on standard error, and how much of it.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Name of the level that `yf-train` is told through its environment.
pub const LEVEL_VARIABLE: &str = "YF_LOG";

/// Sends events of `level` and above to standard error.
pub fn start(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        // Nobody may be reading any more: that is no reason to end.
        .log_internal_errors(false)
        .event_format(Sentences)
        .init();
}

/// Sends as much as the program that started this one was told: the level of [`LEVEL_VARIABLE`], else `info`.
pub fn start_as_told() {
    let level = std::env::var(LEVEL_VARIABLE).ok().and_then(|text| LevelFilter::from_str(&text).ok());
    let otherwise = if crate::ranks::is_follower() { LevelFilter::ERROR } else { LevelFilter::INFO };
    start(level.unwrap_or(otherwise));
}

/// Writes a line to standard error as it is. Nobody may be reading any more: that is no reason to end.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A message is a sentence; what is not plain information says so first.
struct Sentences;

impl<S, N> FormatEvent<S, N> for Sentences
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match *event.metadata().level() {
            Level::ERROR => writer.write_str("error: ")?,
            Level::WARN => writer.write_str("warning: ")?,
            Level::INFO => {}
            Level::DEBUG => writer.write_str("debug: ")?,
            Level::TRACE => writer.write_str("trace: ")?,
        }
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
