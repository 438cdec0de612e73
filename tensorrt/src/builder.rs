//! An ONNX file becomes an engine.

use std::ffi::{CString, c_char, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use crate::abi::{self, status};
use crate::error::TensorRtError;
use crate::library::{Flavour, TensorRt, cause, open, symbol};
use crate::log::text;
use yf_cuda::{Capability, CudaError, Gpu};

/// Compute capabilities that TensorRT-RTX knows. For 7.5 it lacks matrix products in float32, which yf's networks
/// decode their boxes with.
pub const RTX_TARGETS: [Capability; 6] = [
    Capability { major: 7, minor: 5 },
    Capability { major: 8, minor: 0 },
    Capability { major: 8, minor: 6 },
    Capability { major: 8, minor: 9 },
    Capability { major: 12, minor: 0 },
    Capability { major: 12, minor: 1 },
];

/// The sizes of one input that an engine takes; at most eight axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Name of the input.
    pub input: String,
    /// Least size of every axis.
    pub min: Vec<i64>,
    /// The sizes to be best at.
    pub opt: Vec<i64>,
    /// Greatest sizes.
    pub max: Vec<i64>,
}

/// What to build.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The serialised ModelProto. Its types are the engine's: half precision must be in it.
    pub onnx: &'a [u8],
    /// One for every input with an axis that is not fixed.
    pub profiles: Vec<Profile>,
    /// GPUs that the engine is for, TensorRT-RTX only; none for Ampere and later (8.0, 8.6, 8.9, 12.0 on).
    pub targets: Vec<Capability>,
    /// What an earlier build on this machine measured, full TensorRT only; empty at first.
    pub timings: &'a [u8],
}

/// What a build gives.
#[derive(Debug)]
pub struct Built {
    /// The engine.
    pub engine: Vec<u8>,
    /// To hand to the next build; empty from TensorRT-RTX.
    pub timings: Vec<u8>,
}

/// Builds an engine. `progress` hears the builder's phase, its steps done and all its steps.
///
/// TensorRT-RTX needs no GPU for this; full TensorRT measures on the one that will run the engine.
///
/// # Errors
/// [`TensorRtError::Missing`] where the parser's library is not there, [`TensorRtError::Cuda`] where full TensorRT
/// is without a GPU, [`TensorRtError::Parse`] with the nodes that the parser refuses, [`TensorRtError::Build`] with what
/// the builder says otherwise.
pub fn build(
    library: &TensorRt,
    gpu: Option<&Gpu>,
    request: &Request<'_>,
    progress: &mut dyn FnMut(&str, u32, u32),
) -> Result<Built, TensorRtError> {
    check(library, gpu, request)?;
    let (create_parser, parser_version) = parser(library)?;
    if library.flavour() == Flavour::TensorRt {
        find_kernels(library);
    }
    let names = request.profiles.iter().map(|profile| CString::new(profile.input.as_str()));
    let names = names.collect::<Result<Vec<_>, _>>().map_err(|_| wrong("an input's name holds a zero"))?;
    let profiles: Vec<abi::Profile> =
        request.profiles.iter().zip(&names).map(|(profile, name)| raw(profile, name)).collect();
    let targets: Vec<i32> = request.targets.iter().map(|target| target.number()).collect();
    let mut heard = Heard { engine: Vec::new(), timings: Vec::new(), refused: Vec::new(), progress };
    let what = abi::Build {
        create_builder: library.entry("createInferBuilder_INTERNAL")?,
        version: library.version_number,
        create_parser,
        parser_version,
        onnx: request.onnx.as_ptr().cast(),
        onnx_size: request.onnx.len(),
        profiles: profiles.as_ptr(),
        profile_count: profiles.len() as i32,
        targets: targets.as_ptr(),
        target_count: targets.len() as i32,
        // TensorRT-RTX measures nothing, and with a timing cache it would ask for a GPU.
        keep_timings: i32::from(library.flavour() == Flavour::TensorRt),
        timings: request.timings.as_ptr().cast(),
        timings_size: request.timings.len(),
        user: ptr::from_mut(&mut heard).cast(),
        engine: engine_bytes,
        timing_cache: timing_bytes,
        refused,
        progress: stepped,
    };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    library.logger.take();
    // SAFETY: everything `what` points at outlives the call, and the entries are those of the loaded libraries, whose
    // version the table was chosen by.
    let status = unsafe { (library.api.build)(library.logger.object(), &what) };
    match status {
        status::BUILT if !heard.engine.is_empty() => {
            Ok(Built { engine: heard.engine, timings: heard.timings })
        }
        status::PARSE if !heard.refused.is_empty() => Err(TensorRtError::Parse(heard.refused)),
        status::PARSE => Err(TensorRtError::Parse(vec![library.complaint()])),
        _ => Err(TensorRtError::Build(explain(status, &library.complaint()))),
    }
}

