//! How a command ends when it does not succeed: the exit status and what standard error says.

use std::io;
use std::process::ExitCode;

use yf_plan::log::say;

/// Why a command stopped.
#[derive(Debug)]
pub enum Failure {
    /// The arguments, or what they point at, cannot make a plan: status 2.
    Arguments(anyhow::Error),
    /// The plan was right and the work failed: status 1.
    Work(anyhow::Error),
    /// The result itself is bad and has been printed as the result: status 1, nothing more to say.
    BadResult,
    /// Ctrl-C: what was begun has been finished: status 130, as shells have it.
    Interrupted,
    /// Whoever read standard output has gone (`yf ... | head`): nothing is wrong.
    PipeClosed,
}

impl Failure {
    /// Says what went wrong, with its causes, and gives the exit status.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Arguments(error) => {
                say(format_args!("error: {}", sentence(&error)));
                ExitCode::from(2)
            }
            Failure::Work(error) => {
                say(format_args!("error: {}", sentence(&error)));
                ExitCode::from(1)
            }
            Failure::BadResult => ExitCode::from(1),
            Failure::Interrupted => ExitCode::from(130),
            Failure::PipeClosed => ExitCode::SUCCESS,
        }
    }

    /// Standard output could not be written.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::PipeClosed,
            _ => Failure::Work(anyhow::Error::new(error).context("cannot write to standard output")),
        }
    }
}

/// The error and its causes in one line; a cause that the line above already quotes is not said twice.
fn sentence(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Work(error.into())
    }
}

/// Marks an error as one of the arguments.
pub trait OrArguments<T> {
    /// Ends the command with status 2 instead of 1.
    fn or_arguments(self) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrArguments<T> for Result<T, E> {
    fn or_arguments(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Arguments(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn causes_follow_on_one_line_and_none_is_said_twice() {
        let error = Err::<(), _>(anyhow!("no such file")).context("cannot read a.yaml").unwrap_err();
        assert_eq!(sentence(&error), "cannot read a.yaml: no such file");
        let quoted = Err::<(), _>(anyhow!("no such file")).context("a.yaml: no such file").unwrap_err();
        assert_eq!(sentence(&quoted), "a.yaml: no such file");
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        assert!(matches!(Failure::output(io::ErrorKind::BrokenPipe.into()), Failure::PipeClosed));
        assert!(matches!(Failure::output(io::ErrorKind::StorageFull.into()), Failure::Work(_)));
    }
}
