//! The program that `yf train` starts: one JSON plan in, a run out.
//!
//! It is not for people; `yf` finds a libtorch for it and checks what it is told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Context;
use yf_data::memory::keep_freed_memory;
use yf_plan::Job;
use yf_plan::log::say;
use yf_train::{Error, advice};

fn main() {
    keep_freed_memory();
    yf_plan::log::start_as_told();
    // tch panics where libtorch throws (out of memory, say); that is an error of the run, not of the program.
    std::panic::set_hook(Box::new(|_| ()));
    let outcome =
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(Error::of_panic(&*panic).into()));
    let status = match outcome {
        Ok(()) => 0,
        Err(error) => {
            say(format_args!("error: {}", sentence(&error)));
            match error.downcast_ref() {
                Some(Error::BatchTooLarge { .. }) => yf_plan::ranks::BATCH_TOO_LARGE,
                _ => 1,
            }
        }
    };
    yf_train::distributed::exit(status)
}

fn run() -> anyhow::Result<()> {
    let job = std::env::args()
        .nth(1)
        .context("yf-train is started by `yf train`, `yf val` and `yf bench train`")?;
    match serde_json::from_str(&job)
        .context("not a plan of this version of yf; are yf and yf-train of one build?")?
    {
        Job::Train(plan) => Ok(yf_train::trainer::train(*plan)?),
        Job::Val(plan) => Ok(yf_train::validate::validate(&plan)?),
        Job::Bench(plan) => Ok(yf_train::bench::bench(&plan)?),
    }
}

/// The error, its causes and what to do in one line; a cause that is quoted already is not said twice.
fn sentence(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    match advice(&said) {
        Some(advice) => format!("{said}: {advice}"),
        None => said,
    }
}
