// A C interface to TensorRT's C++ one. Compiled once a set of headers, with
//   YF_API            the name of the table that this set fills
//   YF_RTX            for TensorRT-RTX
//   nvinfer1, nvonnxparser   namespaces of the set's own, so that inline functions of two sets never meet
// No library is linked: the three functions that begin everything come from Rust, which has loaded them, and all
// others are calls through the objects' tables.
#include "shim.h"

#include "NvInfer.h"
#include "NvOnnxParser.h"

#include <cstdlib>

using namespace nvinfer1;

namespace {

// Memory from C: a deployment binary needs no C++ library of its own.
struct FromC {
    static void* operator new(size_t size) noexcept { return std::malloc(size); }
    static void operator delete(void* memory) { std::free(memory); }
};

class Logger final : public ILogger, public FromC {
public:
    Logger(void* user, YfLog log) : user(user), write(log) {}
    void log(Severity severity, AsciiChar const* message) noexcept override {
        write(user, static_cast<int32_t>(severity), message);
    }

private:
    void* user;
    YfLog write;
};

class Monitor final : public IProgressMonitor, public FromC {
public:
    explicit Monitor(YfBuild const& what) : what(what) {}
    void phaseStart(char const* phase, char const*, int32_t steps) noexcept override {
        // Phases nest; steps of the one that began last are counted against its own number.
        phase_steps = steps;
        what.progress(what.user, phase, 0, steps);
    }
    bool stepComplete(char const* phase, int32_t step) noexcept override {
        return what.progress(what.user, phase, step + 1, phase_steps) != 0;
    }
    void phaseFinish(char const*) noexcept override {}

private:
    YfBuild const& what;
    int32_t phase_steps = 0;
};

// An object of TensorRT's, deleted when the block ends.
template <typename T>
class Owned {
public:
    explicit Owned(void* object) : object(static_cast<T*>(object)) {}
    ~Owned() { delete object; }
    Owned(Owned const&) = delete;
    Owned& operator=(Owned const&) = delete;
    T* operator->() const { return object; }
    T& operator*() const { return *object; }
    explicit operator bool() const { return object != nullptr; }

private:
    T* object;
};

Dims dims(int64_t const* sizes, int32_t rank) {
    Dims dims{};
    dims.nbDims = rank;
    for (int32_t i = 0; i < rank && i < Dims::MAX_DIMS; ++i) {
        dims.d[i] = sizes[i];
    }
    return dims;
}

bool add_profiles(IBuilder& builder, IBuilderConfig& config, YfBuild const& what) {
    if (what.profile_count == 0) {
        return true;
    }
    IOptimizationProfile* profile = builder.createOptimizationProfile();
    for (int32_t i = 0; profile != nullptr && i < what.profile_count; ++i) {
        YfProfile const& sizes = what.profiles[i];
        bool const set = profile->setDimensions(sizes.input, OptProfileSelector::kMIN, dims(sizes.min, sizes.rank))
            && profile->setDimensions(sizes.input, OptProfileSelector::kOPT, dims(sizes.opt, sizes.rank))
            && profile->setDimensions(sizes.input, OptProfileSelector::kMAX, dims(sizes.max, sizes.rank));
        if (!set) {
            return false;
        }
    }
    return profile != nullptr && config.addOptimizationProfile(profile) >= 0;
}

bool set_targets(IBuilderConfig& config, YfBuild const& what) {
    if (what.target_count == 0) {
        return true;
    }
#ifdef YF_RTX
    bool set = config.setNbComputeCapabilities(what.target_count);
    for (int32_t i = 0; set && i < what.target_count; ++i) {
        set = config.setComputeCapability(static_cast<ComputeCapability>(what.targets[i]), i);
    }
    return set;
#else
    static_cast<void>(config);
    return false;
#endif
}

uint32_t network_flags() {
#if NV_TENSORRT_MAJOR == 10 && !defined(YF_RTX)
    // The types are those of the ONNX file, as they always are from TensorRT 11 on and in TensorRT-RTX.
    return 1U << static_cast<uint32_t>(NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#else
    return 0;
#endif
}

// What earlier builds measured, or an empty one; none where none is to be kept.
ITimingCache* timing_cache(IBuilderConfig& config, YfBuild const& what) {
    if (!what.keep_timings) {
        return nullptr;
    }
    ITimingCache* known = what.timings_size > 0 ? config.createTimingCache(what.timings, what.timings_size) : nullptr;
    return known != nullptr ? known : config.createTimingCache(nullptr, 0);
}

void report(nvonnxparser::IParser& parser, YfBuild const& what) {
    for (int32_t i = 0; i < parser.getNbErrors(); ++i) {
        nvonnxparser::IParserError const* error = parser.getError(i);
        what.refused(what.user, error->node(), error->nodeName(), error->nodeOperator(), error->desc());
    }
}

int32_t build(void* logger_, YfBuild const* what_) {
    YfBuild const& what = *what_;
    ILogger* logger = static_cast<Logger*>(logger_);
    using CreateBuilder = void* (*)(void*, int32_t);
    using CreateParser = void* (*)(void*, void*, int32_t);
    Owned<IBuilder> builder(reinterpret_cast<CreateBuilder>(what.create_builder)(logger, what.version));
    if (!builder) {
        return YF_NO_BUILDER;
    }
    Owned<INetworkDefinition> network(builder->createNetworkV2(network_flags()));
    Owned<IBuilderConfig> config(builder->createBuilderConfig());
    if (!network || !config) {
        return YF_NO_BUILDER;
    }
    Owned<nvonnxparser::IParser> parser(
        reinterpret_cast<CreateParser>(what.create_parser)(&*network, logger, what.parser_version));
    if (!parser) {
        return YF_NO_PARSER;
    }
    if (!parser->parse(what.onnx, what.onnx_size)) {
        report(*parser, what);
        return YF_PARSE;
    }
    // Single precision is single: TensorFloat-32 has ten bits of mantissa.
    config->clearFlag(BuilderFlag::kTF32);
    if (!add_profiles(*builder, *config, what)) {
        return YF_PROFILE;
    }
    if (!set_targets(*config, what)) {
        return YF_TARGET;
    }
    Monitor monitor(what);
    config->setProgressMonitor(&monitor);
    Owned<ITimingCache> timings(timing_cache(*config, what));
    if (timings) {
        config->setTimingCache(*timings, false);
    }
    Owned<IHostMemory> engine(builder->buildSerializedNetwork(*network, *config));
    if (!engine) {
        return YF_ENGINE;
    }
    what.engine(what.user, engine->data(), engine->size());
    if (timings) {
        Owned<IHostMemory> kept(timings->serialize());
        if (kept) {
            what.timing_cache(what.user, kept->data(), kept->size());
        }
    }
    return YF_BUILT;
}

void* logger_new(void* user, YfLog log) { return new Logger(user, log); }
void logger_free(void* logger) { delete static_cast<Logger*>(logger); }

void* runtime_new(void* create, void* logger, int32_t version) {
    using CreateRuntime = void* (*)(void*, int32_t);
    return reinterpret_cast<CreateRuntime>(create)(static_cast<ILogger*>(static_cast<Logger*>(logger)), version);
}
void runtime_free(void* runtime) { delete static_cast<IRuntime*>(runtime); }

void* engine_new(void* runtime, void const* data, size_t size) {
    return static_cast<IRuntime*>(runtime)->deserializeCudaEngine(data, size);
}
void engine_free(void* engine) { delete static_cast<ICudaEngine*>(engine); }

int32_t tensor_count(void* engine) { return static_cast<ICudaEngine*>(engine)->getNbIOTensors(); }
char const* tensor_name(void* engine, int32_t index) {
    return static_cast<ICudaEngine*>(engine)->getIOTensorName(index);
}
int32_t tensor_mode(void* engine, char const* name) {
    return static_cast<int32_t>(static_cast<ICudaEngine*>(engine)->getTensorIOMode(name));
}
int32_t tensor_type(void* engine, char const* name) {
    return static_cast<int32_t>(static_cast<ICudaEngine*>(engine)->getTensorDataType(name));
}

// An execution context, and what it was configured with and reads while it lives.
struct Context : FromC {
    IExecutionContext* context = nullptr;
#ifdef YF_RTX
    IRuntimeConfig* config = nullptr;
    IRuntimeCache* cache = nullptr;
#endif
};

void context_free(void* context_) {
    Context* context = static_cast<Context*>(context_);
    delete context->context;
#ifdef YF_RTX
    delete context->config;
    delete context->cache;
#endif
    delete context;
}

void* context_new(void* engine_, void const* cache, size_t cache_size) {
    ICudaEngine* engine = static_cast<ICudaEngine*>(engine_);
    Context* made = new Context();
    if (made == nullptr) {
        return nullptr;
    }
#ifdef YF_RTX
    made->config = engine->createRuntimeConfig();
    if (made->config != nullptr) {
        // Kernels are finished before the first run and not beside the runs: a recorded graph would keep stand-ins.
        made->config->setDynamicShapesKernelSpecializationStrategy(DynamicShapesKernelSpecializationStrategy::kEAGER);
        made->config->setCudaGraphStrategy(CudaGraphStrategy::kWHOLE_GRAPH_CAPTURE);
        made->cache = made->config->createRuntimeCache();
        if (made->cache != nullptr) {
            if (cache_size > 0) {
                // A cache of another GPU or version is not taken, and is made anew.
                static_cast<void>(made->cache->deserialize(cache, cache_size));
            }
            made->config->setRuntimeCache(*made->cache);
        }
        made->context = engine->createExecutionContext(made->config);
    }
#else
    static_cast<void>(cache);
    static_cast<void>(cache_size);
    made->context = engine->createExecutionContext();
#endif
    if (made->context == nullptr) {
        context_free(made);
        return nullptr;
    }
    return made;
}

int32_t set_shape(void* context, char const* name, int64_t const* sizes, int32_t rank) {
    return static_cast<Context*>(context)->context->setInputShape(name, dims(sizes, rank));
}
int32_t shape(void* context, char const* name, int64_t* sizes) {
    Dims const found = static_cast<Context*>(context)->context->getTensorShape(name);
    for (int32_t i = 0; i < found.nbDims; ++i) {
        sizes[i] = found.d[i];
    }
    return found.nbDims;
}
int32_t set_address(void* context, char const* name, void* device) {
    return static_cast<Context*>(context)->context->setTensorAddress(name, device);
}
int32_t enqueue(void* context, void* stream) {
    return static_cast<Context*>(context)->context->enqueueV3(static_cast<cudaStream_t>(stream));
}
void runtime_cache(void* context, void* user, YfSink sink) {
#ifdef YF_RTX
    IRuntimeCache* cache = static_cast<Context*>(context)->cache;
    if (cache != nullptr) {
        Owned<IHostMemory> content(cache->serialize());
        if (content) {
            sink(user, content->data(), content->size());
        }
    }
#else
    static_cast<void>(context);
    static_cast<void>(user);
    static_cast<void>(sink);
#endif
}

} // namespace

extern "C" {
extern YfApi const YF_API;
YfApi const YF_API = {
    logger_new, logger_free, build, runtime_new, runtime_free, engine_new, engine_free, tensor_count, tensor_name,
    tensor_mode, tensor_type, context_new, context_free, set_shape, shape, set_address, enqueue, runtime_cache,
};
}
