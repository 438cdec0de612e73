//! What the trials found: a JSON object a line, added as each ends.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::TrialError;

/// The cameras that a network was shown in a test; the other one was blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Camera {
    /// Both.
    Both,
    /// RGB alone.
    Rgb,
    /// Infrared alone.
    Ir,
}

/// How good detections were, each value 0..1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Average precision at IoU .5, the mean over classes.
    pub map50: f64,
    /// Average precision over IoU .5 to .95, the mean over classes.
    pub map50_95: f64,
    /// Each class.
    #[serde(default)]
    pub per_class: Vec<ClassScore>,
}

/// How good the detections of a class were, each value 0..1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// The class.
    pub name: String,
    /// True objects of it in the test.
    pub instances: usize,
    /// Average precision at IoU .5.
    pub map50: f64,
    /// Average precision over IoU .5 to .95.
    pub map50_95: f64,
}

/// One run of a variant, and what it found on the pairs that were kept from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The variant.
    pub variant: String,
    /// From 0.
    pub fold: usize,
    /// Of every random draw.
    pub seed: u64,
    /// Flags of `yf train`.
    pub arguments: String,
    /// Pairs learned from, and tested on.
    pub pairs: [usize; 2],
    /// The epoch whose averaged weights were tested.
    pub epoch: usize,
    /// Seconds of training.
    pub seconds: f64,
    /// A score a test.
    pub cameras: BTreeMap<Camera, Score>,
}

impl Trial {
    /// The test with all cameras that the network was trained for.
    pub fn own_camera(&self) -> Option<Camera> {
        self.cameras.keys().next().copied()
    }

    /// What tells a trial from others: variant, fold, seed.
    pub fn key(&self) -> (&str, usize, u64) {
        (&self.variant, self.fold, self.seed)
    }
}

/// Reads the trials of a file.
///
/// # Errors
/// A file that cannot be read, or a line that is no trial.
pub fn read(path: &Path) -> Result<Vec<Trial>, TrialError> {
    let text = std::fs::read_to_string(path).map_err(|e| TrialError::io(path, e))?;
    parse(path, &text)
}

/// The same, but for half a line at the end, which another process is writing or did not finish.
///
/// # Errors
/// As [`read`].
pub fn read_finished(path: &Path) -> Result<Vec<Trial>, TrialError> {
    let text = std::fs::read_to_string(path).map_err(|e| TrialError::io(path, e))?;
    parse(path, whole_lines(&text))
}

fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

fn parse(path: &Path, text: &str) -> Result<Vec<Trial>, TrialError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let trial = |(index, line): (usize, &str)| {
        let why = |e: serde_json::Error| format!("no trial: {e}");
        serde_json::from_str(line).map_err(|e| TrialError::Results {
            path: path.to_path_buf(),
            line: index + 1,
            why: why(e),
        })
    };
    lines.map(trial).collect()
}

/// A results file that trials are added to, by one process at a time.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    file: File,
}

impl Results {
    /// Opens the file, or makes it, and reads what is there. Half a line at its end, which a killed process left, goes.
    ///
    /// # Errors
    /// As [`read`]; a file that another process is adding to.
    pub fn open(path: &Path) -> Result<(Self, Vec<Trial>), TrialError> {
        let fail = |e| TrialError::io(path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail)?;
        file.try_lock().map_err(|e| match e {
            TryLockError::Error(e) => fail(e),
            TryLockError::WouldBlock => fail(std::io::Error::other(
                "another process is adding to it: wait for it, or name another folder",
            )),
        })?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fail)?;
        let whole = whole_lines(&text);
        file.set_len(whole.len() as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(fail)?;
        let trials = parse(path, whole)?;
        Ok((Results { path: path.to_path_buf(), file }, trials))
    }

    /// Adds a trial; it is on the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, trial: &Trial) -> Result<(), TrialError> {
        let line = serde_json::to_string(trial).map_err(|e| TrialError::io(&self.path, e.into()))? + "\n";
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|e| TrialError::io(&self.path, e))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A trial with these mAP50 (mAP50-95 is half of it) for both cameras, RGB and infrared.
    pub fn trial(variant: &str, fold: usize, seed: u64, map50: &[(Camera, f64)]) -> Trial {
        let score = |map50: f64| Score { map50, map50_95: map50 / 2.0, per_class: vec![] };
        Trial {
            variant: variant.to_owned(),
            fold,
            seed,
            arguments: "--model mid-n".to_owned(),
            pairs: [165, 41],
            epoch: 200,
            seconds: 30.0,
            cameras: map50.iter().map(|&(camera, value)| (camera, score(value))).collect(),
        }
    }

    #[test]
    fn trials_are_added_and_half_lines_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let both = [(Camera::Both, 0.5), (Camera::Rgb, 0.25), (Camera::Ir, 0.375)];
        let some = [trial("mid", 0, 1, &both), trial("ir-only", 4, 2, &[(Camera::Ir, 0.75)])];
        let (mut results, before) = Results::open(&path).unwrap();
        assert_eq!(before, []);
        some.iter().for_each(|trial| results.add(trial).unwrap());
        assert!(Results::open(&path).unwrap_err().to_string().contains("another process"));
        drop(results);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.clone() + "{\"variant\": \"mi").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("results.jsonl:3: no trial"));
        assert_eq!(read_finished(&path).unwrap(), some);
        let (mut results, before) = Results::open(&path).unwrap();
        assert_eq!(before, some);
        results.add(&some[0]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 3);
        assert_eq!([some[0].own_camera(), some[1].own_camera()], [Some(Camera::Both), Some(Camera::Ir)]);
    }
}
