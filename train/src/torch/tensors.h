// Tensors as they come from Rust.
#pragma once
#include <ATen/ATen.h>

#include <vector>

typedef at::Tensor* Handle;  // tch's C_tensor* is an at::Tensor*

static inline std::vector<at::Tensor> list(const Handle* handles, size_t n) {
  std::vector<at::Tensor> tensors;
  tensors.reserve(n);
  for (size_t i = 0; i < n; ++i) tensors.push_back(*handles[i]);
  return tensors;
}
