//! What TensorRT and which GPU this machine has.

use std::sync::Arc;

use yf_tensorrt::builder::RTX_TARGETS;
use yf_tensorrt::{Capability, Flavour, Gpu, TensorRt, TensorRtError, Version, find};

use super::Manifest;
use crate::backend::library;

/// A library, and the GPU where there is one.
#[derive(Clone)]
pub(crate) struct Host {
    pub library: Arc<TensorRt>,
    pub gpu: Option<Arc<Gpu>>,
}

impl Host {
    /// The library to build with: for other machines TensorRT-RTX, as on a machine without a GPU; otherwise full
    /// TensorRT where it is there.
    pub fn to_build(targets: &[Capability]) -> Result<Self, TensorRtError> {
        let found = libraries()?;
        let gpu = Gpu::first().ok().map(Arc::new);
        let of = |flavour| found.iter().find(|library| library.flavour == flavour);
        let chosen = match (targets, &gpu) {
            ([_, ..], _) => of(Flavour::Rtx).ok_or_else(|| {
                TensorRtError::Missing(format!(
                    "only TensorRT-RTX builds for other machines (--target), and here is only {}: install it with `pip \
                     install tensorrt-rtx-cu13-libs`",
                    found[0].core.display()
                ))
            })?,
            ([], Some(_)) => &found[0],
            ([], None) => of(Flavour::Rtx).unwrap_or(&found[0]),
        };
        Ok(Self { library: Arc::new(TensorRt::load(chosen)?), gpu })
    }

    /// The library to run an engine with: one of the kind that it was built with, where that is there.
    pub fn to_run(manifest: &Manifest) -> Result<Self, TensorRtError> {
        let found = libraries()?;
        let same = |library: &&find::Library| {
            manifest.library == library.flavour.to_string()
                && manifest.version.split('.').next() == Some(library.major.to_string().as_str())
        };
        let chosen = found.iter().find(same).unwrap_or(&found[0]);
        let library = Arc::new(TensorRt::load(chosen)?);
        Ok(Self { library, gpu: Gpu::first().ok().map(Arc::new) })
    }

    /// The GPU, and that the library runs on it.
    ///
    /// # Errors
    /// [`TensorRtError::Cuda`] where there is none, [`TensorRtError::Unserved`] where the library does not run on it.
    pub fn gpu(&self) -> Result<Arc<Gpu>, TensorRtError> {
        let gpu = match &self.gpu {
            Some(gpu) => Arc::clone(gpu),
            None => Arc::new(Gpu::first()?),
        };
        match self.unserved(&gpu) {
            Some(why) => Err(TensorRtError::Unserved(why)),
            None => Ok(gpu),
        }
    }

    /// Why the library does not run on a GPU, where that is known beforehand.
    pub fn unserved(&self, gpu: &Gpu) -> Option<String> {
        unserved(self.library.flavour(), self.library.version(), gpu.name(), gpu.capability())
    }
}

fn libraries() -> Result<Vec<find::Library>, TensorRtError> {
    find::libraries(|| library::in_pythons(&find::PACKAGES))
}

/// The newest TensorRT-RTX whose list of GPUs is known here; a newer one is asked itself.
const KNOWN: (u32, u32) = (1, 7);

/// As [`Host::unserved`].
fn unserved(flavour: Flavour, version: Version, gpu: &str, capability: Capability) -> Option<String> {
    let known = flavour == Flavour::Rtx && (version.major, version.minor) <= KNOWN;
    (known && !RTX_TARGETS.contains(&capability)).then(|| {
        format!(
            "{flavour} {version} does not run on {gpu} (compute capability {capability}): take --backend ort:cuda, or full \
             TensorRT"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_rtx_does_not_serve_is_refused_in_one_sentence() {
        let (hopper, ada) = (Capability { major: 9, minor: 0 }, Capability { major: 8, minor: 9 });
        let version = |minor| Version { major: 1, minor, patch: 1 };
        let said = unserved(Flavour::Rtx, version(7), "NVIDIA H200", hopper).unwrap();
        assert!(said.contains("does not run on NVIDIA H200 (compute capability 9.0)"), "{said}");
        assert!(said.contains("--backend ort:cuda") && said.lines().count() == 1, "{said}");
        assert_eq!(unserved(Flavour::Rtx, version(7), "", ada), None);
        assert_eq!(unserved(Flavour::Rtx, version(8), "", hopper), None);
        assert_eq!(unserved(Flavour::TensorRt, version(7), "", hopper), None);
    }
}
