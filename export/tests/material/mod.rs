//! What these tests need beside the repository: fixtures (`YF_SHARED`) and a Python with numpy, onnx and onnxruntime
//! (`YF_PYTHON`). Without them a test says so and passes, unless `YF_REQUIRE=1`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The test material, where it is there.
pub struct Material {
    interpreter: PathBuf,
    /// Folder of fixtures and weights.
    pub shared: PathBuf,
}

impl Material {
    /// The material, or `None` with a message.
    pub fn find() -> Option<Self> {
        let cache = from_env("XDG_CACHE_HOME").or_else(|| Some(from_env("HOME")?.join(".cache")));
        let installed = cache.unwrap_or_default().join("yf/python/bin/python");
        let interpreter = from_env("YF_PYTHON").unwrap_or(installed);
        let shared = from_env("YF_SHARED").unwrap_or_else(|| workspace().join("../shared"));
        let missing = [&interpreter, &shared].into_iter().find(|path| !path.exists()).cloned();
        let Some(missing) = missing else { return Some(Material { interpreter, shared }) };
        assert!(std::env::var("YF_REQUIRE").as_deref() != Ok("1"), "{} is missing", missing.display());
        eprintln!("skipped: {} is missing", missing.display());
        None
    }

    /// Runs a script and returns what it printed.
    pub fn python(&self, script_and_arguments: &[&Path]) -> String {
        let done = Command::new(&self.interpreter).args(script_and_arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

/// Root of the repository.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
