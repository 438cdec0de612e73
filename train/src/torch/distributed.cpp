// Several processes as one: the store they meet at, their process group, gradients reduced during backward, and batch
// normalisation over all of them. libtorch's own c10d; Gloo needs libtorch_cpu only, NCCL comes from the CUDA half.
// Every call returns null, or a message that yf_free frees.
#define USE_C10D_GLOO 1
#include "cuda.h"
#include "guarded.h"
#include "tensors.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <chrono>
#include <memory>
#include <string>

using at::Tensor;
using std::chrono::milliseconds;

namespace {

struct Store {
  c10::intrusive_ptr<c10d::Store> inner;
};

struct Group {
  c10::intrusive_ptr<c10d::ProcessGroup> inner;
};

// The buckets of gradients are summed, not averaged: the loss is divided by what all ranks together have seen.
struct SumHook : c10d::CppCommHookInterface<c10::intrusive_ptr<c10d::ProcessGroup>> {
  using CppCommHookInterface::CppCommHookInterface;
  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    std::vector<Tensor> tensors{bucket.getBufferRef()};
    return state_->allreduce(tensors)->getFuture();
  }
};

void sum(Group* group, Tensor& tensor) {
  std::vector<Tensor> tensors{tensor};
  group->inner->allreduce(tensors)->wait();
}

// Tensors of one type, one after another in one tensor that is sent and read back.
template <class F>
void in_one_message(std::vector<Tensor> tensors, F&& send) {
  at::NoGradGuard guard;
  std::vector<Tensor> flat, views;
  for (auto& tensor : tensors) {
    // As they lie in memory, which is alike on all ranks: no copy of its own for each that is channels_last.
    TORCH_CHECK(tensor.is_non_overlapping_and_dense(), "a tensor with gaps cannot be sent");
    flat.push_back(tensor.as_strided({tensor.numel()}, {1}));
  }
  auto message = at::cat(flat);
  send(message);
  int64_t at = 0;
  for (auto& tensor : tensors) {
    views.push_back(message.as_strided(tensor.sizes(), tensor.strides(), at));
    at += tensor.numel();
  }
  at::_foreach_copy_(tensors, views);
}

