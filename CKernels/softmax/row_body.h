// What softmax and cross-entropy do alike with a row: its greatest element, and the sum of
// exponentials below it. Four accumulators of 16 lanes, combined in a fixed tree.
//
// A row's end is a partial vector; lanes past it are neutral. While exponentials are computed the
// next row is fetched: memory would else stand still as long as the arithmetic takes.
#include "ck_softmax.h"

#include "../core/ck_math.h"
#include "../core/ck_rows.h"

/// v in the first `count` lanes, `other` in the rest.
CK_INLINE ck_v16f keep_lanes(ck_v16f v, int count, float other) {
  return ck_select(ck_lanes() < ck_splat_i32(count), v, ck_splat(other));
}

/// Whether a result of such rows, one of them `stride` after the other, is written past the cache.
/// `input`: what is read; where the result goes there its lines are in the cache anyway.
CK_INLINE bool rows_stream(const void *out, const void *input, int64_t rows, int64_t cols,
                           int64_t stride, ck_dtype type) {
  return CK_HAS_AVX2 && out != input && stride % CK_LANES == 0 &&
         ck_streams_rows(out, rows, cols, (int64_t)ck_dtype_bytes(type));
}

/// max_c x_c, NaN elements passed over; -Inf for an empty row.
CK_INLINE float row_max(const void *x, int64_t n, ck_dtype type) {
  ck_v16f m[4] = {ck_splat(-INFINITY), ck_splat(-INFINITY), ck_splat(-INFINITY),
                  ck_splat(-INFINITY)};
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
    for (int j = 0; j < 4; ++j) {
      m[j] = ck_max_second(load_lanes(x, i + j * CK_LANES, CK_LANES, type), m[j]);
    }
  }
  for (; i + CK_LANES <= n; i += CK_LANES) {
    m[0] = ck_max_second(load_lanes(x, i, CK_LANES, type), m[0]);
  }
  if (i < n) {
    const int count = (int)(n - i);
    m[1] = ck_max_second(keep_lanes(load_lanes(x, i, count, type), count, -INFINITY), m[1]);
  }
  return ck_highest(ck_max_second(ck_max_second(m[0], m[1]), ck_max_second(m[2], m[3])));
}

/// e^d for d <= 0, within 2 units of the last place down to -20 and 5 below; a NaN stays one. No
/// overflow, and fewer multiplications than ck_vexp: with d = (k / 16) ln 2 + r, |r| <= ln 2 / 32,
/// 2^(k / 16), by a table of sixteen, times e^r, a cubic (Tang, "Table-driven implementation of the
/// exponential function in IEEE floating-point arithmetic", 1989). ln 2 is one float: what that
/// costs is less than what rounding x - m to d does.
#if CK_HAS_AVX2
CK_INLINE
#else
// Out of line: at `ref` each multiply-add is sixteen calls.
static __attribute__((noinline, unused))
#endif
ck_v16f exp_falling(ck_v16f d) {
  // Sums with it are rounded to a sixteenth, and k stands in their low bits.
  const ck_v16f magic = ck_splat(0x1.8p19f);
  const ck_v16f shifted = ck_fma(d, ck_splat(0x1.715476p+0f), magic);
  const ck_v16f r = ck_fnma(shifted - magic, ck_splat(0x1.62e430p-1f), d);
  const ck_v16f power = ck_exp2_sixteenths(shifted);
  const ck_v16f cubic = ck_fma(r, ck_splat(0x1.555556p-3f), ck_splat(0.5f));
  const ck_v16f y = ck_fma(power, ck_fma(r * r, cubic, r), power);
  // Below the least normal number 0; false for a NaN.
  return ck_select(d < -0x1.5d589ep+6f, ck_splat(0), y);
}

/// e^x of any x, out of line at `ref` for the same reason.
#if CK_HAS_AVX2
CK_INLINE
#else
static __attribute__((noinline, unused))
#endif
ck_v16f exp_any(ck_v16f x) { return ck_vexp(x); }

/// Σ_c exp(x_c - m), each exponential also stored to `out` where that is not NULL (it may be an x
/// of f32). Meanwhile the row at `next` is fetched, which need not be there.
CK_INLINE float row_exp_sum(float *out, const void *x, float highest, int64_t n, const void *next,
                            ck_dtype type) {
  const ck_v16f m = ck_splat(highest);
  ck_v16f sums[4] = {0};
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
    for (int j = 0; j < 4; ++j) {
      const int64_t at = i + j * CK_LANES;
      __builtin_prefetch(row_of(next, 1, at, type), 0, 3);
      const ck_v16f e = exp_falling(load_lanes(x, at, CK_LANES, type) - m);
      sums[j] += e;
      if (out != NULL) ck_store(out + at, e);
    }
  }
  for (; i + CK_LANES <= n; i += CK_LANES) {
    const ck_v16f e = exp_falling(load_lanes(x, i, CK_LANES, type) - m);
    sums[0] += e;
    if (out != NULL) ck_store(out + i, e);
  }
  if (i < n) {
    const int count = (int)(n - i);
    const ck_v16f e = exp_falling(load_lanes(x, i, count, type) - m);
    sums[0] += keep_lanes(e, count, 0);
    if (out != NULL) store_lanes(out, i, e, count, CK_F32, false);
  }
  return ck_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}
