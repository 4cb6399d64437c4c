// What libtorch has and its Rust bindings lack: `aten.rs` says what each function is for.
//
// Tensors are pointers to at::Tensor, as the bindings hold them. A function that fails returns its
// error's text, which `aten_free_error` frees; one that succeeds returns null.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#ifdef WITH_CUDA
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace {

std::vector<at::Tensor> list(void* const* tensors, size_t count) {
  std::vector<at::Tensor> found;
  found.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    found.push_back(*static_cast<at::Tensor*>(tensors[i]));
  }
  return found;
}

const at::Tensor& tensor(void* pointer) {
  return *static_cast<at::Tensor*>(pointer);
}

template <typename Work>
char* guarded(Work&& work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an unknown C++ exception");
  }
}

}  // namespace

extern "C" {

void aten_free_error(char* text) {
  std::free(text);
}

char* aten_choose_deterministic_kernels(bool strictly) {
  return guarded([&] {
    // cuBLAS reads this with its first product.
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/!strictly);
    // Memory that is not written is not read either: filling it costs a kernel a tensor.
    at::globalContext().setDeterministicFillUninitializedMemory(false);
  });
}

char* aten_gradients(
    void* out, void* grad, void* const* inputs, size_t count, void** results) {
  return guarded([&] {
    auto grads = torch::autograd::grad(
        {tensor(out)}, list(inputs, count), {tensor(grad)},
        /*retain_graph=*/false, /*create_graph=*/false, /*allow_unused=*/false);
    for (size_t i = 0; i < count; ++i) {
      results[i] = new at::Tensor(std::move(grads[i]));
    }
  });
}

char* aten_norm(void* const* tensors, size_t count, void** result) {
  return guarded([&] {
    auto norms = at::_foreach_norm(list(tensors, count), 2, at::kDouble);
    *result = new at::Tensor(at::linalg_vector_norm(at::stack(norms)));
  });
}

char* aten_adamw(
    void* const* params, void* const* grads, void* const* first, void* const* second,
    size_t count, double rate, double beta1, double beta2, double weight_decay, double epsilon,
    double step, void* divisor, void* skipped) {
  return guarded([&] {
    auto weights = list(params, count);
    std::optional<at::Tensor> grad_scale, found_inf;
    if (divisor) {
      grad_scale = tensor(divisor);
      found_inf = tensor(skipped);
    }
    std::vector<at::Tensor> steps(count, at::full({}, step, weights.at(0).options()));
    at::_fused_adamw_(
        weights, list(grads, count), list(first, count), list(second, count), {}, steps, rate, beta1,
        beta2, weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false, grad_scale, found_inf);
  });
}

char* aten_copy_all(void* const* targets, void* const* sources, size_t count) {
  return guarded([&] { at::_foreach_copy_(list(targets, count), list(sources, count)); });
}

char* aten_upload(void* target, const void* host, int scalar_type) {
  return guarded([&] {
    auto& to = tensor(target);
    auto from = at::from_blob(
        const_cast<void*>(host), to.sizes(), static_cast<at::ScalarType>(scalar_type));
    // From pinned memory the copy is queued and not waited for.
    to.copy_(to.is_cuda() ? from.pin_memory() : from, /*non_blocking=*/to.is_cuda());
  });
}

#ifdef WITH_CUDA

struct Graph {
  at::cuda::CUDAGraph graph;
};

// Work goes to another stream than that of all else while it is captured, as it must.
struct Capture {
  Capture(int index)
      : device(c10::cuda::current_device()), stream(c10::cuda::getCurrentCUDAStream(index)) {
    c10::cuda::set_device(index);
    c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, index));
  }

  ~Capture() {
    c10::cuda::setCurrentCUDAStream(stream);
    c10::cuda::set_device(device);
  }

  std::unique_ptr<Graph> graph = std::make_unique<Graph>();
  c10::DeviceIndex device;
  c10::cuda::CUDAStream stream;
};

bool aten_has_graphs() {
  return true;
}

char* aten_capture_begin(int device, Graph* shares, Capture** capture) {
  return guarded([&] {
    auto begun = std::make_unique<Capture>(device);
    // All that was asked for before.
    c10::cuda::device_synchronize();
    if (!shares) {
      // What was computed kernel by kernel kept memory that the graphs need.
      c10::cuda::CUDACachingAllocator::emptyCache();
    }
    auto pool = shares ? shares->graph.pool() : at::cuda::MempoolId_t{0, 0};
    begun->graph->graph.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    *capture = begun.release();
  });
}

char* aten_capture_end(Capture* capture, Graph** graph) {
  std::unique_ptr<Capture> ended(capture);
  return guarded([&] {
    ended->graph->graph.capture_end();
    *graph = ended->graph.release();
  });
}

char* aten_replay(Graph* graph) {
  return guarded([&] { graph->graph.replay(); });
}

void aten_free_graph(Graph* graph) {
  guarded([&] { delete graph; });
}

char* aten_peak_memory(int device, int64_t* bytes) {
  return guarded([&] {
    constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    *bytes = c10::cuda::CUDACachingAllocator::getDeviceStats(device).reserved_bytes[all].peak;
  });
}

#else

bool aten_has_graphs() {
  return false;
}

char* aten_capture_begin(int, void*, void**) {
  return strdup("built without CUDA");
}

char* aten_capture_end(void*, void**) {
  return strdup("built without CUDA");
}

char* aten_replay(void*) {
  return strdup("built without CUDA");
}

void aten_free_graph(void*) {}

char* aten_peak_memory(int, int64_t*) {
  return strdup("built without CUDA");
}

#endif

}  // extern "C"
