//! Runs of the program `yf-train` on a few synthetic pairs, and what they leave behind.

#![allow(dead_code, reason = "every test uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use yf_data::synth::{SynthPlan, synthesise};
use yf_models::Weights;
use yf_plan::{Cache, Device, Job, Modality, Recipe, TrainPlan};
use yf_train::records::results::{self, Row};

/// The trainer as `yf train` starts it.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_yf-train");

/// A folder that goes with the test, with a data set in it.
pub struct Place {
    dir: TempDir,
    data: PathBuf,
}

impl Place {
    /// A fifth of `pairs` is for validation.
    pub fn new(pairs: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plan = SynthPlan { pairs, size: (160, 128), seed: 3 };
        let data = synthesise(&dir.path().join("pairs"), &plan, |_| ()).unwrap().yaml;
        Place { dir, data }
    }

    /// A file beside the data set and the runs.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A run of mid-n on the CPU at 64 px, in a folder of its own.
    pub fn plan(&self, run: &str, recipe: Recipe) -> TrainPlan {
        let run = self.dir.path().join(run);
        std::fs::create_dir_all(&run).unwrap();
        TrainPlan {
            data: self.data.clone(),
            model: "mid-n".to_owned(),
            weights: None,
            imgsz: 64,
            device: Some(Device::Cpu),
            workers: 1,
            cache: Cache::Ram,
            modality: Modality::Both,
            skip_bad: false,
            run,
            auto_batch: false,
            resume: false,
            recipe,
        }
    }
}

/// The plan as the program's one argument.
pub fn argument(plan: &TrainPlan) -> String {
    serde_json::to_string(&Job::Train(Box::new(plan.clone()))).unwrap()
}

/// The program with its argument. Two threads that do not spin: tests run side by side.
fn program(plan: &TrainPlan) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg(argument(plan)).envs([
        ("OMP_NUM_THREADS", "2"),
        ("OMP_WAIT_POLICY", "passive"),
        ("TORCH_CPP_LOG_LEVEL", "ERROR"),
    ]);
    command
}

/// Starts the program as a rank, as a launcher on this machine that serves no store would; its messages are kept.
pub fn start_rank(plan: &TrainPlan, place: (usize, usize), port: u16) -> Child {
    rank(plan, place, port).spawn().unwrap()
}

/// The program as a rank.
pub fn rank(plan: &TrainPlan, (rank, size): (usize, usize), port: u16) -> Command {
    let mut command = program(plan);
    command
        .envs([("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", size)].map(|(k, v)| (k, v.to_string())))
        .envs([("MASTER_ADDR", "127.0.0.1".to_owned()), ("MASTER_PORT", port.to_string())])
        .env("OMP_NUM_THREADS", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Runs the program as so many ranks, to the end of all, which must be a good one.
pub fn succeed_as(plan: &TrainPlan, size: usize) -> String {
    let port = free_port();
    let mut said = String::new();
    let ranks: Vec<Child> = (0..size).map(|rank| start_rank(plan, (rank, size), port)).collect();
    for (rank, child) in ranks.into_iter().enumerate() {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "rank {rank} of {size}: {}", stderr(&done));
        assert!(rank == 0 || (done.stdout.is_empty() && done.stderr.is_empty()), "rank {rank} speaks");
        said += &stderr(&done);
    }
    said
}

/// Runs the program to its end.
pub fn run(plan: &TrainPlan) -> Output {
    program(plan).output().unwrap()
}

/// Runs the program to its end, which must be a good one.
pub fn succeed(plan: &TrainPlan) {
    let done = run(plan);
    assert!(done.status.success(), "{}", stderr(&done));
}

/// Starts the program and leaves it to the test.
pub fn start(plan: &TrainPlan) -> Child {
    program(plan).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The same run, to be gone on with.
pub fn resumed(plan: &TrainPlan) -> TrainPlan {
    TrainPlan { resume: true, ..plan.clone() }
}

/// What a run said to people.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `weights/last.safetensors` of a run.
pub fn last(plan: &TrainPlan) -> PathBuf {
    plan.run.join("weights/last.safetensors")
}

/// The rows of a run's results.csv.
pub fn rows(plan: &TrainPlan) -> Vec<Row> {
    results::read(&plan.run.join("results.csv")).unwrap()
}

/// Files that a process is writing or did not finish writing.
pub fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "part")).collect()
}

/// The averaged weights, and whatever else the file holds.
pub fn read(path: &Path) -> Weights {
    Weights::read(path).unwrap()
}

/// The first weight, average or state of the optimizer that is not finite. Gradients that wait may be so: their step
/// will be skipped.
pub fn not_finite(weights: &Weights) -> Option<&str> {
    let mut kept = weights.tensors.iter().filter(|(name, _)| !name.starts_with("train.gradient."));
    let damaged = kept.find(|(_, array)| !array.data.iter().all(|x| x.is_finite()));
    damaged.map(|(name, _)| name.as_str())
}
