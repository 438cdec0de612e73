// What tch lacks: autocast with a chosen type, foreach and fused operations, memory formats, device memory, events.
// Needs libtorch_cpu and libc10 only; what needs libtorch_cuda is in cuda.cpp, reached through its table once loaded.
// Every call returns null, or a message that yf_free frees.
#include "cuda.h"
#include "guarded.h"
#include "tensors.h"

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/autocast_mode.h>

#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cstring>
#include <optional>
#include <vector>

using at::Tensor;

void throw_if(char* message) {
  if (!message) return;
  std::string text(message);
  free(message);
  TORCH_CHECK(false, text);
}

static std::optional<Tensor> optional(Handle handle) {
  return handle ? std::optional<Tensor>(*handle) : std::nullopt;
}

static const YfCuda* cuda_half = nullptr;

const YfCuda& cuda() {
  TORCH_CHECK(cuda_half, "the CUDA half is not loaded");
  return *cuda_half;
}

extern "C" {

void yf_free(char* message) { free(message); }

// A shared object from memory: no file to install, find or clean up.
static void* load(const void* object, size_t size) {
  int file = memfd_create("yf_cuda", MFD_CLOEXEC);
  TORCH_CHECK(file >= 0 && write(file, object, size) == static_cast<ssize_t>(size), "no memory for the CUDA half");
  auto path = "/proc/self/fd/" + std::to_string(file);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  close(file);
  TORCH_CHECK(library, dlerror());
  return library;
}

// Must run before anything asks torch about CUDA: it keeps its first answer. The object is cuda.cpp's.
char* yf_load_cuda(const void* object, size_t size) {
  return guarded([&] {
    if (cuda_half) return;
    TORCH_CHECK(dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL), dlerror());
    auto table = reinterpret_cast<const YfCuda* (*)()>(dlsym(load(object, size), "yf_cuda"));
    TORCH_CHECK(table, "the CUDA half has no table");
    cuda_half = table();
  });
}

char* yf_own_stream(int device) {
  return guarded([&] { throw_if(cuda().own_stream(device)); });
}

char* yf_graph_new(void** graph) {
  return guarded([&] { throw_if(cuda().graph_new(graph)); });
}

char* yf_graph_begin(void* graph, void* shares_pool_with) {
  return guarded([&] { throw_if(cuda().graph_begin(graph, shares_pool_with)); });
}

char* yf_graph_end(void* graph) {
  return guarded([&] { throw_if(cuda().graph_end(graph)); });
}

char* yf_graph_replay(void* graph) {
  return guarded([&] { throw_if(cuda().graph_replay(graph)); });
}

void yf_graph_free(void* graph) {
  if (cuda_half) cuda_half->graph_free(graph);
}

// A copy to pinned memory that nobody waits for, and an event that says when it is there.
char* yf_read_back(Handle tensor, Handle* host, void** event) {
  return guarded([&] {
    at::NoGradGuard guard;
    auto options = tensor->options().device(at::kCPU).pinned_memory(true).requires_grad(false);
    auto pinned = at::empty(tensor->sizes(), options);
    pinned.copy_(*tensor, /*non_blocking=*/true);
    c10::impl::VirtualGuardImpl impl(tensor->device().type());
    auto recorded = std::make_unique<c10::Event>(tensor->device().type());
    recorded->record(impl.getStream(tensor->device()));
    *host = new Tensor(pinned);
    *event = recorded.release();
  });
}

char* yf_event_ready(void* event, int* ready) {
  return guarded([&] { *ready = static_cast<c10::Event*>(event)->query(); });
}

char* yf_event_wait(void* event) {
  return guarded([&] { static_cast<c10::Event*>(event)->synchronize(); });
}

// Guarded as where transfer.cpp records.
void yf_event_free(void* event) {
  free(guarded([&] {
    std::unique_ptr<c10::Event> owned(static_cast<c10::Event*>(event));
    c10::OptionalDeviceGuard guard;
    if (owned->device_index() >= 0) guard.reset_device(owned->device());
    owned.reset();
  }));
}

// kind: c10::ScalarType's number
char* yf_autocast_enter(int is_cuda, int enabled, int kind, int* was_enabled, int* was_kind) {
  return guarded([&] {
    auto device = is_cuda ? at::kCUDA : at::kCPU;
    *was_enabled = at::autocast::is_autocast_enabled(device);
    *was_kind = static_cast<int>(at::autocast::get_autocast_dtype(device));
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(kind));
    at::autocast::increment_nesting();
  });
}

char* yf_autocast_exit(int is_cuda, int was_enabled, int was_kind) {
  return guarded([&] {
    auto device = is_cuda ? at::kCUDA : at::kCPU;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, was_enabled);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(was_kind));
  });
}

// found_inf becomes 1 where a gradient is not finite; gradients are multiplied by inverse_scale.
char* yf_unscale(const Handle* gradients, size_t n, Handle found_inf, Handle inverse_scale) {
  return guarded([&] {
    at::NoGradGuard guard;
    at::_amp_foreach_non_finite_check_and_unscale_(list(gradients, n), *found_inf, *inverse_scale);
  });
}

char* yf_update_scale(Handle scale, Handle growth_tracker, Handle found_inf, double growth, double backoff, int64_t interval) {
  return guarded([&] {
    at::NoGradGuard guard;
    at::_amp_update_scale_(*scale, *growth_tracker, *found_inf, growth, backoff, interval);
  });
}