// Batch normalisation with the statistics of all ranks' pictures (what PyTorch calls SyncBatchNorm). CUDA has kernels
// for its parts; elsewhere the same is said in plain operations, in 64 bits.
struct SyncBatchNorm : torch::autograd::Function<SyncBatchNorm> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, Tensor x, Tensor weight, Tensor bias,
                        Tensor running_mean, Tensor running_var, double eps, double momentum, int64_t group_address) {
    auto* group = reinterpret_cast<Group*>(group_address);
    ctx->saved_data["group"] = group_address;
    const int64_t channels = x.size(1), count = x.numel() / channels;
    Tensor y, mean, invstd, counts;
    if (x.is_cuda()) {
      if (!x.is_contiguous(at::MemoryFormat::ChannelsLast)) x = x.contiguous();
      std::tie(mean, invstd) = at::batch_norm_stats(x, eps);
      auto own = at::cat({mean, invstd, at::full({1}, count, mean.options())});
      auto all = at::empty({group->inner->getSize(), own.numel()}, own.options());
      group->inner->_allgather_base(all, own)->wait();
      auto parts = at::split_with_sizes(all, {channels, channels, 1}, 1);
      counts = parts[2].reshape({-1});
      std::tie(mean, invstd) = at::batch_norm_gather_stats_with_counts(x, parts[0], parts[1], running_mean,
                                                                       running_var, momentum, eps, counts);
      y = at::batch_norm_elemt(x, weight, bias, mean, invstd, eps);
      counts = counts.to(at::kInt);
    } else {
      auto wide = x.to(at::kDouble);
      auto sums = at::cat({wide.sum({0, 2, 3}), (wide * wide).sum({0, 2, 3}), at::full({1}, count, wide.options())});
      sum(group, sums);
      auto parts = at::split_with_sizes(sums, {channels, channels, 1}, 0);
      counts = parts[2];
      mean = parts[0] / counts;
      auto var = parts[1] / counts - mean * mean;
      invstd = at::rsqrt(var + eps);
      running_mean.mul_(1 - momentum).add_(mean.to(running_mean.scalar_type()), momentum);
      auto unbiased = var * (counts / (counts - 1));
      running_var.mul_(1 - momentum).add_(unbiased.to(running_var.scalar_type()), momentum);
      y = ((wide - plane(mean)) * plane(invstd * weight) + plane(bias)).to(x.scalar_type());
      y = y.contiguous(x.suggest_memory_format());
    }
    ctx->save_for_backward({x, weight, mean, invstd, counts});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    auto saved = ctx->get_saved_variables();
    auto &x = saved[0], &weight = saved[1], &mean = saved[2], &invstd = saved[3], &counts = saved[4];
    auto* group = reinterpret_cast<Group*>(ctx->saved_data["group"].toInt());
    const int64_t channels = x.size(1);
    Tensor dy = gradients[0], dx, dweight, dbias;
    if (x.is_cuda()) {
      if (!dy.is_contiguous(at::MemoryFormat::ChannelsLast)) dy = dy.contiguous();
      auto [sum_dy, sum_dy_xmu, own_dweight, own_dbias] =
          at::batch_norm_backward_reduce(dy, x, mean, invstd, weight, true, true, true);
      dweight = own_dweight;
      dbias = own_dbias;
      auto sums = at::cat({sum_dy, sum_dy_xmu});
      sum(group, sums);
      auto parts = at::split_with_sizes(sums, {channels, channels}, 0);
      dx = at::batch_norm_backward_elemt(dy, x, mean, invstd, weight, parts[0], parts[1], counts);
    } else {
      auto wide = dy.to(at::kDouble);
      auto centred = x.to(at::kDouble) - plane(mean);
      auto sum_dy = wide.sum({0, 2, 3}), sum_dy_xmu = (wide * centred).sum({0, 2, 3});
      dweight = (sum_dy_xmu * invstd).to(weight.scalar_type());
      dbias = sum_dy.to(weight.scalar_type());
      auto sums = at::cat({sum_dy, sum_dy_xmu});
      sum(group, sums);
      auto parts = at::split_with_sizes(sums, {channels, channels}, 0);
      auto along = centred * plane(invstd * invstd * parts[1] / counts);
      dx = (plane(weight * invstd) * (wide - plane(parts[0] / counts) - along)).to(x.scalar_type());
      dx = dx.contiguous(x.suggest_memory_format());
    }
    return {dx, dweight, dbias, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }

  static Tensor plane(const Tensor& channels) { return channels.view({1, -1, 1, 1}); }
};

}  // namespace

extern "C" {

// listens_on: a socket that listens already, or -1. prefix: goes before every key.
char* yf_store_new(const char* host, int port, int serves, int listens_on, const char* prefix, int64_t timeout_ms,
                   void** out) {
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(port);
    options.isServer = serves;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout_ms);
    if (listens_on >= 0) options.masterListenFd = listens_on;
    auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
    *out = new Store{c10::make_intrusive<c10d::PrefixStore>(prefix, store)};
  });
}

char* yf_store_set(void* store, const char* key, const uint8_t* value, size_t n) {
  return guarded([&] { static_cast<Store*>(store)->inner->set(key, std::vector<uint8_t>(value, value + n)); });
}

// Waits until the key is there; the value is malloc'd.
char* yf_store_get(void* store, const char* key, uint8_t** value, size_t* n) {
  return guarded([&] {
    auto bytes = static_cast<Store*>(store)->inner->get(key);
    *value = static_cast<uint8_t*>(malloc(bytes.size() + 1));
    memcpy(*value, bytes.data(), bytes.size());
    *n = bytes.size();
  });
}

char* yf_store_has(void* store, const char* key, int* there) {
  return guarded([&] { *there = static_cast<Store*>(store)->inner->check({key}); });
}

char* yf_store_add(void* store, const char* key, int64_t by, int64_t* sum) {
  return guarded([&] { *sum = static_cast<Store*>(store)->inner->add(key, by); });
}

void yf_store_free(void* store) { delete static_cast<Store*>(store); }

