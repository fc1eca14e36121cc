// The list of all kernels.

#include "exports.hpp"

static const Exported* first = nullptr;

Exported::Exported(const char* name, const char* parameters, void* function)
    : name(name), parameters(parameters), function(function), next(first) {
    first = this;
}

extern "C" const Exported* first_kernel() { return first; }
