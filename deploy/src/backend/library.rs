//! Where ONNX Runtime's library lies, and folders of Python packages, in which other runtimes lie too.
//!
//! ONNX Runtime's, in this order: the path that was named, `ORT_DYLIB_PATH`, the package `onnxruntime` (or `onnxruntime-gpu`, which
//! installs under the same name) of a Python: that of `VIRTUAL_ENV`, of `YF_PYTHON`, `python3` on the path, and the
//! Python that yf keeps for itself in the user's cache folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a search came to.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// The library's file.
    At(PathBuf),
    /// Nothing; what to do about it.
    Nowhere(String),
}

/// The library that the user named, by argument or environment: it is the one to take, or an error.
pub(super) fn find_named(argument: Option<&Path>) -> Option<PathBuf> {
    let environment = || std::env::var_os("ORT_DYLIB_PATH").filter(|v| !v.is_empty()).map(PathBuf::from);
    argument.map(Path::to_owned).or_else(environment)
}

/// Looks through the Pythons of this machine.
pub(super) fn discover() -> Found {
    let in_python = |python: &PathBuf| in_package(packages(python, &["onnxruntime"]).first()?);
    match pythons().iter().find_map(in_python) {
        Some(library) => Found::At(library),
        None => Found::Nowhere(
            "its library was not found: install it with `pip install onnxruntime` (onnxruntime-gpu for CUDA), or name \
             libonnxruntime.so with ORT_DYLIB_PATH"
                .to_owned(),
        ),
    }
}

/// Folders of these packages in the Pythons of this machine.
pub(crate) fn in_pythons(names: &[&str]) -> Vec<PathBuf> {
    pythons().iter().flat_map(|python| packages(python, names)).collect()
}

fn pythons() -> Vec<PathBuf> {
    let environment = std::env::var_os("VIRTUAL_ENV").map(|v| PathBuf::from(v).join("bin/python"));
    let own = std::env::var_os("YF_PYTHON").map(PathBuf::from);
    let on_path = Some(PathBuf::from("python3"));
    let kept = cache().map(|c| c.join("yf/python/bin/python"));
    [environment, own, on_path, kept].into_iter().flatten().collect()
}

/// The user's cache folder.
pub(crate) fn cache() -> Option<PathBuf> {
    let absolute = |v: std::ffi::OsString| Some(PathBuf::from(v)).filter(|p| p.is_absolute());
    let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME").and_then(absolute).or_else(home)
}

/// Folders of those packages that a Python has. They are found, not imported: that would take a second.
fn packages(python: &Path, names: &[&str]) -> Vec<PathBuf> {
    // The working directory is no place to load a library from.
    const SCRIPT: &str = "import sys; sys.path = [p for p in sys.path if p]; import importlib.util as u; \
                          [print(s.submodule_search_locations[0]) for s in map(u.find_spec, sys.argv[1:]) if s]";
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).args(names);
    let Ok(out) = command.stdin(Stdio::null()).stderr(Stdio::null()).output() else { return Vec::new() };
    let folders = String::from_utf8(out.stdout).ok().filter(|_| out.status.success()).unwrap_or_default();
    folders.lines().map(PathBuf::from).collect()
}

/// The wheel carries one library, under its full version: libonnxruntime.so.1.24.0 (libonnxruntime.1.24.0.dylib).
fn in_package(package: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(package.join("capi")).ok()?;
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libonnxruntime.") || name == "onnxruntime.dll"
    };
    files.flatten().map(|f| f.path()).filter(is_library).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_library_comes_first() {
        assert_eq!(find_named(Some(Path::new("/a/b.so"))), Some("/a/b.so".into()));
    }

    #[test]
    fn the_library_of_a_package_is_not_its_provider_libraries() {
        let dir = tempfile::tempdir().unwrap();
        let capi = dir.path().join("capi");
        std::fs::create_dir(&capi).unwrap();
        for name in ["libonnxruntime_providers_shared.so", "libonnxruntime.so.1.24.0", "__init__.py"] {
            std::fs::write(capi.join(name), "").unwrap();
        }
        assert_eq!(in_package(dir.path()), Some(capi.join("libonnxruntime.so.1.24.0")));
        assert_eq!(in_package(&capi), None);
    }

    #[test]
    fn a_python_that_is_not_there_is_no_error() {
        assert!(packages(Path::new("/nowhere/python3"), &["onnxruntime"]).is_empty());
    }
}
