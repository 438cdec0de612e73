//! `yf export --engine`: a network becomes a TensorRT engine, with what is known of it beside it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use yf_deploy::DeployError;
use yf_deploy::backend;
use yf_deploy::engine::{self, Batches, Built, Capability, Plan};
use yf_deploy::model::{Model, ModelInfo};

use super::export::check_out;
use crate::failure::{Failure, OrArguments};
use crate::{output, progress};

/// The engine, and what it is for.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TensorRT engine")]
pub struct EngineArgs {
    /// Build an engine with the TensorRT or TensorRT-RTX of this machine, from weights or an ONNX file; -o names it, with
    /// --onnx as well it goes beside that
    #[arg(long)]
    engine: bool,
    /// GPUs that it is for, by architecture; needs TensorRT-RTX, and no GPU [default: with full TensorRT the GPU here, with
    /// TensorRT-RTX Ampere and later]
    #[arg(long, value_name = "sm_86,sm_89,...", value_delimiter = ',', requires = "engine")]
    target: Vec<Capability>,
    /// Pairs a run: exactly N, or with --dynamic at least, at best and at most [default: 1, or 1,8,32]
    #[arg(long, value_name = "N|MIN,OPT,MAX", requires = "engine", value_parser = batches)]
    batch: Option<Batches>,
}

impl EngineArgs {
    /// Whether an engine was asked for.
    pub fn wanted(&self) -> bool {
        self.engine
    }

    /// Pairs a run of the network that is exported for an engine of a fixed batch.
    pub fn fixed(&self, dynamic: bool) -> Result<usize> {
        match self.batch {
            None => Ok(1),
            Some(_) if dynamic => Ok(1),
            Some(batch) if batch.min == batch.max => Ok(batch.max),
            Some(_) => bail!("--batch MIN,OPT,MAX is for a network that takes any batch: add --dynamic"),
        }
    }

    /// Builds the engine, writes it and its manifest, and says its name. `onnx` is the model's file, where it is one.
    pub fn write(&self, model: &Model, onnx: Option<&Path>, out: &Path) -> Result<(), Failure> {
        let source = onnx.unwrap_or(Path::new(&model.info.origin));
        check_out(out, source).or_arguments()?;
        check_name(out).or_arguments()?;
        let beside = onnx.filter(|onnx| onnx.parent() == out.parent()).and_then(Path::file_name);
        let plan = Plan {
            batch: self.batch.filter(|_| model.info.batch.is_none()),
            targets: self.target.clone(),
            onnx_file: beside.map(|name| name.to_string_lossy().into_owned()),
        };
        self.check_batch(&model.info).or_arguments()?;
        let start = Instant::now();
        let bar = progress::bar(0, "steps of the builder");
        let built = engine::build(model, &plan, &mut |phase, done, steps| step(&bar, phase, done, steps));
        bar.finish_and_clear();
        let built = built.map_err(whose)?;
        built.write(out)?;
        tracing::info!("{}, built in {:.1} s", summary(&built), start.elapsed().as_secs_f64());
        output::line(out.display().to_string())
    }

    fn check_batch(&self, info: &ModelInfo) -> Result<()> {
        match (info.batch, self.batch) {
            (Some(own), Some(asked)) if asked != Batches::fixed(own) => bail!(
                "{} takes exactly {own} a run, and --batch asks for {asked}: export it with --dynamic",
                info.origin
            ),
            _ => Ok(()),
        }
    }
}

/// Where the engine of an ONNX file goes unless told otherwise: best.fp16.onnx becomes best.fp16.engine.
pub fn default_path(onnx: &Path) -> PathBuf {
    onnx.with_extension(engine::EXTENSION)
}

/// Engines are known by their names.
fn check_name(out: &Path) -> Result<()> {
    if backend::is_engine(out) {
        return Ok(());
    }
    bail!("-o {}: an engine's name ends in .{}", out.display(), engine::EXTENSION)
}

/// What does not fit the network is the arguments' fault, what is not on the machine the work's.
fn whose(error: DeployError) -> Failure {
    match error {
        DeployError::Engine { .. } => Failure::Arguments(error.into()),
        _ => Failure::Work(error.into()),
    }
}

fn step(bar: &ProgressBar, phase: &str, done: u32, steps: u32) {
    tracing::debug!("{phase}: {done} of {steps}");
    bar.set_length(steps.into());
    bar.set_position(done.into());
}

/// One line for people.
fn summary(built: &Built) -> String {
    let (manifest, info) = (&built.manifest, &built.manifest.model);
    let name = info.metadata.get("yf.model").map_or("a network", String::as_str);
    format!(
        "{name} for {} classes at {}x{}, {}, {} a run, {} {} for {}: {:.1} MB",
        info.classes,
        info.height,
        info.width,
        manifest.precision.as_deref().unwrap_or("the file's precision"),
        manifest.batch,
        manifest.library,
        manifest.version,
        manifest.gpus(),
        built.engine.len() as f64 / 1e6
    )
}

/// `8`, or `1,8,32`.
fn batches(text: &str) -> Result<Batches, String> {
    let wrong = || {
        "a number of pairs is wanted, or three that rise: least, best and greatest, like 1,8,32 (at most 4096)".to_owned()
    };
    let numbers: Option<Vec<usize>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    let batches = match numbers.as_deref() {
        Some(&[batch]) => Batches::fixed(batch),
        Some(&[min, opt, max]) => Batches { min, opt, max },
        _ => return Err(wrong()),
    };
    if batches.rise() { Ok(batches) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_one_number_or_three_that_rise() {
        assert_eq!(batches("8"), Ok(Batches::fixed(8)));
        assert_eq!(batches("1,8,32"), Ok(Batches { min: 1, opt: 8, max: 32 }));
        for wrong in ["", "0", "1,8", "8,1,32", "1,8,x", "1,8,32,64", "5000"] {
            assert!(batches(wrong).is_err(), "{wrong}");
        }
    }
}