char* yf_clip_gradients(const Handle* gradients, size_t n, double max_norm, Handle* total) {
  return guarded([&] {
    at::NoGradGuard guard;
    auto all = list(gradients, n);
    auto norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(all, 2.0)), 2.0);
    at::_foreach_mul_(all, at::clamp_max(max_norm / (norm + 1e-6), 1.0));
    *total = new Tensor(norm);
  });
}

// Nesterov's SGD whose learning rate and momentum are numbers on the device, so that a recorded step follows the
// schedule. The fused kernel takes its momentum from the host: here it is 1, over buffers that are multiplied beforehand,
// and what it then moves too far along the new buffers is taken back. Nothing changes where found_inf is 1.
char* yf_fused_sgd(const Handle* params, const Handle* gradients, const Handle* buffers, size_t n, Handle lr,
                   Handle momentum, double decay, Handle found_inf) {
  return guarded([&] {
    at::NoGradGuard guard;
    auto p = list(params, n), velocity = list(buffers, n);
    auto taken = (1 - *found_inf).squeeze();
    auto slowed = (1 - *momentum) * taken;
    at::_foreach_mul_(velocity, 1 - slowed);
    at::_fused_sgd_(p, list(gradients, n), velocity, decay, /*momentum=*/1.0, *lr, /*dampening=*/0.0,
                    /*nesterov=*/true, /*maximize=*/false, /*is_first_step=*/false, std::nullopt, *found_inf);
    at::_fused_sgd_(p, velocity, {}, /*weight_decay=*/0.0, /*momentum=*/0.0, -(*lr * slowed), /*dampening=*/0.0,
                    /*nesterov=*/false, /*maximize=*/false, /*is_first_step=*/false, std::nullopt, *found_inf);
  });
}

// steps: one float tensor a parameter; the kernel reads them, the caller advances them.
char* yf_fused_adamw(const Handle* params, const Handle* gradients, const Handle* m, const Handle* v,
                     const Handle* steps, size_t n, Handle lr, double beta1, double beta2, double decay, double eps,
                     Handle found_inf) {
  return guarded([&] {
    at::NoGradGuard guard;
    at::_fused_adamw_(list(params, n), list(gradients, n), list(m, n), list(v, n), {}, list(steps, n), *lr, beta1, beta2,
                      decay, eps, /*amsgrad=*/false, /*maximize=*/false, std::nullopt, optional(found_inf));
  });
}

// to += weight * (from - to), where the weight is one number on the device.
char* yf_lerp(const Handle* to, const Handle* from, size_t n, Handle weight) {
  return guarded([&] {
    at::NoGradGuard guard;
    auto way = at::_foreach_sub(list(from, n), list(to, n));
    at::_foreach_mul_(way, *weight);
    at::_foreach_add_(list(to, n), way);
  });
}

char* yf_zero(const Handle* tensors, size_t n) {
  return guarded([&] {
    at::NoGradGuard guard;
    at::_foreach_zero_(list(tensors, n));
  });
}

char* yf_add_to_each(const Handle* tensors, size_t n, Handle value) {
  return guarded([&] {
    at::NoGradGuard guard;
    at::_foreach_add_(list(tensors, n), *value);
  });
}

// Not contiguous(): a 1x1 weight counts as channels_last already and would keep its old strides.
char* yf_channels_last(Handle param) {
  return guarded([&] {
    at::NoGradGuard guard;
    auto laid = at::empty(param->sizes(), param->options().requires_grad(false), at::MemoryFormat::ChannelsLast);
    param->set_data(laid.copy_(*param));
  });
}

char* yf_to_channels_last(Handle tensor, Handle* out) {
  return guarded([&] { *out = new Tensor(tensor->contiguous(at::MemoryFormat::ChannelsLast)); });
}

// The caching host allocator keeps pinned memory from being taken anew at every batch.
char* yf_to_device(Handle host, int device, Handle* out) {
  return guarded([&] {
    auto options = host->options().device(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device)));
    *out = new Tensor(host->pin_memory().to(options, /*non_blocking=*/true));
  });
}

char* yf_flags(int tf32, int benchmark, int deterministic) {
  return guarded([&] {
    auto& context = at::globalContext();
    context.setAllowTF32CuBLAS(tf32);
    context.setAllowTF32CuDNN(tf32);
    context.setBenchmarkCuDNN(benchmark);
    context.setDeterministicCuDNN(deterministic);
  });
}

char* yf_peak_memory(int device, int64_t* bytes) {
  return guarded([&] {
    auto stats = at::accelerator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *bytes = stats.reserved_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  });
}

char* yf_memory(int device, int64_t* free_bytes, int64_t* total_bytes) {
  return guarded([&] {
    auto [free_now, total] = at::accelerator::getMemoryInfo(static_cast<c10::DeviceIndex>(device));
    *free_bytes = static_cast<int64_t>(free_now);
    *total_bytes = static_cast<int64_t>(total);
  });
}

char* yf_reset_peak_memory(int device) {
  return guarded([&] { at::accelerator::resetPeakStats(static_cast<c10::DeviceIndex>(device)); });
}

char* yf_empty_cache() {
  return guarded([&] { at::accelerator::emptyCache(); });
}

char* yf_synchronize(int device) {
  return guarded([&] { at::accelerator::synchronizeDevice(static_cast<c10::DeviceIndex>(device)); });
}
}
