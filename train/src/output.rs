//! Standard output, which is for results alone.

use std::io::Write;

/// Prints a line; a reader that went away is no error of ours.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