/// A build that begins while another runs is given the other's targets: TensorRT-RTX keeps them for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn check(library: &TensorRt, gpu: Option<&Gpu>, request: &Request<'_>) -> Result<(), TensorRtError> {
    match library.flavour() {
        Flavour::TensorRt if !request.targets.is_empty() => Err(wrong(
            "full TensorRT builds for the GPU of its own machine; only TensorRT-RTX builds for others (--target)",
        )),
        Flavour::TensorRt if gpu.is_none() => Err(CudaError::NoDevice(
            "full TensorRT builds on the GPU that will run the engine; TensorRT-RTX builds without one"
                .to_owned(),
        )
        .into()),
        Flavour::Rtx if request.targets.iter().any(|target| !RTX_TARGETS.contains(target)) => {
            let known: Vec<String> =
                RTX_TARGETS.iter().map(|target| format!("sm_{}", target.number())).collect();
            Err(wrong(&format!("TensorRT-RTX builds for {}, and for no other GPU", known.join(", "))))
        }
        _ => match request.profiles.iter().find(|profile| !whole(profile)) {
            Some(profile) => Err(wrong(&format!("the sizes of input {} do not go together", profile.input))),
            None => Ok(()),
        },
    }
}

fn whole(profile: &Profile) -> bool {
    let Profile { min, opt, max, .. } = profile;
    let rank = min.len();
    let rising = |((min, opt), max): ((&i64, &i64), &i64)| 1 <= *min && min <= opt && opt <= max;
    rank <= 8 && opt.len() == rank && max.len() == rank && min.iter().zip(opt).zip(max).all(rising)
}

fn wrong(why: &str) -> TensorRtError {
    TensorRtError::Build(why.to_owned())
}

/// The function that makes a parser, and the version to ask it for. Its library stays loaded.
fn parser(library: &TensorRt) -> Result<(*mut c_void, i32), TensorRtError> {
    let path = library.parser.as_deref().ok_or_else(|| {
        TensorRtError::Missing(format!(
            "{} has no ONNX parser beside it (libnvonnxparser, of TensorRT-RTX libtensorrt_onnxparser_rtx), and engines \
             cannot be built without: install the whole of it",
            library.path().display()
        ))
    })?;
    let loaded = open(path)?;
    let create = symbol(&loaded, path, "createNvOnnxParser_INTERNAL")?;
    // SAFETY: NVIDIA's function of that name takes nothing and returns an int.
    let version = unsafe {
        loaded.get::<unsafe extern "C" fn() -> i32>(b"getNvOnnxParserVersion\0").map(|version| version())
    };
    let version =
        version.map_err(|error| TensorRtError::Library { path: path.to_owned(), why: cause(&error) })?;
    Ok((create, version))
}

/// TensorRT opens the libraries with the kernels it chooses among by their bare names, which finds them beside it only
/// if it is told where that is; an older one, that cannot be told, if they are open already.
fn find_kernels(library: &TensorRt) {
    let Some(folder) = library.path().parent() else { return };
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libnvinfer_builder_resource") && name.contains(".so.")
    };
    let kernels: Vec<PathBuf> = files.filter(is_one).collect();
    let told = CString::new(format!("{}/", folder.display()));
    match (library.entry("setInternalLibraryPath"), told) {
        (Ok(set), Ok(folder)) if !kernels.is_empty() => {
            // SAFETY: NVIDIA's function of that name takes a string and returns a bool.
            let set: unsafe extern "C" fn(*const c_char) -> bool = unsafe { std::mem::transmute(set) };
            // SAFETY: the string is read during the call.
            let set = unsafe { set(folder.as_ptr()) };
            tracing::debug!("kernels are looked for in {folder:?}: {set}");
        }
        _ => {
            for why in kernels.iter().filter_map(|kernels| open(kernels).err()) {
                tracing::debug!("{why}");
            }
        }
    }
}

fn raw(profile: &Profile, name: &CString) -> abi::Profile {
    let sizes = |from: &[i64]| {
        let mut sizes = [0; 8];
        sizes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        sizes
    };
    abi::Profile {
        input: name.as_ptr(),
        rank: profile.min.len() as i32,
        min: sizes(&profile.min),
        opt: sizes(&profile.opt),
        max: sizes(&profile.max),
    }
}

