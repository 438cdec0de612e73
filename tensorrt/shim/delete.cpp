// The tables of TensorRT's base classes name these functions. Nothing calls them, since every class of the shim has
// its own, but the linker wants them, and a C++ library for them alone is no bargain.
#include <cstddef>
#include <cstdlib>

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
