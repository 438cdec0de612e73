// One pixel of an augmented picture: which source shows there, sampled bilinearly, and its colours changed.
//
// Compiled by the host's compiler (sample.cpp) and at run time by NVRTC, both without fused multiply and add, so that a
// CPU and a GPU compute the same. Mirrors layout.rs.
#ifdef __CUDACC_RTC__
#define YF_FN __device__ __forceinline__
#else
#include <cmath>
#define YF_FN static inline
#endif

typedef unsigned int u32;
typedef long long i64;

// One source picture. Coordinates are pixels, index 0 is x and 1 is y.
struct Tile {
  i64 base;          // where the word of the source's pixel (0, 0) would lie
  double scale[2];   // source = scale * output + offset, both continuous: pixel i covers i..i+1
  double offset[2];
  double ir_shift[2]; // infrared's source has this added, in pixels
  int stride;        // words a row of the source
  int from[2];       // output pixels that show this source: from..to
  int to[2];
  int low[2];        // source pixels that are there: low..=high
  int high[2];
  int unused;
};

// One output picture; a pixel that no tile shows is border.
struct Plan {
  Tile tiles[4];
  float hsv[3];      // factors on hue, saturation, value
  float ir_gain;     // infrared becomes gain * ir + level
  float ir_level;
  int dead;          // which camera is dead in this picture, where both are seen
};

struct Pixel {
  float rgb[3];
  float ir;
};

// How values are stored.
enum Kind { FLOAT = 0, HALF = 1, BFLOAT16 = 2 };
// Which camera is dead: its picture is border everywhere.
enum Dead { NONE = 0, RGB = 1, IR = 2 };

#define BORDER (114.0f / 255.0f)

YF_FN float least(float a, float b) { return a < b ? a : b; }
YF_FN float most(float a, float b) { return a > b ? a : b; }
YF_FN float within_unit(float x) { return least(most(x, 0.0f), 1.0f); }

// The two source pixels about an output pixel's centre, and the weight of the second.
struct Taps {
  int first, second;
  float weight;
};

YF_FN Taps taps(const Tile& tile, int axis, int pixel, double offset) {
  double at = tile.scale[axis] * (pixel + 0.5) + offset - 0.5;
  // Beyond the outermost centres the edge pixel goes on.
  at = at < tile.low[axis] ? tile.low[axis] : at;
  at = at > tile.high[axis] ? tile.high[axis] : at;
  Taps found;
  found.first = (int)floor(at);
  found.second = found.first < tile.high[axis] ? found.first + 1 : found.first;
  found.weight = (float)(at - found.first);
  return found;
}

YF_FN float channel(u32 word, int byte) { return (float)((word >> (8 * byte)) & 255u); }

YF_FN float mixed(float a, float b, float weight) { return a + weight * (b - a); }

YF_FN Pixel bilinear(const u32* words, const Tile& tile, int x, int y) {
  Taps column = taps(tile, 0, x, tile.offset[0]), row = taps(tile, 1, y, tile.offset[1]);
  i64 upper = tile.base + (i64)row.first * tile.stride, lower = tile.base + (i64)row.second * tile.stride;
  u32 a = words[upper + column.first], b = words[upper + column.second];
  u32 c = words[lower + column.first], d = words[lower + column.second];
  float values[4];
  for (int byte = 0; byte < 4; ++byte) {
    float over = mixed(channel(a, byte), channel(b, byte), column.weight);
    float under = mixed(channel(c, byte), channel(d, byte), column.weight);
    values[byte] = mixed(over, under, row.weight) / 255.0f;
  }
  return Pixel{{values[0], values[1], values[2]}, values[3]};
}

// The infrared level where that camera looks a little aside.
YF_FN float shifted_infrared(const u32* words, const Tile& tile, int x, int y) {
  Taps column = taps(tile, 0, x, tile.offset[0] + tile.ir_shift[0]);
  Taps row = taps(tile, 1, y, tile.offset[1] + tile.ir_shift[1]);
  i64 upper = tile.base + (i64)row.first * tile.stride, lower = tile.base + (i64)row.second * tile.stride;
  float over = mixed(channel(words[upper + column.first], 3), channel(words[upper + column.second], 3), column.weight);
  float under = mixed(channel(words[lower + column.first], 3), channel(words[lower + column.second], 3), column.weight);
  return mixed(over, under, row.weight) / 255.0f;
}

