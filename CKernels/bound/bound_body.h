// Bounds, written once; bound_<level>.c compiles them for its level.
//
// The bits of a number without its sign order as its magnitude does, infinities above all finite
// numbers and NaNs above those: the maximum of integers finds all three in any order, so tiles may
// be looked at by whoever comes to them.
#include <math.h>
#include <string.h>

#include "../core/ck_rows.h"
#include "ck_bound.h"

typedef uint32_t bound_lanes __attribute__((vector_size(64)));

CK_INLINE bound_lanes greater_of(bound_lanes a, bound_lanes b) {
  const bound_lanes above = (bound_lanes)(a > b);
  return (a & above) | (b & ~above);
}

/// The greatest magnitude of `count` elements of f32, as bits.
CK_INLINE uint32_t greatest_f32(const float *x, int64_t count) {
  bound_lanes m[4] = {{0}, {0}, {0}, {0}};
  const bound_lanes magnitude = (bound_lanes){0} + 0x7fffffffu;
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    for (int j = 0; j < 4; ++j) {
      bound_lanes v;
      memcpy(&v, x + i + 16 * j, sizeof v);
      m[j] = greater_of(m[j], v & magnitude);
    }
  }
  for (; i + 16 <= count; i += 16) {
    bound_lanes v;
    memcpy(&v, x + i, sizeof v);
    m[0] = greater_of(m[0], v & magnitude);
  }
  const bound_lanes all = greater_of(greater_of(m[0], m[1]), greater_of(m[2], m[3]));
  uint32_t greatest = 0;
  for (int j = 0; j < 16; ++j) greatest = all[j] > greatest ? all[j] : greatest;
  for (; i < count; ++i) {
    uint32_t bits;
    memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffffu;
    greatest = bits > greatest ? bits : greatest;
  }
  return greatest;
}

/// The same of bf16, whose bits are the upper half of those of f32.
CK_INLINE uint32_t greatest_bf16(const uint16_t *x, int64_t count) {
  uint16_t lanes[32] = {0};
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    for (int j = 0; j < 32; ++j) {
      const uint16_t bits = x[i + j] & 0x7fff;
      lanes[j] = bits > lanes[j] ? bits : lanes[j];
    }
  }
  uint16_t greatest = 0;
  for (int j = 0; j < 32; ++j) greatest = lanes[j] > greatest ? lanes[j] : greatest;
  for (; i < count; ++i) {
    const uint16_t bits = x[i] & 0x7fff;
    greatest = bits > greatest ? bits : greatest;
  }
  return (uint32_t)greatest << 16;
}

CK_INLINE float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static int64_t tile_count(const ck_bound_args *a) {
  int64_t tiles = 0;
  for (int32_t n = 0; n < a->arrays; ++n) tiles += ck_bound_tiles(&ck_bound_arrays(a)[n]);
  return tiles;
}

/// The magnitudes of the tiles [begin, end) of all arrays' tiles.
CK_INLINE void look_at_tiles(const ck_bound_args *a, int64_t begin, int64_t end) {
  int64_t first = 0;
  for (int32_t n = 0; n < a->arrays && first < end; ++n) {
    const ck_bound_array *x = &ck_bound_arrays(a)[n];
    const int64_t tiles = ck_bound_tiles(x);
    const int64_t from = begin > first ? begin - first : 0;
    const int64_t to = end - first < tiles ? end - first : tiles;
    for (int64_t tile = from; tile < to; ++tile) {
      const int64_t start = tile * CK_BOUND_TILE;
      const int64_t left = x->count - start;
      const int64_t count = left < CK_BOUND_TILE ? left : CK_BOUND_TILE;
      a->workspace[first + tile] = x->dtype == CK_BF16
                                       ? greatest_bf16((const uint16_t *)x->data + start, count)
                                       : greatest_f32((const float *)x->data + start, count);
    }
    first += tiles;
  }
}

/// The bound, from those of the tiles; those of the arrays are put behind them.
CK_INLINE float bound_of(const ck_bound_args *a, int64_t tiles) {
  uint32_t greatest = 0;
  uint32_t *own = a->workspace + tiles;
  const uint32_t *next = a->workspace;
  for (int32_t n = 0; n < a->arrays; ++n) {
    const ck_bound_array *x = &ck_bound_arrays(a)[n];
    own[n] = 0;
    for (int64_t left = ck_bound_tiles(x); left > 0; --left, ++next) {
      own[n] = *next > own[n] ? *next : own[n];
    }
    if (x->is_plain && own[n] > greatest) greatest = own[n];
  }
  for (int32_t n = 0; n < a->products; ++n) {
    const ck_bound_product *p = &ck_bound_products(a)[n];
    // In double, which no product of two numbers of f32 leaves; rounded to f32 at the end.
    const float product =
        (float)(p->terms * (double)from_bits(own[p->a]) * (double)from_bits(own[p->b]));
    uint32_t bits;
    memcpy(&bits, &product, sizeof bits);
    bits &= 0x7fffffffu;
    greatest = bits > greatest ? bits : greatest;
  }
  return from_bits(greatest);
}

