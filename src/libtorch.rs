//! Finding a libtorch and starting `yf-train` with it.
//!
//! Looked at in this order: `YF_LIBTORCH`, the folder that `make build` and `make cuda` fill
//! (`$YF_LIBTORCH_HOME`, or `yf/libtorch-2.11.0` in the user's cache), an installed Python torch.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use yf_plan::{Device, Job};

/// The release that yf-train is built against; no other has the same binary interface.
const VERSION: &str = "2.11.0";

/// A libtorch on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Libtorch {
    /// The folder that holds `lib/libtorch_cpu.so`.
    torch: PathBuf,
}

impl Libtorch {
    /// The libtorch in `folder` (`.../torch`) or in its `torch`, if there is one.
    fn at(folder: &Path) -> Option<Self> {
        [folder.to_owned(), folder.join("torch")]
            .into_iter()
            .find(|torch| torch.join("lib/libtorch_cpu.so").is_file())
            .map(|torch| Libtorch { torch })
    }

    fn has_cuda(&self) -> bool {
        self.torch.join("lib/libtorch_cuda.so").is_file()
    }

    /// `2.11.0+cu130`, where the folder says it.
    fn version(&self) -> Option<String> {
        if let Ok(text) = fs::read_to_string(self.torch.join("build-version")) {
            return Some(text.trim().to_owned());
        }
        let python = fs::read_to_string(self.torch.join("version.py")).ok()?;
        let line = python.lines().find(|line| line.starts_with("__version__"))?;
        line.split(['\'', '"']).nth(1).map(str::to_owned)
    }

    fn fits(&self) -> bool {
        self.version().is_some_and(|version| version.split('+').next() == Some(VERSION))
    }

    /// What the loader has to search: torch's own libraries, then NVIDIA's, which the wheels lay beside it.
    fn search_path(&self) -> OsString {
        let mut folders = vec![self.torch.join("lib")];
        if let Some(nvidia) = self.torch.parent().map(|site| site.join("nvidia")) {
            let mut libraries: Vec<PathBuf> = fs::read_dir(nvidia)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path().join("lib"))
                .collect();
            libraries.sort();
            folders.extend(libraries.into_iter().filter(|folder| folder.is_dir()));
        }
        folders.extend(env::var_os("LD_LIBRARY_PATH").iter().flat_map(env::split_paths));
        env::join_paths(folders).unwrap_or_else(|_| self.torch.join("lib").into())
    }
}

/// A libtorch for this device, preferring one that drives the GPU where there is a GPU to drive.
pub fn find(device: Option<&Device>) -> Result<Libtorch> {
    let wants_gpu = match device {
        Some(Device::Cpu) => false,
        Some(Device::Cuda(_)) => true,
        None => gpu_present(),
    };
    let mut fallback = None;
    for candidate in [from_variable as fn() -> Result<Option<Libtorch>>, from_home, from_python] {
        match candidate()? {
            Some(found) if !wants_gpu || found.has_cuda() => return Ok(found),
            found => fallback = fallback.or(found),
        }
    }
    let Some(found) = fallback else {
        bail!(
            "no libtorch {VERSION} on this machine: run `make libtorch` in yf's checkout, \
             or set YF_LIBTORCH to a folder that holds lib/libtorch_cpu.so"
        );
    };
    if device.is_some() {
        bail!(
            "--device asks for a GPU, but {} is libtorch without CUDA: run `make cuda`",
            found.torch.display()
        );
    }
    tracing::warn!(
        "there is a GPU here, but {} is libtorch without CUDA: run `make cuda` to use it; going on with the CPU",
        found.torch.display()
    );
    Ok(found)
}

fn from_variable() -> Result<Option<Libtorch>> {
    let Some(folder) = env::var_os("YF_LIBTORCH").filter(|value| !value.is_empty()).map(PathBuf::from) else {
        return Ok(None);
    };
    let Some(found) = Libtorch::at(&folder) else {
        bail!(
            "YF_LIBTORCH is {}, but lib/libtorch_cpu.so is neither there nor in its torch/",
            folder.display()
        );
    };
    match found.version() {
        Some(version) if !found.fits() => {
            bail!("YF_LIBTORCH is {}, which is libtorch {version}; yf needs {VERSION}", folder.display())
        }
        _ => Ok(Some(found)),
    }
}

fn from_home() -> Result<Option<Libtorch>> {
    Ok(home().and_then(|folder| Libtorch::at(&folder)).filter(Libtorch::fits))
}

/// Where `scripts/libtorch.py` keeps it.
fn home() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("YF_LIBTORCH_HOME").or_else(|| {
        let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
        Some(cache.join("yf").join(format!("libtorch-{VERSION}")))
    })
}

