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

CK_INLINE float row_sum(const void *x, int64_t n, ck_dtype type) {
  ck_v16f sums[4] = {0}, v[4];
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
    load_four(v, x, i, type);
    for (int j = 0; j < 4; ++j) sums[j] += v[j];
  }
  for (; i + CK_LANES <= n; i += CK_LANES) sums[0] += load_lanes(x, i, CK_LANES, type);
  if (i < n) sums[0] += load_lanes(x, i, (int)(n - i), type);
  return ck_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// Σ (x - mean)²
CK_INLINE float row_squares(const void *x, float mean, int64_t n, ck_dtype type) {
  const ck_v16f m = ck_splat(mean);
  ck_v16f sums[4] = {0}, v[4];
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
    load_four(v, x, i, type);
    for (int j = 0; j < 4; ++j) {
      const ck_v16f d = v[j] - m;
      sums[j] = ck_fma(d, d, sums[j]);
    }
  }
  for (; i + CK_LANES <= n; i += CK_LANES) {
    const ck_v16f d = load_lanes(x, i, CK_LANES, type) - m;
    sums[0] = ck_fma(d, d, sums[0]);
  }
  if (i < n) {
    const ck_v16f d = keep_lanes(load_lanes(x, i, (int)(n - i), type) - m, (int)(n - i));
    sums[0] = ck_fma(d, d, sums[0]);
  }
  return ck_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// A row's mean (0 unless `centered`) and 1 / sqrt(Σ (x - mean)² / C + epsilon).
typedef struct row_statistics {
  float mean;
  float rstd;
} row_statistics;

CK_INLINE row_statistics statistics_of(const void *x, int64_t n, float epsilon, bool centered,
                                       ck_dtype type) {
  row_statistics s;
  s.mean = centered ? row_sum(x, n, type) / (float)n : 0.0f;
  s.rstd = 1.0f / sqrtf(row_squares(x, s.mean, n, type) / (float)n + epsilon);
  return s;
}

#endif
