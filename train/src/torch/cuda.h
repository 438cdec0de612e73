// What the CUDA half offers to shim.cpp: plain C types only. Every call returns null, or a message that yf_free frees.
#pragma once
#include <cstddef>
#include <cstdint>

struct YfCuda {
  // Makes a stream of its own the current one of this thread: the legacy stream cannot be captured.
  char* (*own_stream)(int device);
  char* (*graph_new)(void** graph);
  // Graphs that share a pool must not run at the same time.
  char* (*graph_begin)(void* graph, void* shares_pool_with);
  char* (*graph_end)(void* graph);
  char* (*graph_replay)(void* graph);
  void (*graph_free)(void* graph);
  // store: c10::intrusive_ptr<c10d::Store>*; out: c10::intrusive_ptr<c10d::Backend>*.
  char* (*nccl)(const void* store, int rank, int size, int device, int64_t timeout_ms, void* out);
};

// The CUDA half's table (shim.cpp); throws where it is not loaded.
const YfCuda& cuda();

// Throws a message of the CUDA half.
void throw_if(char* message);
