//! Compiles the C++ beside `src/torch` and tells the linker where libtorch lies.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=src/torch/shim.cpp");
    let Some(torch) = std::env::var_os("LIBTORCH").map(PathBuf::from) else {
        panic!(
            "LIBTORCH is not set: run `make build`, or set it to the folder that `scripts/libtorch.py` prints, plus /torch"
        );
    };
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(torch.join("include"))
        .include(torch.join("include/torch/csrc/api/include"))
        .file("src/torch/shim.cpp")
        .compile("yf_shim");
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
