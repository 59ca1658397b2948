// The tile of convolutions whose result has few channels, written once; conv_few_<level>.c compiles
// it for its level. The including file defines `vec` (a vector of floats), VECTOR (its length),
// SUMS (that registers hold), WIDEST (vectors of places that one row takes), and what
// gemm_pack.inc.h needs.
#include "../gemm/gemm_pack.inc.h"
#include "conv_few.h"

#define INLINE static inline __attribute__((always_inline))
#define AHEAD 24  // places
#define UNROLLED _Pragma("clang loop unroll(full)")

/// NV vectors of places. A step loads each once, for ROWS multiply-adds.
INLINE void places(const few_tile *t, const int ROWS, const int NV, int64_t place) {
  vec sum[FEW_CHANNELS][FEW_VECTORS];
  UNROLLED for (int i = 0; i < ROWS; i++) UNROLLED for (int v = 0; v < NV; v++) sum[i][v] =
      (vec)0.0f;
  const int64_t b_row = t->b_row;
  for (int64_t s = 0; s < t->segment_count; s++) {
    const float *a = t->a + t->segments[s].a, *b = t->b + t->segments[s].b + place;
    for (int64_t p = t->K; p > 0; p--) {
      vec weight[FEW_CHANNELS];
      UNROLLED for (int i = 0; i < ROWS; i++) weight[i] = (vec)a[i];
      UNROLLED for (int v = 0; v < NV; v++) {
        const vec x = load(b + v * VECTOR);
        UNROLLED for (int i = 0; i < ROWS; i++) sum[i][v] =
            __builtin_elementwise_fma(x, weight[i], sum[i][v]);
      }
      a += ROWS;
      b += b_row;
    }
  }
  float *c = t->c + place;
  UNROLLED for (int i = 0; i < ROWS; i++) UNROLLED for (int v = 0; v < NV; v++)
      store(c + i * t->c_row + v * VECTOR, sum[i][v]);
}

/// So many channels: the vectors of places in nearly equal parts.
INLINE void channels(const few_tile *t, const int ROWS) {
  const int most = SUMS / ROWS < WIDEST ? SUMS / ROWS : WIDEST;
  const int64_t parts = ceiling(t->vectors, most);
  for (int64_t i = 0; i < parts; i++) {
    const int64_t first = tile_begin(t->vectors, parts, i);
    const int64_t count = tile_begin(t->vectors, parts, i + 1) - first, place = first * VECTOR;
    if (count == 1) places(t, ROWS, 1, place);
    if (count == 2 && 2 <= most) places(t, ROWS, 2, place);
    if (count == 3 && 3 <= most) places(t, ROWS, 3, place);
    if (count == 4 && 4 <= most) places(t, ROWS, 4, place);
    if (count == 5 && 5 <= most) places(t, ROWS, 5, place);
    if (count == 6 && 6 <= most) places(t, ROWS, 6, place);
    if (count == 7 && 7 <= most) places(t, ROWS, 7, place);
    if (count == 8 && 8 <= most) places(t, ROWS, 8, place);
  }
}

static void tile(const few_tile *t) {
  switch (t->rows) {
    case 1:
      return channels(t, 1);
    case 2:
      return channels(t, 2);
    case 3:
      return channels(t, 3);
    case 4:
      return channels(t, 4);
    case 5:
      return channels(t, 5);
    case 6:
      return channels(t, 6);
    case 7:
      return channels(t, 7);
    default:
      return channels(t, 8);
  }
}

/// Eight places at a time, in each all channels, so that the source is read in its order.
static void turn(float *to, int64_t pitch, int64_t places, int64_t depth, const float *from) {
  if (places < 8) {
    for (int64_t m = 0; m < depth; m++)
      for (int64_t i = 0; i < places; i++) to[m * pitch + i] = from[i * depth + m];
    return;
  }
  for (int64_t first = 0; first < places; first += 8) {
    const int64_t i = least(first, places - 8);
    const float *in[8];
    UNROLLED for (int l = 0; l < 8; l++) in[l] = from + (i + l) * depth;
    for (int64_t p = 0; p < depth; p += 8) {
      const int64_t m = least(p, depth - 8);
      UNROLLED for (int l = 0; l < 8; l += 2) __builtin_prefetch(in[l] + m + AHEAD * depth);
      transpose8(to + m * pitch + i, pitch, in, m);
    }
  }
}

#undef INLINE
#undef UNROLLED
#undef AHEAD
