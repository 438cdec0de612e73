// Host memory that a GPU can read, and copies on a stream of their own. Needs libtorch_cpu and libc10 only.
#include "guarded.h"

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

using at::Tensor;
typedef Tensor* Handle;

static c10::Device gpu(int index) { return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index)); }

static c10::Stream current(c10::Device device) { return c10::impl::VirtualGuardImpl(device.type()).getStream(device); }

// The stream a call means: null is the current one.
static c10::Stream stream_of(const void* stream, c10::Device device) {
  return stream ? *static_cast<const c10::Stream*>(stream) : current(device);
}

extern "C" {

// int32 [words]; page-locked memory comes from libtorch's cache, which hands it out again once copies from it are done.
char* yf_host_words(int64_t words, int pinned, Handle* out) {
  return guarded([&] {
    *out = new Tensor(at::empty({words}, at::TensorOptions().dtype(at::kInt).pinned_memory(pinned)));
  });
}

char* yf_stream_new(int device, void** out) {
  return guarded([&] {
    auto guard = c10::impl::VirtualGuardImpl(c10::kCUDA);
    *out = new c10::Stream(guard.getStreamFromGlobalPool(gpu(device), /*isHighPriority=*/false));
  });
}

void yf_stream_free(void* stream) { delete static_cast<c10::Stream*>(stream); }

// Events set a thread's device back to what it was, and that starts CUDA there: on GPU 0 for all ranks, since threads
// begin with it. A guard is set back only in name.
char* yf_event_new(void** out) {
  return guarded([&] { *out = new c10::Event(c10::kCUDA); });
}

char* yf_event_record(void* event, const void* stream, int device) {
  return guarded([&] {
    c10::DeviceGuard guard(gpu(device));
    static_cast<c10::Event*>(event)->record(stream_of(stream, gpu(device)));
  });
}

// What is given to the stream from now on waits for the event; the host does not.
char* yf_event_block(void* event, const void* stream, int device) {
  return guarded([&] {
    c10::DeviceGuard guard(gpu(device));
    static_cast<c10::Event*>(event)->block(stream_of(stream, gpu(device)));
  });
}

// int32 [words] on the device, in the hands of the stream.
char* yf_device_words(int64_t words, const void* stream, int device, Handle* out) {
  return guarded([&] {
    c10::StreamGuard guard(stream_of(stream, gpu(device)));
    *out = new Tensor(at::empty({words}, at::TensorOptions().dtype(at::kInt).device(gpu(device))));
  });
}

char* yf_copy_on(const void* stream, Handle to, Handle from) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    c10::StreamGuard guard(stream_of(stream, to->device()));
    to->copy_(*from, /*non_blocking=*/true);
  });
}

char* yf_free_memory(int device, int64_t* bytes) {
  return guarded([&] {
    *bytes = static_cast<int64_t>(at::accelerator::getMemoryInfo(static_cast<c10::DeviceIndex>(device)).first);
  });
}
}
