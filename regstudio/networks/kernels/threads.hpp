// Memory, and what each thread does. Sums are taken in an order that depends on nothing but the number of threads.

#pragma once

#include <cstdlib>
#include <exception>
#include <new>

#include <omp.h>

#include "vectors.hpp"

namespace {

// Floats that start on a cache line of their own: zeros, or UNSET. Throws std::bad_alloc where there is no memory.
class Buffer {
  public:
    enum Start { ZEROS, UNSET };

    explicit Buffer(int64_t count, Start start = ZEROS)
        : floats(static_cast<float*>(std::aligned_alloc(64, (sizeof(float) * count + 127) / 64 * 64))) {
        if (!floats) throw std::bad_alloc();
        if (start == ZEROS) memset(floats, 0, sizeof(float) * count);
    }
    ~Buffer() { std::free(floats); }
    Buffer(const Buffer&) = delete;
    operator float*() const { return floats; }

  private:
    float* floats;
};

struct Share {
    int64_t first, end;
};

// What thread `thread` of `threads` does of `count` things.
inline Share share(int64_t count, int thread, int threads) {
    return {count * thread / threads, count * (thread + 1) / threads};
}

// Call f(thread, threads) on `threads` threads at once. No exception may leave a thread; the last one is thrown from here.
template <class F>
void on_threads(int threads, F f) {
    std::exception_ptr error;
#pragma omp parallel num_threads(threads)
    try {
        f(omp_get_thread_num(), omp_get_num_threads());
    } catch (...) {
#pragma omp critical
        error = std::current_exception();
    }
    if (error) std::rethrow_exception(error);
}

// to += the sums of all threads, in their order
inline void add_up(int64_t count, int threads, const float* parts, int64_t stride, float* to) {
    for (int thread = 0; thread < threads; thread++)
        for (int64_t i = 0; i < count; i++) to[i] += parts[thread * stride + i];
}

}  // namespace
