//! Compiles the shim once for each set of TensorRT's headers. Neither TensorRT nor CUDA is needed for that.

/// Folder under `headers/`, the table's name, whether it is TensorRT-RTX.
const SETS: [(&str, &str, bool); 3] = [
    ("tensorrt-10.16", "yf_tensorrt_10", false),
    ("tensorrt-11.4", "yf_tensorrt_11", false),
    ("tensorrt-rtx-1.7", "yf_tensorrt_rtx", true),
];

fn main() {
    println!("cargo:rerun-if-changed=shim");
    println!("cargo:rerun-if-changed=headers");
    for (headers, table, rtx) in SETS {
        let mut build = cpp();
        build
            .file("shim/shim.cpp")
            .flag("-isystem")
            .flag(format!("headers/{headers}"))
            .include("shim")
            .define("YF_API", table)
            .define("nvinfer1", format!("{table}_nvinfer").as_str())
            .define("nvonnxparser", format!("{table}_parser").as_str());
        if rtx {
            build.define("YF_RTX", None);
        }
        build.compile(table);
    }
    // Last, because the others name what is in it.
    cpp().file("shim/delete.cpp").compile("yf_tensorrt_delete");
}

/// No C++ library is linked, and nothing throws.
fn cpp() -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .cpp_link_stdlib(None)
        .std("c++17")
        .opt_level(2)
        .flag("-fno-exceptions")
        .flag("-fno-rtti")
        .flag("-fvisibility=hidden")
        .flag_if_supported("-Wno-deprecated-declarations");
    build
}
