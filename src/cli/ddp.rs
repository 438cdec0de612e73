//! `--ddp`: how many ranks a run has, and where each computes.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;
use yf_plan::{Device, Job, TrainPlan, ranks};

use crate::libtorch::{self, Libtorch};
use crate::ranks as launcher;

/// Distributed training as a flag.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Distributed")]
pub struct DdpArgs {
    /// Train on N GPUs of this machine, one process each; without N on all. Under torchrun and its like leave it out
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "0")]
    ddp: Option<usize>,
}

/// How a run is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launch {
    /// As one process: alone, or as the rank that another launcher says it is.
    Process,
    /// As so many ranks, started and watched by this process.
    Ranks(usize),
}

impl DdpArgs {
    /// The launch of a plan, which must suit it.
    pub fn launch(self, plan: &TrainPlan) -> Result<Launch> {
        let is_rank = std::env::var_os(ranks::RANK).is_some();
        let Some(wanted) = self.ddp else {
            if plan.recipe.sync_bn && !is_rank {
                tracing::warn!("--sync-bn changes nothing in one process: --ddp starts several");
            }
            return Ok(Launch::Process);
        };
        if is_rank {
            bail!("{} is set, so this process is a rank already; leave --ddp out", ranks::RANK);
        }
        let count = match (wanted, &plan.device) {
            (0, Some(Device::Cuda(indices))) if indices.len() > 1 => indices.len(),
            (0, Some(Device::Cpu)) => bail!("--ddp with --device cpu needs a number: --ddp 2"),
            (0, _) => libtorch::gpus(),
            (count, _) => count,
        };
        if count == 0 {
            bail!("--ddp finds no GPU here; --ddp 2 --device cpu runs two ranks on the processor");
        }
        if plan.recipe.batch < count {
            bail!(
                "--batch {} is the total over all ranks, and {count} of them need one pair each at least",
                plan.recipe.batch
            );
        }
        if let Some(Device::Cuda(indices)) = &plan.device {
            check_gpus(indices, count)?;
        }
        Ok(if count == 1 { Launch::Process } else { Launch::Ranks(count) })
    }
}

/// A GPU a rank: those named, or the first ones where none in particular is (`--device cuda`).
fn check_gpus(indices: &[usize], count: usize) -> Result<()> {
    if indices == [0] || indices.len() == count {
        return Ok(());
    }
    bail!("--device names {} GPUs, --ddp wants {count} ranks, one on each", indices.len())
}

/// Starts a job: becomes `yf-train`, or watches over several of it to their end.
pub fn start(trainer: &Path, libtorch: &Libtorch, job: &Job, launch: Launch) -> Result<()> {
    match launch {
        Launch::Process => Err(libtorch::start(trainer, libtorch, job)),
        Launch::Ranks(count) => launcher::run(&|| libtorch::command(trainer, libtorch, job), count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rank_gets_a_gpu() {
        assert!(check_gpus(&[0], 3).is_ok() && check_gpus(&[1, 3], 2).is_ok());
        assert!(check_gpus(&[1], 2).is_err() && check_gpus(&[0, 1], 4).is_err());
    }
}
