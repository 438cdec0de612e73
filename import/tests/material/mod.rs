//! What these tests need beside the repository: fixtures (`YF_SHARED`) and a Python with numpy (`YF_PYTHON`). Without
//! them a test says so and passes, unless `YF_REQUIRE=1`.

// Every test file uses a part of this.
#![allow(dead_code)]

pub mod assemble;

use std::path::{Path, PathBuf};

/// The folder of fixtures and weights, or `None` with a message.
pub fn shared() -> Option<PathBuf> {
    present(from_env("YF_SHARED").unwrap_or_else(|| workspace().join("../shared")))
}

/// The Python, or `None` with a message.
pub fn python() -> Option<PathBuf> {
    let cache = from_env("XDG_CACHE_HOME").or_else(|| Some(from_env("HOME")?.join(".cache")));
    present(from_env("YF_PYTHON").unwrap_or(cache.unwrap_or_default().join("yf/python/bin/python")))
}

/// Root of the repository.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn present(path: PathBuf) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("YF_REQUIRE").as_deref() != Ok("1"), "{} is missing", path.display());
    eprintln!("skipped: {} is missing", path.display());
    None
}

fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