// interface: the network interface Gloo talks over, or null for that of host. device: the GPU whose tensors NCCL sends,
// or -1. What lies in the host's memory goes through Gloo in any case.
char* yf_group_new(void* store, const char* host, const char* interface, int rank, int size, int device,
                   int64_t timeout_ms, void** out) {
  return guarded([&] {
    using Gloo = c10d::ProcessGroupGloo;
    using Type = c10d::ProcessGroup::BackendType;
    auto meeting = static_cast<Store*>(store)->inner;
    auto options = Gloo::Options::create(milliseconds(timeout_ms));
    options->devices.push_back(interface ? Gloo::createDeviceForInterface(interface)
                               : host    ? Gloo::createDeviceForHostname(host)
                                         : Gloo::createDefaultDevice());
    c10::intrusive_ptr<c10d::Backend> gloo =
        c10::make_intrusive<Gloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", meeting), rank, size, options);
    gloo->setSequenceNumberForGroup();
    auto group = c10::make_intrusive<c10d::ProcessGroup>(meeting, rank, size);
    group->setDefaultBackend(device < 0 ? Type::GLOO : Type::NCCL);
    group->setBackend(c10::kCPU, Type::GLOO, gloo);
    if (device >= 0) {
      c10::intrusive_ptr<c10d::Store> apart = c10::make_intrusive<c10d::PrefixStore>("nccl", meeting);
      c10::intrusive_ptr<c10d::Backend> nccl;
      throw_if(cuda().nccl(&apart, rank, size, device, timeout_ms, &nccl));
      nccl->setSequenceNumberForGroup();
      group->setBackend(c10::kCUDA, Type::NCCL, nccl);
    }
    group->setGroupName("world");
    *out = new Group{group};
  });
}

// In place, the sum over all ranks.
char* yf_group_sum(void* group, Handle tensor) {
  return guarded([&] {
    at::NoGradGuard guard;
    sum(static_cast<Group*>(group), *tensor);
  });
}

// The same of many tensors in one message.
char* yf_group_sum_all(void* group, const Handle* tensors, size_t n) {
  return guarded([&] {
    in_one_message(list(tensors, n), [&](Tensor& message) { sum(static_cast<Group*>(group), message); });
  });
}

// In place, what rank 0 has; many tensors in one message.
char* yf_group_broadcast(void* group, const Handle* tensors, size_t n) {
  return guarded([&] {
    in_one_message(list(tensors, n), [&](Tensor& message) {
      std::vector<Tensor> one{message};
      static_cast<Group*>(group)->inner->broadcast(one)->wait();
    });
  });
}

// Vectors: as many elements in out as all ranks have in theirs.
char* yf_group_gather(void* group, Handle out, Handle in) {
  return guarded([&] { static_cast<Group*>(group)->inner->_allgather_base(*out, *in)->wait(); });
}

char* yf_reducer_new(void* group, const Handle* params, size_t n, void** out) {
  return guarded([&] {
    auto inner = static_cast<Group*>(group)->inner;
    auto all = list(params, n);
    c10d::verify_params_across_processes(inner, all, std::nullopt);
    std::vector<bool> sparse(n, false);
    const int64_t first = c10d::kDefaultFirstBucketBytes, later = c10d::kDefaultBucketBytesCap;
    auto [buckets, limits] = c10d::compute_bucket_assignment_by_size(
        all, {static_cast<size_t>(first), static_cast<size_t>(later)}, sparse);
    std::reverse(buckets.begin(), buckets.end());  // gradients come in about the reverse order
    // Gradients stay tensors of their own: views into buckets would move when the buckets are rebuilt.
    auto reducer = std::make_unique<c10d::Reducer>(
        all, buckets, inner, sparse, later, /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/false,
        std::unordered_map<size_t, std::string>{}, first, /*skip_all_reduce_unused_params=*/false,
        /*use_python_reducer=*/false, std::vector<int64_t>{});
    reducer->register_comm_hook(std::make_unique<SumHook>(inner));
    *out = reducer.release();
  });
}

// Before a forward pass whose backward is to reduce.
char* yf_reducer_before_forward(void* reducer) {
  return guarded([&] {
    static_cast<c10d::Reducer*>(reducer)->prepare_for_forward();
    static_cast<c10d::Reducer*>(reducer)->rebuild_buckets();
  });
}

// Between that forward pass and its backward.
char* yf_reducer_before_backward(void* reducer) {
  return guarded([&] { static_cast<c10d::Reducer*>(reducer)->prepare_for_backward({}); });
}

void yf_reducer_free(void* reducer) { free(guarded([&] { delete static_cast<c10d::Reducer*>(reducer); })); }

char* yf_sync_batch_norm(void* group, Handle x, Handle weight, Handle bias, Handle running_mean, Handle running_var,
                         double eps, double momentum, Handle* out) {
  return guarded([&] {
    *out = new Tensor(SyncBatchNorm::apply(*x, *weight, *bias, *running_mean, *running_var, eps, momentum,
                                           reinterpret_cast<int64_t>(group)));
  });
}
}
