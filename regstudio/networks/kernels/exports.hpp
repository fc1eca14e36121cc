// How Python finds the kernels. `EXPORT(gate);` after the definition of `gate` puts it into a list, with the types of its
// parameters, so that a signature is written once. An exported kernel returns an error code; no exception leaves it.

#pragma once

#include <cstdint>
#include <new>
#include <type_traits>

// One item of the list. library.py reads it: the layout is the same there.
struct Exported {
    const char* name;
    const char* parameters;  // a letter each, as in Python's struct module
    void* function;
    const Exported* next;

    Exported(const char* name, const char* parameters, void* function);
};

namespace {

enum Outcome { DONE, OUT_OF_MEMORY, FAILED };

template <class T>
constexpr char letter() {
    if constexpr (std::is_pointer_v<T>) return 'P';
    if constexpr (std::is_same_v<T, int64_t>) return 'q';
    if constexpr (std::is_same_v<T, int>) return 'i';
    if constexpr (std::is_same_v<T, float>) return 'f';
    if constexpr (std::is_same_v<T, bool>) return '?';
}

template <auto kernel>
struct Export;

template <class... Parameters, void (*kernel)(Parameters...)>
struct Export<kernel> {
    static constexpr char parameters[] = {letter<Parameters>()..., 0};

    static int call(Parameters... values) noexcept {
        try {
            kernel(values...);
            return DONE;
        } catch (const std::bad_alloc&) {
            return OUT_OF_MEMORY;
        } catch (...) {
            return FAILED;
        }
    }
};

}  // namespace

#define EXPORT(kernel)                                                                   \
    static const Exported exported_##kernel(#kernel, Export<kernel>::parameters,         \
                                            reinterpret_cast<void*>(Export<kernel>::call))
