//! A TensorRT library in this process.

use std::ffi::c_void;
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use crate::abi::{self, Api};
use crate::error::TensorRtError;
use crate::find;
use crate::log::Logger;

/// The two products of that name. Engines of one are nothing to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// TensorRT: servers and Jetson. Builds on the GPU that will run the engine.
    TensorRt,
    /// TensorRT-RTX: PCs and workstations. Builds anywhere, and finishes the kernels on the GPU that it meets.
    Rtx,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TensorRt => "TensorRT",
            Self::Rtx => "TensorRT-RTX",
        })
    }
}

/// A library's version, 10.16.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third.
    pub patch: u32,
}

impl Version {
    /// As `getInferLibVersion` counts: ten thousand for the first number, a hundred for the second.
    fn of_number(number: i32) -> Self {
        let number = u32::try_from(number).unwrap_or(0);
        Self { major: number / 10_000, minor: number / 100 % 100, patch: number % 100 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A loaded library. It stays in the process: it has threads of its own, and state that does not survive an unloading.
pub struct TensorRt {
    pub(crate) api: &'static Api,
    pub(crate) logger: Logger,
    pub(crate) version_number: i32,
    pub(crate) parser: Option<PathBuf>,
    core: ManuallyDrop<libloading::Library>,
    flavour: Flavour,
    version: Version,
    path: PathBuf,
}

impl TensorRt {
    /// Loads a library.
    ///
    /// # Errors
    /// [`TensorRtError::Library`] where the loader refuses it, or its version is none that this crate speaks.
    pub fn load(found: &find::Library) -> Result<Self, TensorRtError> {
        let refused = |why: String| TensorRtError::Library { path: found.core.clone(), why };
        let core = open(&found.core)?;
        // SAFETY: NVIDIA's function of that name takes nothing and returns an int.
        let number: i32 = unsafe {
            let version: libloading::Symbol<'_, unsafe extern "C" fn() -> i32> = core
                .get(b"getInferLibVersion\0")
                .map_err(|_| refused("is no TensorRT library".to_owned()))?;
            version()
        };
        let version = Version::of_number(number);
        let api = served(found.flavour, version).ok_or_else(|| {
            refused(format!(
                "is {} {version}; yf speaks TensorRT 10 and 11 and TensorRT-RTX 1.5 to 1.x",
                found.flavour
            ))
        })?;
        tracing::debug!("{} {version}: {}", found.flavour, found.core.display());
        Ok(Self {
            api,
            logger: Logger::new(api),
            version_number: number,
            parser: found.parser.clone(),
            core,
            flavour: found.flavour,
            version,
            path: found.core.clone(),
        })
    }

    /// Which product it is.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// What it says its version is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One of the functions that NVIDIA's headers call `..._INTERNAL`.
    pub(crate) fn entry(&self, name: &str) -> Result<*mut c_void, TensorRtError> {
        symbol(&self.core, &self.path, name)
    }

    /// What it complained about, or that it said nothing.
    pub(crate) fn complaint(&self) -> String {
        self.logger.take().unwrap_or_else(|| "it does not say why".to_owned())
    }
}

impl fmt::Display for TensorRt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.flavour, self.version)
    }
}

/// The headers whose tables this library's objects have. Within a major version tables only grow, and the shim calls
/// nothing that is younger than the oldest named here.
fn served(flavour: Flavour, version: Version) -> Option<&'static Api> {
    match (flavour, version.major, version.minor) {
        (Flavour::TensorRt, 10, _) => Some(&abi::yf_tensorrt_10),
        (Flavour::TensorRt, 11, _) => Some(&abi::yf_tensorrt_11),
        (Flavour::Rtx, 1, 5..) => Some(&abi::yf_tensorrt_rtx),
        _ => None,
    }
}

/// Loads a library for as long as the process lives.
pub(crate) fn open(path: &Path) -> Result<ManuallyDrop<libloading::Library>, TensorRtError> {
    // SAFETY: its initialisers run; it is NVIDIA's, in a folder that the user or the system chose.
    let library = unsafe { libloading::Library::new(path) };
    library.map(ManuallyDrop::new).map_err(|error| TensorRtError::Library {
        path: path.to_owned(),
        why: format!("cannot be loaded: {}", cause(&error)),
    })
}

pub(crate) fn symbol(
    library: &libloading::Library,
    path: &Path,
    name: &str,
) -> Result<*mut c_void, TensorRtError> {
    // SAFETY: only the address is taken.
    let symbol = unsafe { library.get::<*mut c_void>(format!("{name}\0").as_bytes()) };
    symbol.map(|symbol| *symbol).map_err(|_| TensorRtError::Library {
        path: path.to_owned(),
        why: format!("has no function {name}: it is another library, or a damaged one"),
    })
}

/// The loader's own words.
pub(crate) fn cause(error: &libloading::Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_one_number() {
        assert_eq!(Version::of_number(101_601).to_string(), "10.16.1");
        assert_eq!(Version::of_number(10_701).to_string(), "1.7.1");
        assert_eq!(Version::of_number(-1).to_string(), "0.0.0");
    }

    #[test]
    fn only_versions_with_known_tables_are_served() {
        let version = |major, minor| Version { major, minor, patch: 0 };
        assert!(served(Flavour::TensorRt, version(10, 0)).is_some());
        assert!(served(Flavour::Rtx, version(1, 9)).is_some());
        for (flavour, major, minor) in [
            (Flavour::TensorRt, 8, 6),
            (Flavour::TensorRt, 12, 0),
            (Flavour::Rtx, 1, 4),
            (Flavour::Rtx, 2, 0),
        ] {
            assert!(served(flavour, version(major, minor)).is_none());
        }
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let core = dir.path().join("libnvinfer.so.10");
        std::fs::write(&core, "not a library").unwrap();
        let found = find::Library { flavour: Flavour::TensorRt, major: 10, core, parser: None };
        let Err(error) = TensorRt::load(&found) else { panic!("it was loaded") };
        assert!(error.to_string().contains("cannot be loaded"), "{error}");
    }
}