/// What failed, in the builder's words, and what to do where that is known.
fn explain(status: i32, said: &str) -> String {
    let hint = match status {
        _ if said.contains("out of memory") || said.contains("OutOfMemory") => {
            "; the GPU's memory does not suffice: build with a smaller greatest batch, or free the GPU"
        }
        status::NO_BUILDER => {
            "; the builder does not start: the driver may be older than this TensorRT wants"
        }
        status::NO_PARSER => "; library and parser are of different versions: install both from one package",
        status::PROFILE => {
            "; the batches do not fit the network: is its batch dynamic (yf export --onnx --dynamic)?"
        }
        status::TARGET => "; build for fewer or other GPUs",
        _ if said.contains("Unable to load library") => "; put the folder that holds it on LD_LIBRARY_PATH",
        _ if said.contains("Turing") => {
            "; leave those GPUs (sm_75) out, and take --backend ort:cuda on them: TensorRT-RTX lacks what boxes are decoded with"
        }
        _ if said.contains("no runners that implement it") => {
            "; this TensorRT has no kernel for that node: take --backend ort:cuda"
        }
        _ if said.contains("Could not find any implementation") => {
            "; TensorRT has no kernel for that node on this GPU: build without --fp16, or take --backend ort:cuda"
        }
        _ => "",
    };
    format!("{said}{hint}")
}

/// What the build's callbacks are told.
struct Heard<'a> {
    engine: Vec<u8>,
    timings: Vec<u8>,
    refused: Vec<String>,
    progress: &'a mut dyn FnMut(&str, u32, u32),
}

/// More nodes say nothing new.
const MOST: usize = 5;

unsafe fn bytes(data: *const c_void, size: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: TensorRT's memory, valid during the call.
    unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) }.to_vec()
}

unsafe extern "C" fn engine_bytes(heard: *mut c_void, data: *const c_void, size: usize) {
    // SAFETY: `heard` is `build`'s, which waits.
    unsafe { (*heard.cast::<Heard<'_>>()).engine = bytes(data, size) };
}

unsafe extern "C" fn timing_bytes(heard: *mut c_void, data: *const c_void, size: usize) {
    // SAFETY: as above.
    unsafe { (*heard.cast::<Heard<'_>>()).timings = bytes(data, size) };
}

unsafe extern "C" fn refused(
    heard: *mut c_void,
    node: i32,
    name: *const c_char,
    op: *const c_char,
    why: *const c_char,
) {
    // SAFETY: as above; the texts are the parser's.
    let (heard, name, op, why) =
        unsafe { (&mut *heard.cast::<Heard<'_>>(), text(name), text(op), text(why)) };
    if heard.refused.len() < MOST {
        heard.refused.push(refusal(node, &name, &op, &why));
    }
}

fn refusal(node: i32, name: &str, op: &str, why: &str) -> String {
    let named = if name.is_empty() { String::new() } else { format!(" {name}") };
    let op = if op.is_empty() { String::new() } else { format!(" ({op})") };
    match node {
        0.. => format!("node {node}{named}{op}: {why}"),
        _ => why.to_owned(),
    }
}

unsafe extern "C" fn stepped(heard: *mut c_void, phase: *const c_char, done: i32, steps: i32) -> i32 {
    // SAFETY: as above.
    let (heard, phase) = unsafe { (&mut *heard.cast::<Heard<'_>>(), text(phase)) };
    (heard.progress)(&phase, u32::try_from(done).unwrap_or(0), u32::try_from(steps).unwrap_or(0));
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_rise_from_least_to_greatest() {
        let profile = |min, opt, max| Profile {
            input: "rgb".to_owned(),
            min: vec![min, 3],
            opt: vec![opt, 3],
            max: vec![max, 3],
        };
        assert!(whole(&profile(1, 8, 32)) && whole(&profile(4, 4, 4)));
        assert!(!whole(&profile(0, 8, 32)) && !whole(&profile(9, 8, 32)) && !whole(&profile(1, 8, 7)));
        assert!(!whole(&Profile { max: vec![4], ..profile(1, 2, 4) }));
    }

    #[test]
    fn a_refused_node_is_named() {
        assert_eq!(
            refusal(3, "/model.0/Conv", "Conv", "no such pad"),
            "node 3 /model.0/Conv (Conv): no such pad"
        );
        assert_eq!(refusal(-1, "", "", "not a model"), "not a model");
    }
}