/// The torch of the `python3` on the path, found without importing it.
fn from_python() -> Result<Option<Libtorch>> {
    const WHERE: &str =
        "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s and s.origin else '')";
    let Ok(answer) = Command::new("python3").args(["-c", WHERE]).output() else { return Ok(None) };
    let init = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
    Ok(init.parent().and_then(Libtorch::at).filter(Libtorch::fits))
}

fn gpu_present() -> bool {
    Path::new("/dev/nvidia0").exists() || Path::new("/proc/driver/nvidia/gpus").exists()
}

/// The program that trains: it lies beside this one.
pub fn trainer() -> Result<PathBuf> {
    let here = env::current_exe().context("cannot tell where yf itself lies")?;
    let program = here.with_file_name("yf-train");
    if !program.is_file() {
        bail!(
            "{} is not there: training needs yf-train beside yf; `make build` makes both (a deployment build has none)",
            program.display()
        );
    }
    Ok(program)
}

/// Becomes `yf-train` with this job. Returns only if that fails.
pub fn start(trainer: &Path, libtorch: &Libtorch, job: &Job) -> anyhow::Error {
    match command(trainer, libtorch, job) {
        Ok(mut command) => {
            let error = command.exec();
            anyhow::Error::new(error).context(format!("cannot start {}", trainer.display()))
        }
        Err(error) => error,
    }
}

/// `yf-train` with this job, ready to be started.
pub fn command(trainer: &Path, libtorch: &Libtorch, job: &Job) -> Result<Command> {
    tracing::debug!("{} with the libtorch in {}", trainer.display(), libtorch.torch.display());
    let mut command = Command::new(trainer);
    command
        .arg(serde_json::to_string(job)?)
        .env("LD_LIBRARY_PATH", libtorch.search_path())
        .env(yf_plan::log::LEVEL_VARIABLE, tracing::level_filters::LevelFilter::current().to_string());
    if env::var_os("TORCH_CPP_LOG_LEVEL").is_none() {
        // What libtorch warns of while a rank is lost fills screens, and the error that follows says it in a line.
        command.env("TORCH_CPP_LOG_LEVEL", "ERROR");
    }
    if env::var_os("OMP_WAIT_POLICY").is_none() && env::var_os("GOMP_SPINCOUNT").is_none() {
        // libtorch's threads spin while they wait, and on a CPU take the cores from the threads that decode: where
        // anything else runs, a step takes several times as long.
        command.env("OMP_WAIT_POLICY", "PASSIVE");
    }
    Ok(command)
}

/// GPUs of this machine, as far as this process may see them.
pub fn gpus() -> usize {
    if let Ok(visible) = env::var("CUDA_VISIBLE_DEVICES") {
        return visible.split(',').filter(|index| !index.trim().is_empty()).count();
    }
    let is_gpu = |name: &str| name.strip_prefix("nvidia").is_some_and(|n| n.parse::<usize>().is_ok());
    let devices = fs::read_dir("/dev").into_iter().flatten().flatten();
    devices.filter(|entry| entry.file_name().to_str().is_some_and(is_gpu)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn libtorch(site: &Path, version_file: &str, text: &str) -> PathBuf {
        let torch = site.join("torch");
        fs::create_dir_all(torch.join("lib")).unwrap();
        fs::write(torch.join("lib/libtorch_cpu.so"), "").unwrap();
        fs::write(torch.join(version_file), text).unwrap();
        torch
    }

    #[test]
    fn both_the_folder_and_its_parent_name_it() {
        let site = tempfile::tempdir().unwrap();
        let torch = libtorch(site.path(), "build-version", "2.11.0+cu130\n");
        let found = Libtorch::at(site.path()).unwrap();
        assert_eq!(found.torch, torch);
        assert_eq!(Libtorch::at(&torch), Some(found.clone()));
        assert!(found.fits() && !found.has_cuda());
        assert_eq!(Libtorch::at(&torch.join("lib")), None);
    }

    #[test]
    fn a_python_torch_tells_its_version_without_being_imported() {
        let site = tempfile::tempdir().unwrap();
        let torch =
            libtorch(site.path(), "version.py", "from typing import Optional\n__version__ = '2.12.0+cpu'\n");
        let found = Libtorch::at(&torch).unwrap();
        assert_eq!(found.version().as_deref(), Some("2.12.0+cpu"));
        assert!(!found.fits());
    }

    #[test]
    fn the_loader_searches_the_siblings_of_torch_too() {
        let site = tempfile::tempdir().unwrap();
        let torch = libtorch(site.path(), "build-version", "2.11.0");
        fs::create_dir_all(site.path().join("nvidia/cu13/lib")).unwrap();
        let path = Libtorch::at(&torch).unwrap().search_path();
        let folders: Vec<PathBuf> = env::split_paths(&path).collect();
        assert_eq!(folders[..2], [torch.join("lib"), site.path().join("nvidia/cu13/lib")]);
    }
}
