//! Execution providers in libraries of their own, through ONNX Runtime's plugin interface: TensorRT-RTX, OpenVINO and
//! others.

use std::path::{Path, PathBuf};

use ort::device::Device;
use ort::environment::Environment;
use ort::memory::DeviceType;
use ort::session::Session;
use ort::session::builder::SessionBuilder;

/// A library that has been registered, which a process does once.
#[derive(Clone)]
pub(super) struct Plugin {
    /// The library, from the root and without links.
    pub file: PathBuf,
    /// What its providers are called; none where they find no device.
    providers: Vec<String>,
}

impl Plugin {
    /// Registers a library by its [`resolved`] path, as the process's plugin of this number.
    ///
    /// # Errors
    /// Where it is no plugin.
    pub fn register(environment: &Environment, file: PathBuf, number: usize) -> Result<Self, String> {
        let before = providers(environment);
        environment.register_ep_library(format!("plugin{number}"), &file).map_err(|e| {
            let why = e.message();
            format!("{} cannot be used as a plugin of this ONNX Runtime: {why}", file.display())
        })?;
        let mut providers = providers(environment);
        providers.retain(|name| !before.contains(name));
        Ok(Self { file, providers })
    }

    /// An error where its providers find nothing that they could compute on.
    pub fn check(&self) -> Result<(), String> {
        if self.providers.is_empty() {
            return Err(format!(
                "{}: its provider finds no device here that it computes on: see to the device's driver, or take \
                 another backend",
                self.file.display()
            ));
        }
        Ok(())
    }

    /// A session on the plugin's best device, and what that is.
    pub fn session(
        &self,
        environment: &Environment,
        builder: SessionBuilder,
        model: &[u8],
    ) -> ort::Result<(Session, String)> {
        let device = self.devices(environment).min_by_key(|device| rank(device.hardware_device().ty()));
        let device = device.ok_or_else(|| ort::Error::new("its device is gone"))?;
        let on = format!("{} on {}", device.ep()?, kind(device.hardware_device().ty()));
        let session = builder.with_devices([device], None)?.commit_from_memory(model)?;
        Ok((session, on))
    }

    fn devices<'e>(&self, environment: &'e Environment) -> impl Iterator<Item = Device<'e>> {
        environment
            .devices()
            .filter(|device| device.ep().is_ok_and(|name| self.providers.iter().any(|own| own == name)))
    }
}

/// The library itself: providers look for others beside it.
pub(super) fn resolved(library: &Path) -> Result<PathBuf, String> {
    let file = library.canonicalize().map_err(|e| format!("{}: {e}", library.display()))?;
    if file.is_file() {
        return Ok(file);
    }
    Err(format!("{} is not a file; name the provider's library itself", library.display()))
}

fn providers(environment: &Environment) -> Vec<String> {
    environment.devices().filter_map(|device| device.ep().ok().map(str::to_owned)).collect()
}

/// Whoever brings a plugin wants what is faster than the processor.
fn rank(device: DeviceType) -> usize {
    match device {
        DeviceType::GPU => 0,
        DeviceType::NPU => 1,
        _ => 2,
    }
}

fn kind(device: DeviceType) -> &'static str {
    match device {
        DeviceType::GPU => "a GPU",
        DeviceType::NPU => "an NPU",
        _ => "the CPU",
    }
}
