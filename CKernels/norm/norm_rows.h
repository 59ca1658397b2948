// Two vectors of a row at a time, and a row's statistics.
//
// Element types are constants at every call, as in ck_rows.h. What they change beside loads and
// stores is the order of a row's sums alone.
#ifndef CK_NORM_ROWS_H
#define CK_NORM_ROWS_H

#include "../core/ck_rows.h"

#if CK_HAS_AVX512
/// 16 of 32 bf16, from `first` on (0 or 16), widened in one instruction.
CK_INLINE ck_v16f widen_half(__m512i all, short first) {
  const __m512i places = _mm512_set_epi16(15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7,
                                          0, 6, 0, 5, 0, 4, 0, 3, 0, 2, 0, 1, 0, 0, 0);
  return (ck_v16f)_mm512_maskz_permutexvar_epi16(
      0xaaaaaaaa, _mm512_add_epi16(places, _mm512_set1_epi16(first)), all);
}
#endif

/// 32 elements from i on.
CK_INLINE void load_two(ck_v16f v[2], const void *row, int64_t i, ck_dtype type) {
#if CK_HAS_AVX512
  if (type == CK_BF16) {
    const __m512i all = _mm512_loadu_si512((const char *)row + 2 * i);
    v[0] = widen_half(all, 0);
    v[1] = widen_half(all, CK_LANES);
    return;
  }
#endif
  v[0] = load_lanes(row, i, CK_LANES, type);
  v[1] = load_lanes(row, i + CK_LANES, CK_LANES, type);
}
CK_INLINE void store_two(void *row, int64_t i, const ck_v16f v[2], ck_dtype type, bool streams) {
#if CK_ROUNDS_BF16
  if (type == CK_BF16 && !streams) {
    const __m512i all = (__m512i)_mm512_cvtne2ps_pbh((__m512)v[1], (__m512)v[0]);
    _mm512_storeu_si512((char *)row + 2 * i, all);
    return;
  }
#endif
  store_lanes(row, i, v[0], CK_LANES, type, streams);
  store_lanes(row, i + CK_LANES, v[1], CK_LANES, type, streams);
}

/// The cache lines of 32 elements.
CK_INLINE void prefetch(const void *p, ck_dtype type) {
  __builtin_prefetch(p, 0, 2);
  if (type == CK_F32) __builtin_prefetch((const char *)p + 64, 0, 2);
}

/// v in the first `count` lanes, 0 in the rest.
CK_INLINE ck_v16f keep_lanes(ck_v16f v, int count) {
  if (count == CK_LANES) return v;
  return ck_select(ck_lanes() < ck_splat_i32(count), v, ck_splat(0));
}

/// 32 elements of bf16, those of even numbers and those of odd numbers.
CK_INLINE void load_pairs(const void *row, int64_t i, ck_v16f *even, ck_v16f *odd) {
  const ck_v16u pairs = *(const ck_v16u_any *)((const char *)row + 2 * i);
  *even = (ck_v16f)(pairs << 16);
  *odd = (ck_v16f)(pairs & 0xffff0000u);
}

/// 64 elements, each once. Those of bf16 come in pairs, which takes an instruction a vector: a sum
/// does not mind.
CK_INLINE void load_four(ck_v16f v[4], const void *row, int64_t i, ck_dtype type) {
  if (type == CK_BF16) {
    load_pairs(row, i, &v[0], &v[1]);
    load_pairs(row, i + 2 * CK_LANES, &v[2], &v[3]);
  } else {
    for (int j = 0; j < 4; ++j) v[j] = load_lanes(row, i + j * CK_LANES, CK_LANES, type);
  }
}

/// Σ d and Σ d², where d = x scale - middle; d = x scale and no sum unless `centered`.
typedef struct row_deviations {
  float sum, squares;
} row_deviations;

