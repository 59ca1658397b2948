// Bounds, written once; bound_<level>.c compiles them for its level.
//
// The bits of a number without its sign order as its magnitude does, infinities above all finite
// numbers and NaNs above those: the maximum of integers finds all three in any order, so tiles may
// be looked at by whoever comes to them.
#include <string.h>

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
  const int64_t tiles = (int64_t)(ck_bound_workspace_bytes(a) / sizeof(uint32_t)) - a->arrays;
  int64_t begin, end;
  ck_share(tiles, t, &begin, &end);
  look_at_tiles(a, begin, end);
  ck_barrier(t);
  if (t->index == 0) *a->out = bound_of(a, tiles);
}
