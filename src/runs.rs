//! Run folders: `runs/train/<name>`, `runs/predict/<name>`, counted up and never overwritten; and the newest of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

/// Where training runs are kept.
pub const TRAIN: &str = "runs/train";
/// Where pictures of `yf infer` are kept.
pub const PREDICT: &str = "runs/predict";
/// A run's name when none is given.
pub const NAME: &str = "exp";

/// Makes `project/name`, or `project/name2`, `name3`, ... : the first that is not there yet.
///
/// Two processes that ask at the same time get two folders, because making a folder either succeeds or says
/// that it exists.
pub fn create(project: &Path, name: &str) -> Result<PathBuf> {
    check_name(name)?;
    fs::create_dir_all(project).with_context(|| format!("cannot make the folder {}", project.display()))?;
    for count in 1_u32.. {
        let folder = project.join(if count == 1 { name.to_owned() } else { format!("{name}{count}") });
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make the folder {}", folder.display()));
            }
        }
    }
    bail!("{} has no free name like {name}", project.display())
}

/// A run's name is one folder name.
pub fn check_name(name: &str) -> Result<()> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(std::path::Component::Normal(_)), None) => Ok(()),
        _ => bail!("--name '{name}' is no folder name; the folder above it is chosen with --project"),
    }
}

/// Best weights of the newest run under `runs/train`.
pub fn newest_weights() -> Result<PathBuf> {
    newest(Path::new(TRAIN), |file| file == "best.safetensors")?.context(
        "no weights given, and no run under runs/train has any: name a weights file, or train first (`yf train`)",
    )
}

/// The newest exported model or best weights under `runs/train`.
pub fn newest_model() -> Result<PathBuf> {
    newest(Path::new(TRAIN), |file| file == "best.safetensors" || file.ends_with(".onnx"))?.context(
        "no model given, YF_MODEL is not set, and no run under runs/train has one: name it with --model, or train first (`yf train`)",
    )
}

/// The newest file `project/<run>/weights/<file>` whose name is wanted.
fn newest(project: &Path, wanted: impl Fn(&str) -> bool) -> Result<Option<PathBuf>> {
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for run in entries(project)? {
        for file in entries(&run.join("weights"))? {
            let named = file.file_name().and_then(|name| name.to_str()).is_some_and(&wanted);
            let Some(time) = named.then(|| fs::metadata(&file).and_then(|m| m.modified()).ok()).flatten()
            else {
                continue;
            };
            if newest.as_ref().is_none_or(|(latest, _)| time > *latest) {
                newest = Some((time, file));
            }
        }
    }
    Ok(newest.map(|(_, file)| file))
}

/// What lies in a folder, sorted; nothing where there is no folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", folder.display())),
    };
    let mut paths = listing
        .map(|entry| entry.map(|e| e.path()))
        .collect::<io::Result<Vec<_>>>()
        .with_context(|| format!("cannot list {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_count_up_and_nothing_is_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let project = home.path().join("runs/train");
        let names: Vec<_> = (0..3).map(|_| create(&project, "exp").unwrap()).collect();
        assert_eq!(names, ["exp", "exp2", "exp3"].map(|n| project.join(n)));
        assert!(create(&project, "../exp").is_err());
        assert!(create(&project, "").is_err());
    }

    #[test]
    fn the_newest_file_of_any_run_is_found() {
        let home = tempfile::tempdir().unwrap();
        let wanted = |file: &str| file == "best.safetensors";
        assert_eq!(newest(home.path(), wanted).unwrap(), None);
        let now = SystemTime::now();
        for (run, age) in [("exp", 20), ("exp2", 10), ("exp3", 30)] {
            let weights = create(home.path(), run).unwrap().join("weights");
            fs::create_dir(&weights).unwrap();
            let file = fs::File::create(weights.join("best.safetensors")).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
            fs::write(weights.join("last.safetensors"), "").unwrap();
        }
        let found = newest(home.path(), wanted).unwrap().unwrap();
        assert_eq!(found, home.path().join("exp2/weights/best.safetensors"));
    }
}