CK_INLINE row_deviations deviations_of(const void *x, float middle, int64_t n, float scale,
                                       bool centered, ck_dtype type) {
  const ck_v16f m = ck_splat(middle);
  ck_v16f sums[2] = {0}, squares[4] = {0}, v[4];
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
    load_four(v, x, i, type);
    for (int j = 0; j < 4; ++j) {
      const ck_v16f d = centered ? v[j] * scale - m : v[j] * scale;
      if (centered) sums[j & 1] += d;
      squares[j] = ck_fma(d, d, squares[j]);
    }
  }
  for (; i + CK_LANES <= n; i += CK_LANES) {
    const ck_v16f v = load_lanes(x, i, CK_LANES, type) * scale;
    const ck_v16f d = centered ? v - m : v;
    if (centered) sums[0] += d;
    squares[0] = ck_fma(d, d, squares[0]);
  }
  if (i < n) {
    const int count = (int)(n - i);
    const ck_v16f v = load_lanes(x, i, count, type) * scale;
    const ck_v16f d = centered ? keep_lanes(v - m, count) : v;
    if (centered) sums[0] += d;
    squares[0] = ck_fma(d, d, squares[0]);
  }
  const ck_v16f sum = sums[0] + sums[1];
  const ck_v16f square = (squares[0] + squares[1]) + (squares[2] + squares[3]);
  return (row_deviations){centered ? ck_sum(sum) : 0.0f, ck_sum(square)};
}

/// A row's mean, what rounding it has left out, and Σ (x - mean)² / C; the mean is 0 unless
/// `centered`. All are of x scale.
typedef struct row_moments {
  float mean, rest, variance;
  /// Whether the deviations were taken from a number that is no closer to the mean than they are:
  /// their squares have lost digits.
  bool is_off;
} row_moments;

/// In one pass: deviations are taken from a number near the mean, whose distance to it is then
/// known, from their sum, to more digits than either has (Chan, Golub, LeVeque, "Algorithms for
/// computing the sample variance", 1983).
CK_INLINE row_moments moments_of(const void *x, int64_t n, float middle, float scale, bool centered,
                                 ck_dtype type) {
  const row_deviations d = deviations_of(x, middle, n, scale, centered, type);
  const float each = 1.0f / (float)n;  // of all rows alike: divided once
  if (!centered) return (row_moments){0, 0, d.squares * each, false};
  const float shift = d.sum * each, lost = shift * d.sum, mean = middle + shift;
  return (row_moments){mean, shift - (mean - middle), (d.squares - lost) * each,
                       !(lost <= 0.5f * d.squares)};
}

/// The mean of the first elements: mostly near enough.
CK_INLINE float first_mean(const void *x, int64_t n, float scale, ck_dtype type) {
  if (n >= CK_LANES) return ck_sum(load_lanes(x, 0, CK_LANES, type) * scale) * (1.0f / CK_LANES);
  return ck_sum(load_lanes(x, 0, (int)n, type) * scale) / (float)n;
}

/// A row's mean (0 unless `centered`), what rounding it has left out, and 1 / sqrt(variance +
/// epsilon), which is 0 where both are.
typedef struct row_statistics {
  float mean, rest, rstd;
} row_statistics;

/// Statistics of x scale, where scale is 1 or a power of two that brings the row's greatest
/// magnitude near it, and those of x.
typedef struct careful_row {
  float scale;
  row_statistics scaled, own;
} careful_row;

/// Whether that is a sum of squares that were neither too great for f32 nor too small. Never for a
/// NaN.
CK_INLINE bool is_usual(float square) {
  uint32_t bits;
  memcpy(&bits, &square, sizeof bits);
  return bits - ((127u - 100) << 23) < ((127u + 100) << 23);
}

