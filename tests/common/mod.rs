//! Drives the real `yf` in a folder of its own.

// Every test file uses a part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

/// A temporary folder that commands run in.
pub struct Dir {
    folder: tempfile::TempDir,
}

impl Dir {
    pub fn new() -> Self {
        Dir { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A folder with a copy of everything in another.
    pub fn copy_of(other: &Dir) -> Self {
        let dir = Dir::new();
        copy(other.path(), dir.path());
        dir
    }

    /// Writes a file, making the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("a folder above")).expect("room for a folder");
        fs::write(&path, content).expect("room for a file");
        path
    }

    /// Runs `yf` here with these arguments, free of what the environment says about models and data sets.
    pub fn yf(&self, arguments: &[&str]) -> Ran {
        self.yf_with(arguments, &[])
    }

    /// The same, with environment variables.
    pub fn yf_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_yf"))
            .args(arguments)
            .current_dir(self.path())
            .env_remove("YF_DATA")
            .env_remove("YF_MODEL")
            // Tests run side by side: libtorch's threads would fight over the cores.
            .env("OMP_NUM_THREADS", "1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("yf starts");
        Ran { line: format!("yf {}", arguments.join(" ")), output }
    }

    /// A small synthetic data set in `pairs/`.
    pub fn synth(&self, pairs: usize) -> PathBuf {
        self.yf(&["data", "synth", "pairs", "--pairs", &pairs.to_string(), "--size", "160x128"]).succeeds();
        self.join("pairs/data.yaml")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("room for a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("room for a file");
        }
    }
}

/// A command that has ended.
pub struct Ran {
    line: String,
    output: Output,
}

impl Ran {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Ended with status 0.
    pub fn succeeds(self) -> Self {
        self.ends_with(0)
    }

    /// Ended with this status, and in no case with a panic.
    pub fn ends_with(self, status: i32) -> Self {
        let stderr = self.stderr();
        assert!(!stderr.contains("panicked"), "{}: {stderr}", self.line);
        assert_eq!(self.output.status.code(), Some(status), "{}\n{}\n{stderr}", self.line, self.stdout());
        self
    }

    /// Ended with this status and one error that says all of `words`.
    pub fn refuses(self, status: i32, words: &[&str]) -> Self {
        let ran = self.ends_with(status);
        let stderr = ran.stderr();
        let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{}: one error is wanted\n{stderr}", ran.line);
        for word in words {
            assert!(errors[0].contains(word), "{}: no '{word}' in\n{}", ran.line, errors[0]);
        }
        ran
    }

    /// Standard output as one JSON value.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout())
            .unwrap_or_else(|e| panic!("{}: {e}\n{}", self.line, self.stdout()))
    }
}

/// The folder of shared test material, or `None` with a message (an error where `YF_REQUIRE` is set).
pub fn shared() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = env::var_os("YF_SHARED").map_or_else(default, PathBuf::from);
    present(folder, "the shared test material (YF_SHARED)")
}

/// The trainer beside `yf`, or `None` with a message (an error where `YF_REQUIRE` is set).
pub fn trainer() -> Option<PathBuf> {
    present(Path::new(env!("CARGO_BIN_EXE_yf")).with_file_name("yf-train"), "yf-train (make build)")
}

/// The tests' Python, or `None` with a message (an error where `YF_REQUIRE` is set).
pub fn python() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let default = || cache().map(|cache| cache.join("yf/python/bin/python"));
    present(set("YF_PYTHON").or_else(default)?, "a Python with onnx and onnxruntime (make python)")
}

fn present(path: PathBuf, what: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    assert!(env::var_os("YF_REQUIRE").is_none_or(|v| v != "1"), "{what} is not at {}", path.display());
    eprintln!("skipped: {what} is not at {}", path.display());
    None
}
