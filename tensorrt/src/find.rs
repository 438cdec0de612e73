//! Which TensorRT libraries lie on this machine. Nothing is loaded here.
//!
//! A folder that was named (`YF_TENSORRT_DIR`) is the only one looked at. Otherwise, in this order: `LD_LIBRARY_PATH`,
//! the loader's cache, the folders that NVIDIA's archives are unpacked in, and the Python packages that the caller names.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::TensorRtError;
use crate::library::Flavour;

/// The variable that names the folder with TensorRT's libraries.
pub const VARIABLE: &str = "YF_TENSORRT_DIR";

/// Names of Python packages that hold the libraries in their folder.
pub const PACKAGES: [&str; 2] = ["tensorrt_libs", "tensorrt_rtx_libs"];

/// Where NVIDIA's archives and packages put them, beside what the loader knows.
const FOLDERS: [&str; 8] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/tensorrt/lib",
    "/usr/local/tensorrt-rtx/lib",
    "/opt/tensorrt/lib",
    "/usr/local/cuda/lib64",
];

/// A TensorRT on this machine: the library that runs and builds, and the parser where it lies beside.
#[derive(Clone, Debug, PartialEq)]
pub struct Library {
    /// Which of the two products.
    pub flavour: Flavour,
    /// The first number of its version, after the file's name.
    pub major: u32,
    /// The library.
    pub core: PathBuf,
    /// The ONNX parser, which building needs and running does not.
    pub parser: Option<PathBuf>,
}

/// File names of the library and its parser, of every version that is served; the best first.
const KINDS: [(Flavour, u32, &str, &str); 3] = [
    (Flavour::TensorRt, 11, "libnvinfer.so.11", "libnvonnxparser.so.11"),
    (Flavour::TensorRt, 10, "libnvinfer.so.10", "libnvonnxparser.so.10"),
    (Flavour::Rtx, 1, "libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1"),
];

/// All libraries, the first of each kind. `packages` gives the folders of the Python packages named [`PACKAGES`].
///
/// # Errors
/// [`TensorRtError::Missing`] where none is there, with what to do, or where the folder that [`VARIABLE`] names has none.
pub fn libraries(packages: impl FnOnce() -> Vec<PathBuf>) -> Result<Vec<Library>, TensorRtError> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = named {
        return in_named(&folder);
    }
    let mut found = in_folders(&usual());
    found.extend(in_folders(&packages()));
    let mut seen = Vec::new();
    found.retain(|library| {
        !seen.contains(&(library.flavour, library.major)) && {
            seen.push((library.flavour, library.major));
            true
        }
    });
    if found.is_empty() {
        return Err(TensorRtError::Missing(format!(
            "no TensorRT was found: install TensorRT 10 or 11 from NVIDIA (servers, Jetson), or TensorRT-RTX with `pip \
             install tensorrt-rtx-cu13-libs` (PCs, workstations), or name the folder of its libraries with {VARIABLE}"
        )));
    }
    Ok(found)
}

fn in_named(folder: &Path) -> Result<Vec<Library>, TensorRtError> {
    let found = in_folders(&[folder.to_owned(), folder.join("lib")]);
    if found.is_empty() {
        let names: Vec<&str> = KINDS.iter().map(|(_, _, core, _)| *core).collect();
        return Err(TensorRtError::Missing(format!(
            "{VARIABLE} names {}, and neither it nor its folder lib holds one of {}",
            folder.display(),
            names.join(", ")
        )));
    }
    Ok(found)
}

fn in_folders(folders: &[PathBuf]) -> Vec<Library> {
    let of_kind = |(flavour, major, core, parser): (Flavour, u32, &str, &str)| {
        folders.iter().find_map(|folder| {
            let core = file(folder, core)?;
            Some(Library { flavour, major, core, parser: file(folder, parser) })
        })
    };
    KINDS.into_iter().filter_map(of_kind).collect()
}

/// `libnvinfer.so.10`, or where there is no such link the file that it would point at: `libnvinfer.so.10.13.2`.
fn file(folder: &Path, name: &str) -> Option<PathBuf> {
    let exact = folder.join(name);
    if exact.is_file() {
        return Some(exact);
    }
    let longer = format!("{name}.");
    let files = std::fs::read_dir(folder).ok()?;
    let fits = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().starts_with(&longer);
    files.flatten().map(|entry| entry.path()).filter(fits).max()
}

fn usual() -> Vec<PathBuf> {
    let path = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    // The working directory, which an empty entry would be, is no place to load a library from.
    let path = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect::<Vec<_>>();
    path.into_iter().chain(loader()).chain(FOLDERS.map(PathBuf::from)).collect()
}

/// Folders that the loader's cache has a TensorRT in.
fn loader() -> Vec<PathBuf> {
    let mut command = Command::new("/sbin/ldconfig");
    let output = command.arg("-p").stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map(|output| in_cache(&String::from_utf8_lossy(&output.stdout))).unwrap_or_default()
}

/// Lines `libnvinfer.so.10 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libnvinfer.so.10`.
fn in_cache(listing: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let (name, path) = line.trim().split_once(" => ")?;
        let name = name.split_whitespace().next()?;
        let wanted = KINDS.iter().any(|(_, _, core, _)| *core == name);
        wanted.then(|| Path::new(path).parent().map(Path::to_owned)).flatten()
    };
    listing.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn a_library_goes_with_the_parser_beside_it() {
        let dir = folder(&["lib/libnvinfer.so.10.13.2", "lib/libnvonnxparser.so.10", "lib/libnvinfer.so.9"]);
        let found = in_named(dir.path()).unwrap();
        let lib = dir.path().join("lib");
        let wanted = Library {
            flavour: Flavour::TensorRt,
            major: 10,
            core: lib.join("libnvinfer.so.10.13.2"),
            parser: Some(lib.join("libnvonnxparser.so.10")),
        };
        assert_eq!(found, [wanted]);
    }

    #[test]
    fn the_newest_of_the_full_kind_comes_first() {
        let dir = folder(&["libtensorrt_rtx.so.1", "libnvinfer.so.10", "libnvinfer.so.11"]);
        let found: Vec<_> = in_named(dir.path()).unwrap().iter().map(|l| (l.flavour, l.major)).collect();
        assert_eq!(found, [(Flavour::TensorRt, 11), (Flavour::TensorRt, 10), (Flavour::Rtx, 1)]);
    }

    #[test]
    fn a_folder_without_any_is_named_in_the_error() {
        let dir = folder(&["libnvinfer.so.8", "libnvinfer.so.100"]);
        let error = in_named(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(dir.path().to_str().unwrap()) && error.contains("libnvinfer.so.10"),
            "{error}"
        );
    }

    #[test]
    fn the_loaders_cache_is_read_by_names() {
        let listing = "2 libs found in cache\n\tlibnvinfer.so.10 (libc6,x86-64) => /opt/a/libnvinfer.so.10\n\
                       \tlibnvinfer_plugin.so.10 (libc6,x86-64) => /opt/b/libnvinfer_plugin.so.10\n";
        assert_eq!(in_cache(listing), [PathBuf::from("/opt/a")]);
    }
}