/// What makes the greatest magnitude of a row 1 to 2; 1 where that is 0 or not finite.
static float scale_of(const void *x, int64_t n, ck_dtype type) {
  ck_v16f most = ck_splat(0);
  for (int64_t i = 0; i < n; i += CK_LANES) {
    most = ck_max(most, ck_abs(load_any(x, i, lanes_left(n - i), type)));
  }
  float greatest = 0, scale = 1;
  for (int j = 0; j < CK_LANES; ++j) greatest = greatest > most[j] ? greatest : most[j];
  if (!(greatest > 0 && greatest <= 0x1.fffffep127f)) return 1;
  uint32_t bits;
  memcpy(&bits, &greatest, sizeof bits);
  // 2 to the power of minus the exponent: a normal number whatever the row.
  const uint32_t power = 254 - (bits >> 23);
  bits = (power < 1 ? 1 : power) << 23;
  memcpy(&scale, &bits, sizeof scale);
  return scale;
}

static row_moments any_moments(const void *x, int64_t n, float middle, float scale, bool centered,
                               ck_dtype type) {
  if (!centered && type == CK_BF16) return moments_of(x, n, middle, scale, false, CK_BF16);
  if (!centered) return moments_of(x, n, middle, scale, false, CK_F32);
  if (type == CK_BF16) return moments_of(x, n, middle, scale, true, CK_BF16);
  return moments_of(x, n, middle, scale, true, CK_F32);
}

/// The same with the deviations taken again, from the mean, where they were off: a row of equal
/// numbers has deviations and a variance of exactly 0.
static row_moments settled_moments(const void *x, int64_t n, float scale, bool centered,
                                   ck_dtype type) {
  if (!centered) return any_moments(x, n, 0, scale, false, type);
  row_moments m = any_moments(x, n, first_mean(x, n, scale, type), scale, true, type);
  if (m.is_off) m = any_moments(x, n, m.mean, scale, true, type);
  if (m.variance < 0) m.variance = 0;
  return m;
}

/// A row of which no more is known than that the usual way is not for it. With an infinity or a NaN
/// in it the results are what plain arithmetic makes of that.
static __attribute__((noinline)) careful_row careful_statistics(const void *x, int64_t n,
                                                                float epsilon, bool centered,
                                                                ck_dtype type) {
  row_moments m = settled_moments(x, n, 1, centered, type);
  float scale = 1;
  if (!is_usual(m.variance + epsilon)) {
    scale = scale_of(x, n, type);
    m = settled_moments(x, n, scale, centered, type);
  }
  // In double, which holds the square of every f32.
  const double one = scale;
  const double square = (double)m.variance / (one * one) + (double)epsilon;
  const double rstd = square == 0 ? 0 : 1 / sqrt(square);
  return (careful_row){scale,
                       {m.mean, m.rest, (float)(rstd / one)},
                       {(float)(m.mean / one), (float)(m.rest / one), (float)rstd}};
}

/// False where the row is one for `careful_statistics`.
CK_INLINE bool usual_statistics(row_statistics *s, const void *x, int64_t n, float epsilon,
                                bool centered, ck_dtype type) {
  const float middle = centered ? first_mean(x, n, 1, type) : 0;
  const row_moments m = moments_of(x, n, middle, 1, centered, type);
  const float square = m.variance + epsilon;
  *s = (row_statistics){m.mean, m.rest, 1.0f / sqrtf(square)};
  return is_usual(square) & !m.is_off;
}

/// What the backward pass needs of a row whose statistics were not kept. Out of line, so that the
/// pass stays small where they were.
static __attribute__((noinline, unused)) row_statistics statistics_of(const void *x, int64_t n,
                                                                      float epsilon, bool centered,
                                                                      ck_dtype type) {
  row_statistics s;
  const bool is_narrow = type == CK_BF16;
  if (is_narrow && centered && usual_statistics(&s, x, n, epsilon, true, CK_BF16)) return s;
  if (is_narrow && !centered && usual_statistics(&s, x, n, epsilon, false, CK_BF16)) return s;
  if (!is_narrow && centered && usual_statistics(&s, x, n, epsilon, true, CK_F32)) return s;
  if (!is_narrow && !centered && usual_statistics(&s, x, n, epsilon, false, CK_F32)) return s;
  return careful_statistics(x, n, epsilon, centered, type).own;
}

#endif