void CK_NAME(ck_magnitude)(const void *args, const ck_thread *t) {
  const ck_bound_args *a = args;
  const int64_t tiles = tile_count(a);
  int64_t begin, end;
  ck_share(tiles, t, &begin, &end);
  look_at_tiles(a, begin, end);
  ck_barrier(t);
  if (t->index == 0) *a->out = bound_of(a, tiles);
}

// MARK: The norm

/// Σ x² of `count` elements, in f32.
CK_INLINE float squares_of(const void *x, int64_t count, ck_dtype type) {
  ck_v16f sums[4] = {0};
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= count; i += 4 * CK_LANES) {
    for (int j = 0; j < 4; ++j) {
      const ck_v16f v = load_lanes(x, i + j * CK_LANES, CK_LANES, type);
      sums[j] = ck_fma(v, v, sums[j]);
    }
  }
  for (; i < count; i += CK_LANES) {
    const ck_v16f v = load_lanes(x, i, lanes_left(count - i), type);
    sums[0] = ck_fma(v, v, sums[0]);
  }
  return ck_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// The same in double, which no square of an f32 leaves.
static __attribute__((noinline)) double wide_squares_of(const void *x, int64_t count,
                                                        ck_dtype type) {
  double sums[CK_LANES] = {0};
  for (int64_t i = 0; i < count; i += CK_LANES) {
    const ck_v16f v = load_any(x, i, lanes_left(count - i), type);
    for (int j = 0; j < CK_LANES; ++j) sums[j] += (double)v[j] * (double)v[j];
  }
  double sum = 0;
  for (int j = 0; j < CK_LANES; ++j) sum += sums[j];
  return sum;
}

/// The squares of the tiles [begin, end) of all arrays' tiles.
CK_INLINE void square_tiles(const ck_bound_args *a, int64_t begin, int64_t end, bool is_wide) {
  double *sums = (double *)a->workspace;
  int64_t first = 0;
  for (int32_t n = 0; n < a->arrays && first < end; ++n) {
    const ck_bound_array *x = &ck_bound_arrays(a)[n];
    const ck_dtype type = (ck_dtype)x->dtype;
    const int64_t tiles = ck_bound_tiles(x);
    const int64_t from = begin > first ? begin - first : 0;
    const int64_t to = end - first < tiles ? end - first : tiles;
    for (int64_t tile = from; tile < to; ++tile) {
      const int64_t start = tile * CK_BOUND_TILE;
      const int64_t left = x->count - start;
      const int64_t count = left < CK_BOUND_TILE ? left : CK_BOUND_TILE;
      const void *data = (const char *)x->data + start * (int64_t)ck_dtype_bytes(type);
      sums[first + tile] = is_wide           ? wide_squares_of(data, count, type)
                           : type == CK_BF16 ? squares_of(data, count, CK_BF16)
                                             : squares_of(data, count, CK_F32);
    }
    first += tiles;
  }
}

static double sum_of_tiles(const ck_bound_args *a, int64_t tiles) {
  const double *sums = (const double *)a->workspace;
  double sum = 0;
  for (int64_t i = 0; i < tiles; ++i) sum += sums[i];
  return sum;
}

void CK_NAME(ck_norm_of_arrays)(const void *args, const ck_thread *t) {
  const ck_bound_args *a = args;
  const int64_t tiles = tile_count(a);
  int64_t begin, end;
  ck_share(tiles, t, &begin, &end);
  square_tiles(a, begin, end, false);
  ck_barrier(t);
  // Every thread sees the same sum, and so takes the same way.
  double sum = sum_of_tiles(a, tiles);
  if (!(sum >= 0x1p-60 && sum <= 0x1p+126)) {
    ck_barrier(t);
    square_tiles(a, begin, end, true);
    ck_barrier(t);
    sum = sum_of_tiles(a, tiles);
  }
  if (t->index == 0) *a->out = (float)sqrt(sum);
}
