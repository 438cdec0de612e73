// A CUDA kernel compiled at run time: NVRTC comes with libtorch's CUDA half, the driver with the GPU, and both are
// reached by name, so that building needs neither.
#include "guarded.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <dlfcn.h>
#include <filesystem>
#include <string>
#include <vector>

namespace {

// The first of these libraries that is there.
void* library(std::initializer_list<const char*> names) {
  std::string why;
  for (auto name : names) {
    if (void* handle = dlopen(name, RTLD_NOW)) return handle;
    why = dlerror();
  }
  TORCH_CHECK(false, why);
}

template <class F>
F* symbol(void* library, const char* name) {
  auto found = reinterpret_cast<F*>(dlsym(library, name));
  TORCH_CHECK(found, "there is no ", name, " in ", "the CUDA libraries");
  return found;
}

// NVRTC asks for its second half by name alone; what is loaded already is found wherever it lies.
void* nvrtc() {
  auto handle = library({"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"});
  Dl_info found;
  if (dladdr(dlsym(handle, "nvrtcVersion"), &found) && found.dli_fname) {
    std::error_code ignored;
    auto folder = std::filesystem::path(found.dli_fname).parent_path();
    for (auto& entry : std::filesystem::directory_iterator(folder, ignored))
      if (entry.path().filename().string().rfind("libnvrtc-builtins.so", 0) == 0) dlopen(entry.path().c_str(), RTLD_NOW);
  }
  return handle;
}

struct Nvrtc {
  void* handle = nvrtc();
  int (*create)(void**, const char*, const char*, int, const char* const*, const char* const*) =
      symbol<int(void**, const char*, const char*, int, const char* const*, const char* const*)>(handle, "nvrtcCreateProgram");
  int (*compile)(void*, int, const char* const*) = symbol<int(void*, int, const char* const*)>(handle, "nvrtcCompileProgram");
  int (*cubin_size)(void*, size_t*) = symbol<int(void*, size_t*)>(handle, "nvrtcGetCUBINSize");
  int (*cubin)(void*, char*) = symbol<int(void*, char*)>(handle, "nvrtcGetCUBIN");
  int (*log_size)(void*, size_t*) = symbol<int(void*, size_t*)>(handle, "nvrtcGetProgramLogSize");
  int (*log)(void*, char*) = symbol<int(void*, char*)>(handle, "nvrtcGetProgramLog");
  int (*destroy)(void**) = symbol<int(void**)>(handle, "nvrtcDestroyProgram");
};

struct Driver {
  void* handle = library({"libcuda.so.1"});
  int (*device)(int*, int) = symbol<int(int*, int)>(handle, "cuDeviceGet");
  int (*attribute)(int*, int, int) = symbol<int(int*, int, int)>(handle, "cuDeviceGetAttribute");
  int (*retain)(void**, int) = symbol<int(void**, int)>(handle, "cuDevicePrimaryCtxRetain");
  int (*set_context)(void*) = symbol<int(void*)>(handle, "cuCtxSetCurrent");
  int (*load)(void**, const void*) = symbol<int(void**, const void*)>(handle, "cuModuleLoadData");
  int (*function)(void**, void*, const char*) = symbol<int(void**, void*, const char*)>(handle, "cuModuleGetFunction");
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**) =
      symbol<int(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**)>(
          handle, "cuLaunchKernel");
};

struct Kernel {
  Driver driver;
  void* function = nullptr;
  c10::Device device{c10::kCUDA, 0};
};

std::vector<char> compiled(const char* source, const std::string& architecture) {
  Nvrtc nvrtc;
  void* program = nullptr;
  TORCH_CHECK(nvrtc.create(&program, source, "sample.cu", 0, nullptr, nullptr) == 0, "NVRTC takes no program");
  auto target = "--gpu-architecture=" + architecture;
  // The pixels of a CPU and of a GPU are to be the same to the last bit.
  const char* options[] = {target.c_str(), "--fmad=false", "--std=c++17"};
  int failed = nvrtc.compile(program, 3, options);
  size_t size = 0;
  std::vector<char> result;
  if (failed) {
    nvrtc.log_size(program, &size);
    result.resize(size + 1);
    nvrtc.log(program, result.data());
  } else if (nvrtc.cubin_size(program, &size) == 0) {
    result.resize(size);
    failed = nvrtc.cubin(program, result.data());
  }
  nvrtc.destroy(&program);
  TORCH_CHECK(!failed, "NVRTC for ", architecture, ": ", result.data());
  return result;
}

}  // namespace

extern "C" {

// Compiles a program for an architecture such as sm_90; needs no GPU.
char* yf_kernel_compile(const char* source, const char* architecture, size_t* bytes) {
  return guarded([&] { *bytes = compiled(source, architecture).size(); });
}

// Compiles the function `name` of a program for a GPU. What is opened stays for the life of the process.
char* yf_kernel_open(const char* source, const char* name, int device, void** out) {
  return guarded([&] {
    auto kernel = new Kernel;
    kernel->device = c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device));
    auto& driver = kernel->driver;
    int ordinal = 0, major = 0, minor = 0;
    void *context = nullptr, *module = nullptr;
    TORCH_CHECK(driver.device(&ordinal, device) == 0, "the driver knows no GPU ", device);
    // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
    TORCH_CHECK(driver.attribute(&major, 75, ordinal) == 0 && driver.attribute(&minor, 76, ordinal) == 0,
                "the driver does not say what GPU ", device, " is");
    auto binary = compiled(source, "sm_" + std::to_string(10 * major + minor));
    TORCH_CHECK(driver.retain(&context, ordinal) == 0 && driver.set_context(context) == 0, "no context of GPU ", device);
    int failed = driver.load(&module, binary.data());
    TORCH_CHECK(!failed, "the driver does not load the kernel: error ", failed);
    TORCH_CHECK(driver.function(&kernel->function, module, name) == 0, "the kernel has no ", name);
    *out = kernel;
  });
}

// Launches on the current stream of the kernel's GPU; takes no memory and waits for nothing.
char* yf_kernel_launch(const void* opened, unsigned blocks_x, unsigned blocks_y, unsigned threads, void** arguments) {
  return guarded([&] {
    auto kernel = static_cast<const Kernel*>(opened);
    auto stream = c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(kernel->device).native_handle();
    int failed = kernel->driver.launch(kernel->function, blocks_x, blocks_y, 1, threads, 1, 1, 0, stream, arguments, nullptr);
    TORCH_CHECK(!failed, "the kernel was not launched: driver error ", failed);
  });
}
}
