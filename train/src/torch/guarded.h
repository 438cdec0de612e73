// How C++ answers Rust: null, or a message that yf_free frees.
#pragma once
#include <c10/util/Exception.h>

#include <cstring>
#include <exception>

template <class F>
static char* guarded(F&& body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& e) {
    return strdup(e.what_without_backtrace());
  } catch (const std::exception& e) {
    return strdup(e.what());
  } catch (...) {
    return strdup("unknown C++ exception");
  }
}
