// The pixels of sample.h on a CPU.
#include "sample.h"

static void store(void* out, i64 at, float value, int kind) {
  if (kind == FLOAT) static_cast<float*>(out)[at] = value;
  else static_cast<unsigned short*>(out)[at] = static_cast<unsigned short>(kind == HALF ? half_bits(value) : bfloat_bits(value));
}

// Rows first..last of one picture, into [size, size, 3] of each camera.
extern "C" void yf_sample_rows(const u32* words, const Plan* plan, void* rgb, void* ir, int size, int kind, int dead,
                               int first, int last) {
  for (int y = first; y < last; ++y) {
    for (int x = 0; x < size; ++x) {
      Pixel pixel = sampled(words, *plan, x, y, dead);
      i64 at = 3 * ((i64)y * size + x);
      for (int c = 0; c < 3; ++c) {
        store(rgb, at + c, pixel.rgb[c], kind);
        store(ir, at + c, pixel.ir, kind);
      }
    }
  }
}
