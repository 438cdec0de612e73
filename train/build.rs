//! Compiles the C++ beside `src/torch` and tells the linker where libtorch lies.

use std::path::{Path, PathBuf};

const SOURCES: &[&str] = &[
    "src/torch/shim.cpp",
    "src/torch/transfer.cpp",
    "src/torch/kernel.cpp",
    "src/torch/distributed.cpp",
    "src/augment/sample.cpp",
];
const HEADERS: &[&str] = &[
    "src/torch/cuda.h",
    "src/torch/guarded.h",
    "src/augment/sample.h",
    "src/torch/tensors.h",
    "src/torch/stand-ins",
];

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    for source in SOURCES.iter().chain(&["src/torch/cuda.cpp"]).chain(HEADERS) {
        println!("cargo:rerun-if-changed={source}");
    }
    let Some(torch) = std::env::var_os("LIBTORCH").map(PathBuf::from) else {
        panic!(
            "LIBTORCH is not set: run `make build`, or set it to the folder that `scripts/libtorch.py` prints, plus /torch"
        );
    };
    // The pixels of a CPU and of a GPU are to be the same to the last bit: no fused multiply and add.
    cpp(&torch).include("src/torch/stand-ins").files(SOURCES).flag("-ffp-contract=off").compile("yf_shim");
    cuda_half(&torch);
    let lib = torch.join("lib");
    println!("cargo:rustc-link-search=native={}", lib.display());
    for library in ["torch_cpu", "c10"] {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    // Where `yf` finds another libtorch it puts that one on LD_LIBRARY_PATH, which goes before a RUNPATH.
    for path in [lib.clone(), torch.join("../nvidia/cu13/lib")] {
        println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags,-rpath,{}", path.display());
    }
}

fn cpp(torch: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(torch.join("include"))
        .include(torch.join("include/torch/csrc/api/include"));
    build
}

/// The CUDA half is a shared object in the program (`include_bytes!`), loaded once libtorch_cuda is there. Its symbols
/// are left open: compiling it needs headers, but no CUDA.
fn cuda_half(torch: &Path) {
    let object = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("libyf_cuda.so");
    let compiler = cpp(torch)
        .pic(true)
        .include("src/torch/stand-ins/cuda")
        .include(torch.join("../nvidia/cu13/include"))
        .include(torch.join("../nvidia/nccl/include"))
        .get_compiler();
    let done = compiler
        .to_command()
        .args(["-fvisibility=hidden", "-shared", "-Wl,-s", "src/torch/cuda.cpp", "-o"])
        .arg(&object)
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "the CUDA half did not compile; `make libtorch` fetches its headers"
    );
}
