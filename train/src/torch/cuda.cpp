// The half that needs libtorch_cuda: CUDA graphs, NCCL. Built as a shared object of its own, kept inside the program, and
// loaded after libtorch_cuda, so that the program itself starts on machines without CUDA.
#define USE_C10D_NCCL 1
#include "cuda.h"
#include "guarded.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

using Graph = at::cuda::CUDAGraph;

static char* own_stream(int device) {
  return guarded([&] {
    auto index = static_cast<c10::DeviceIndex>(device);
    c10::cuda::set_device(index);
    c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, index));
  });
}

static char* graph_new(void** graph) {
  return guarded([&] { *graph = new Graph(); });
}

// Only this thread is held to what a capture allows: others go on decoding and pinning memory.
static char* graph_begin(void* graph, void* shares_pool_with) {
  return guarded([&] {
    at::cuda::MempoolId_t pool{0, 0};
    if (shares_pool_with) pool = static_cast<Graph*>(shares_pool_with)->pool();
    static_cast<Graph*>(graph)->capture_begin(pool, cudaStreamCaptureModeThreadLocal);
  });
}

static char* graph_end(void* graph) {
  return guarded([&] { static_cast<Graph*>(graph)->capture_end(); });
}

static char* graph_replay(void* graph) {
  return guarded([&] { static_cast<Graph*>(graph)->replay(); });
}

static void graph_free(void* graph) {
  free(guarded([&] { delete static_cast<Graph*>(graph); }));
}

static char* nccl(const void* store, int rank, int size, int device, int64_t timeout_ms, void* out) {
  return guarded([&] {
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(device));
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(timeout_ms);
    auto meeting = *static_cast<const c10::intrusive_ptr<c10d::Store>*>(store);
    *static_cast<c10::intrusive_ptr<c10d::Backend>*>(out) =
        c10::make_intrusive<c10d::ProcessGroupNCCL>(meeting, rank, size, options);
  });
}

extern "C" __attribute__((visibility("default"))) const YfCuda* yf_cuda() {
  static const YfCuda half{own_stream, graph_new, graph_begin, graph_end, graph_replay, graph_free, nccl};
  return &half;
}
