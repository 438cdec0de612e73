// What Rust calls: one table of functions a set of headers. `src/abi.rs` is this file in Rust; change both.
#pragma once
#include <stddef.h>
#include <stdint.h>

extern "C" {

// A message; severity as TensorRT counts: 0 internal error, 1 error, 2 warning, 3 information, 4 verbose.
typedef void (*YfLog)(void* user, int32_t severity, char const* message);
// Bytes, valid during the call.
typedef void (*YfSink)(void* user, void const* data, size_t size);

// Sizes of one input that the engine must take.
struct YfProfile {
    char const* input;
    int32_t rank;
    int64_t min[8], opt[8], max[8];
};

struct YfBuild {
    // createInferBuilder_INTERNAL and createNvOnnxParser_INTERNAL, and the versions their libraries state.
    void* create_builder;
    int32_t version;
    void* create_parser;
    int32_t parser_version;
    void const* onnx;
    size_t onnx_size;
    YfProfile const* profiles;
    int32_t profile_count;
    // Compute capabilities (86 for 8.6); TensorRT-RTX only.
    int32_t const* targets;
    int32_t target_count;
    // A timing cache is used where `keep_timings`; its content may be empty. Not for TensorRT-RTX.
    int32_t keep_timings;
    void const* timings;
    size_t timings_size;
    void* user;
    YfSink engine;
    YfSink timing_cache;
    // A node that the parser refuses: index, name, operator, what is wrong.
    void (*refused)(void* user, int32_t node, char const* name, char const* op, char const* why);
    // The phase, steps done, steps in all. 0 stops the build.
    int32_t (*progress)(void* user, char const* phase, int32_t done, int32_t steps);
};

// How far a build came; 0 is success.
enum YfBuildStatus { YF_BUILT, YF_NO_BUILDER, YF_NO_PARSER, YF_PARSE, YF_PROFILE, YF_TARGET, YF_ENGINE };

struct YfApi {
    void* (*logger_new)(void* user, YfLog log);
    void (*logger_free)(void* logger);
    int32_t (*build)(void* logger, YfBuild const* what);
    void* (*runtime_new)(void* create_runtime, void* logger, int32_t version);
    void (*runtime_free)(void* runtime);
    void* (*engine_new)(void* runtime, void const* data, size_t size);
    void (*engine_free)(void* engine);
    int32_t (*tensor_count)(void* engine);
    char const* (*tensor_name)(void* engine, int32_t index);
    // 1 input, 2 output.
    int32_t (*tensor_mode)(void* engine, char const* name);
    int32_t (*tensor_type)(void* engine, char const* name);
    // The cache is TensorRT-RTX's runtime cache; its content may be empty.
    void* (*context_new)(void* engine, void const* cache, size_t cache_size);
    void (*context_free)(void* context);
    int32_t (*set_shape)(void* context, char const* name, int64_t const* sizes, int32_t rank);
    // Fills `sizes` (8 of them), returns the rank or -1.
    int32_t (*shape)(void* context, char const* name, int64_t* sizes);
    int32_t (*set_address)(void* context, char const* name, void* device);
    int32_t (*enqueue)(void* context, void* stream);
    // Gives the content of the runtime cache; nothing but with TensorRT-RTX.
    void (*runtime_cache)(void* context, void* user, YfSink sink);
};

}