// Multiplies hue (which wraps), saturation and value (which stop at 1).
YF_FN void change_colour(float rgb[3], const float factors[3]) {
  if (factors[0] == 1.0f && factors[1] == 1.0f && factors[2] == 1.0f) return;
  float red = rgb[0], green = rgb[1], blue = rgb[2];
  float value = most(most(red, green), blue);
  float chroma = value - least(least(red, green), blue);
  // Hue in sixths of a turn; 0 on grey.
  float divisor = most(chroma, 1e-6f);
  float hue = red == value ? (green - blue) / divisor
                           : green == value ? (blue - red) / divisor + 2.0f : (red - green) / divisor + 4.0f;
  if (hue < 0.0f) hue += 6.0f;
  hue *= factors[0];
  hue -= 6.0f * floorf(hue / 6.0f);
  float saturation = least(chroma / most(value, 1e-6f) * factors[1], 1.0f);
  value = least(value * factors[2], 1.0f);
  chroma = saturation * value;
  float low = value - chroma;
  // Each primary is full within one sixth of a turn of its own hue and gone beyond two.
  rgb[0] = within_unit(fabsf(hue - 3.0f) - 1.0f) * chroma + low;
  rgb[1] = within_unit(2.0f - fabsf(hue - 2.0f)) * chroma + low;
  rgb[2] = within_unit(2.0f - fabsf(hue - 4.0f)) * chroma + low;
}

YF_FN Pixel sampled(const u32* words, const Plan& plan, int x, int y, int dead) {
  Pixel pixel = {{BORDER, BORDER, BORDER}, BORDER};
  for (int t = 0; t < 4; ++t) {
    const Tile& tile = plan.tiles[t];
    if (x >= tile.from[0] && x < tile.to[0] && y >= tile.from[1] && y < tile.to[1]) {
      pixel = bilinear(words, tile, x, y);
      if (tile.ir_shift[0] != 0.0 || tile.ir_shift[1] != 0.0) pixel.ir = shifted_infrared(words, tile, x, y);
      break;
    }
  }
  change_colour(pixel.rgb, plan.hsv);
  if (plan.ir_gain != 1.0f || plan.ir_level != 0.0f)
    pixel.ir = within_unit(pixel.ir * plan.ir_gain + plan.ir_level);
  if (dead == NONE) dead = plan.dead;
  if (dead == RGB) pixel.rgb[0] = pixel.rgb[1] = pixel.rgb[2] = BORDER;
  if (dead == IR) pixel.ir = BORDER;
  return pixel;
}

YF_FN u32 bits_of(float x) {
  union { float value; u32 bits; } both;
  both.value = x;
  return both.bits;
}

// fp16 of a number from 0 to 1, to nearest even.
YF_FN u32 half_bits(float x) {
  u32 bits = bits_of(x);
  if (bits < 0x38800000u) {
    // Below 2^-14 a half is a multiple of 2^-24; adding 0.5 leaves that multiple in the lowest bits.
    return bits_of(x + 0.5f) - 0x3f000000u;
  }
  return (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
}

YF_FN u32 bfloat_bits(float x) {
  u32 bits = bits_of(x);
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

#ifdef __CUDACC_RTC__

// Four neighbouring pixels a thread: their three equal channels of one camera, side by side.
__device__ __forceinline__ void store(void* out, i64 pixel, const float v[12], int kind) {
  if (kind == FLOAT) {
    float4* to = (float4*)((float*)out + 3 * pixel);
    for (int i = 0; i < 3; ++i) to[i] = make_float4(v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]);
    return;
  }
  u32 w[6];
  for (int i = 0; i < 6; ++i)
    w[i] = kind == HALF ? half_bits(v[2 * i]) | half_bits(v[2 * i + 1]) << 16
                        : bfloat_bits(v[2 * i]) | bfloat_bits(v[2 * i + 1]) << 16;
  uint2* to = (uint2*)((unsigned short*)out + 3 * pixel);
  for (int i = 0; i < 3; ++i) to[i] = make_uint2(w[2 * i], w[2 * i + 1]);
}

// grid: (size * size / 4 / threads, rounded up; pictures). rgb and ir: [pictures, size, size, 3], size a multiple of 4.
extern "C" __global__ void yf_sample(const u32* __restrict__ words, const u32* __restrict__ plans, void* rgb, void* ir,
                                     int size, int kind, int dead) {
  __shared__ __align__(8) u32 copy[sizeof(Plan) / 4];
  const u32* own = plans + (i64)blockIdx.y * (sizeof(Plan) / 4);
  for (int i = threadIdx.x; i < (int)(sizeof(Plan) / 4); i += blockDim.x) copy[i] = own[i];
  __syncthreads();
  const Plan& plan = *(const Plan*)copy;
  int first = 4 * (int)(blockIdx.x * blockDim.x + threadIdx.x);
  if (first >= size * size) return;
  int x = first % size, y = first / size;
  float colours[12], heat[12];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    Pixel pixel = sampled(words, plan, x + i, y, dead);
    for (int c = 0; c < 3; ++c) {
      colours[3 * i + c] = pixel.rgb[c];
      heat[3 * i + c] = pixel.ir;
    }
  }
  i64 at = (i64)blockIdx.y * size * size + first;
  store(rgb, at, colours, kind);
  store(ir, at, heat, kind);
}

#endif
