// Float scans and argmax, written once; scan_<level>.c compiles it for its level.
#include "ck_scan.h"

#define COLUMNS 64  // of the inner dimension, walked along the axis together

CK_INLINE float neutral_of(ck_scan_kind kind) {
  switch (kind) {
    case CK_SCAN_SUM:
      return 0;
    case CK_SCAN_PRODUCT:
      return 1;
    case CK_SCAN_MAX:
      return -INFINITY;
    default:
      return INFINITY;
  }
}

CK_INLINE ck_v16f apply(ck_scan_kind kind, ck_v16f a, ck_v16f b) {
  switch (kind) {
    case CK_SCAN_SUM:
      return a + b;
    case CK_SCAN_PRODUCT:
      return a * b;
    case CK_SCAN_MAX:
      return ck_max(a, b);
    default:
      return ck_min(a, b);
  }
}

CK_INLINE float apply_one(ck_scan_kind kind, float a, float b) {
  switch (kind) {
    case CK_SCAN_SUM:
      return a + b;
    case CK_SCAN_PRODUCT:
      return a * b;
    case CK_SCAN_MAX:
      return a != a || a > b ? a : b;
    default:
      return a != a || a < b ? a : b;
  }
}

// MARK: Along a dense axis

/// Inclusive prefix sums of 16 lanes: by 1, 2, 4, 8.
CK_INLINE ck_v16f prefix(ck_v16f v) {
  const ck_v16f zero = ck_splat(0);
  v += __builtin_shufflevector(zero, v, 0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
                               30);
  v += __builtin_shufflevector(zero, v, 0, 1, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
                               29);
  v += __builtin_shufflevector(zero, v, 0, 1, 2, 3, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27);
  v += __builtin_shufflevector(zero, v, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
  return v;
}

CK_INLINE ck_v16f reversed(ck_v16f v) {
  return __builtin_shufflevector(v, v, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

// Sums drift if each rounding goes into the next. They are made in blocks: what comes before a
// block is kept in two numbers, a sum and what its roundings have left out, and the second is the
// block's first summand. Short sums are one block.
#define BLOCK_VECTORS 16  // of a dense row
#define BLOCK_ROWS 64     // of columns

/// What is lost where a + b is rounded to `sum` (Knuth, "The Art of Computer Programming", 4.2.2);
/// 0 where that is not finite.
CK_INLINE ck_v16f lost(ck_v16f a, ck_v16f b, ck_v16f sum) {
  const ck_v16f part = sum - a;
  const ck_v16f e = (a - (sum - part)) + (b - part);
  return ck_select(e == e, e, ck_splat(0));
}

/// How a row is added up.
typedef struct row_way {
  bool exclusive, reverse;
} row_way;

/// One vector whose elements come after `part` in their block, which comes after `whole`; returns
/// what the block adds up to with it.
CK_INLINE float sum_vector(float *y, ck_v16f v, float part, float whole, bool has_whole,
                           row_way way) {
  const ck_v16f sums = prefix(v) + ck_splat(part);
  ck_v16f out = sums;
  if (way.exclusive) {
    out = __builtin_shufflevector(ck_splat(part), out, 0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                                  26, 27, 28, 29, 30);
  }
  if (has_whole) out += ck_splat(whole);
  ck_store(y, way.reverse ? reversed(out) : out);
  return sums[15];
}

/// The vectors from i to `end` of a row, one after the other; returns what the block adds up to.
CK_INLINE float sum_vectors(float *y, const float *x, int64_t n, int64_t i, int64_t end, float part,
                            float whole, bool has_whole, row_way way) {
  for (; i < end; i += CK_LANES) {
    const int64_t at = way.reverse ? n - i - CK_LANES : i;
    const ck_v16f v = way.reverse ? reversed(ck_load(x + at)) : ck_load(x + at);
    part = sum_vector(y + at, v, part, whole, has_whole, way);
  }
  return part;
}

CK_INLINE void sum_row(float *y, const float *x, int64_t n, bool exclusive, bool reverse) {
  const row_way way = {exclusive, reverse};
  const int64_t vectors = n / CK_LANES * CK_LANES, size = BLOCK_VECTORS * CK_LANES;
  float whole = 0, part = 0;
  for (int64_t i = 0; i < vectors; i += size) {
    const int64_t end = i + size < vectors ? i + size : vectors;
    if (i == 0) {
      part = sum_vectors(y, x, n, i, end, part, whole, false, way);
    } else {
      part = sum_vectors(y, x, n, i, end, part, whole, true, way);
    }
    if (end < i + size) break;
    const float next = whole + part;
    part = lost(ck_splat(whole), ck_splat(part), ck_splat(next))[0];
    whole = next;
  }
  if (vectors == n) return;
  const int count = (int)(n - vectors);
  const int64_t at = reverse ? 0 : vectors;
  float edge[CK_LANES] = {0};
  for (int j = 0; j < count; ++j) edge[j] = x[reverse ? count - 1 - j : at + j];
  sum_vector(edge, ck_load(edge), part, whole, true, (row_way){exclusive, false});
  for (int j = 0; j < count; ++j) y[reverse ? count - 1 - j : at + j] = edge[j];
}

// MARK: Any kind, any inner size

/// The rows from `begin` to `end` of `count` neighbouring columns; returns what the block adds up
/// to.
CK_INLINE ck_v16f sum_rows(float *y, const float *x, int64_t n, int64_t stride, int64_t begin,
                           int64_t end, int count, ck_v16f part, ck_v16f whole, bool has_whole,
                           row_way way) {
  for (int64_t k = begin; k < end; ++k) {
    const int64_t at = (way.reverse ? n - 1 - k : k) * stride;
    const ck_v16f v = count == CK_LANES ? ck_load(x + at) : ck_load_n(x + at, count);
    const ck_v16f next = part + v;
    ck_v16f out = way.exclusive ? part : next;
    if (has_whole) out += whole;
    if (count == CK_LANES) {
      ck_store(y + at, out);
    } else {
      ck_store_n(y + at, out, count);
    }
    part = next;
  }
  return part;
}

/// `count` neighbouring columns, walked together; stride from one index of the axis to the next.
CK_INLINE void sum_columns(float *y, const float *x, int64_t n, int64_t stride, int count,
                           bool exclusive, bool reverse) {
  const row_way way = {exclusive, reverse};
  ck_v16f whole = ck_splat(0), part = ck_splat(0);
  for (int64_t begin = 0; begin < n; begin += BLOCK_ROWS) {
    const int64_t end = begin + BLOCK_ROWS < n ? begin + BLOCK_ROWS : n;
    if (begin == 0) {
      part = sum_rows(y, x, n, stride, begin, end, count, part, whole, false, way);
    } else {
      part = sum_rows(y, x, n, stride, begin, end, count, part, whole, true, way);
    }
    const ck_v16f next = whole + part;
    part = lost(whole, part, next);
    whole = next;
  }
}

CK_INLINE void scan_columns(float *y, const float *x, int64_t n, int64_t stride, int width,
                            ck_scan_kind kind, bool exclusive, bool reverse) {
  if (kind != CK_SCAN_SUM && width == 1) {
    float sum = neutral_of(kind);
    for (int64_t k = 0; k < n; ++k) {
      const int64_t at = (reverse ? n - 1 - k : k) * stride;
      const float next = apply_one(kind, sum, x[at]);
      y[at] = exclusive ? sum : next;
      sum = next;
    }
    return;
  }
  for (int c = 0; c < width; c += CK_LANES) {
    const int count = width - c < CK_LANES ? width - c : CK_LANES;
    if (kind == CK_SCAN_SUM) {
      sum_columns(y + c, x + c, n, stride, count, exclusive, reverse);
      continue;
    }
    ck_v16f sum = ck_splat(neutral_of(kind));
    for (int64_t k = 0; k < n; ++k) {
      const int64_t at = (reverse ? n - 1 - k : k) * stride + c;
      const ck_v16f v = count == CK_LANES ? ck_load(x + at) : ck_load_n(x + at, count);
      const ck_v16f next = apply(kind, sum, v);
      const ck_v16f out = exclusive ? sum : next;
      if (count == CK_LANES) {
        ck_store(y + at, out);
      } else {
        ck_store_n(y + at, out, count);
      }
      sum = next;
    }
  }
}

CK_INLINE void scan_kind(const ck_scan_args *a, const ck_thread *t, ck_scan_kind kind) {
  const bool exclusive = a->exclusive != 0, reverse = a->reverse != 0;
  const int64_t pieces = (a->inner + COLUMNS - 1) / COLUMNS;
  int64_t begin, end;
  ck_share(a->outer * pieces, t, &begin, &end);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t column = item % pieces * COLUMNS;
    const int64_t at = item / pieces * a->axis * a->inner + column;
    const int64_t left = a->inner - column;
    float *y = (float *)a->y + at;
    const float *x = (const float *)a->x + at;
    if (kind == CK_SCAN_SUM && a->inner == 1) {
      sum_row(y, x, a->axis, exclusive, reverse);
    } else {
      scan_columns(y, x, a->axis, a->inner, left < COLUMNS ? (int)left : COLUMNS, kind, exclusive,
                   reverse);
    }
  }
}

void CK_NAME(ck_scan_f32)(const void *args, const ck_thread *t) {
  const ck_scan_args *a = args;
  switch (a->kind) {
    case CK_SCAN_SUM:
      scan_kind(a, t, CK_SCAN_SUM);
      break;
    case CK_SCAN_PRODUCT:
      scan_kind(a, t, CK_SCAN_PRODUCT);
      break;
    case CK_SCAN_MAX:
      scan_kind(a, t, CK_SCAN_MAX);
      break;
    default:
      scan_kind(a, t, CK_SCAN_MIN);
      break;
  }
}

// MARK: The place of the extreme

/// Lanes of v that beat `best`: greater (less), or a NaN where there was none.
CK_INLINE ck_v16i beats(ck_v16f v, ck_v16f best, bool greatest) {
  const ck_v16i better = greatest ? v > best : v < best;
  return better | ((v != v) & (best == best));
}

CK_INLINE int32_t arg_row(const float *x, int64_t n, bool greatest) {
  ck_v16f best = ck_splat(x[0]);
  ck_v16i place = ck_splat_i32(0);
  for (int64_t i = 0; i < n; i += CK_LANES) {
    const int count = n - i < CK_LANES ? (int)(n - i) : CK_LANES;
    const ck_v16f v = count == CK_LANES ? ck_load(x + i) : ck_load_n(x + i, count);
    const ck_v16i take = beats(v, best, greatest) & (ck_lanes() < ck_splat_i32(count));
    best = ck_select(take, v, best);
    place = ck_select_i32(take, ck_lanes() + (int32_t)i, place);
  }
  float value = best[0];
  int32_t index = place[0];
  for (int j = 1; j < CK_LANES; ++j) {
    const float v = best[j];
    const bool both = v != v && value != value;
    const bool better = (greatest ? v > value : v < value) || (v != v && value == value);
    if (better || ((v == value || both) && place[j] < index)) {
      value = v;
      index = place[j];
    }
  }
  return index;
}

CK_INLINE ck_v16i arg_columns(const float *x, int64_t n, int64_t stride, int count, bool greatest) {
  ck_v16f best = ck_load_n(x, count);
  ck_v16i place = ck_splat_i32(0);
  for (int64_t k = 1; k < n; ++k) {
    const ck_v16f v =
        count == CK_LANES ? ck_load(x + k * stride) : ck_load_n(x + k * stride, count);
    const ck_v16i take = beats(v, best, greatest);
    best = ck_select(take, v, best);
    place = ck_select_i32(take, ck_splat_i32((int32_t)k), place);
  }
  return place;
}

CK_INLINE void put_index(const ck_arg_args *a, int64_t at, int32_t index) {
  if (a->index_dtype == CK_I32) {
    ((int32_t *)a->indices)[at] = index;
  } else {
    ((int64_t *)a->indices)[at] = index;
  }
}

CK_INLINE void arg_extreme(const ck_arg_args *a, const ck_thread *t, bool greatest) {
  const int64_t pieces = (a->inner + CK_LANES - 1) / CK_LANES;
  int64_t begin, end;
  ck_share(a->outer * pieces, t, &begin, &end);
  for (int64_t item = begin; item < end; ++item) {
    if (a->inner == 1) {
      put_index(a, item, arg_row(a->x + item * a->axis, a->axis, greatest));
      continue;
    }
    const int64_t o = item / pieces, column = item % pieces * CK_LANES;
    const int count = a->inner - column < CK_LANES ? (int)(a->inner - column) : CK_LANES;
    const float *x = a->x + o * a->axis * a->inner + column;
    const ck_v16i place = arg_columns(x, a->axis, a->inner, count, greatest);
    for (int j = 0; j < count; ++j) put_index(a, o * a->inner + column + j, place[j]);
  }
}

void CK_NAME(ck_argmax_f32)(const void *args, const ck_thread *t) { arg_extreme(args, t, true); }

void CK_NAME(ck_argmin_f32)(const void *args, const ck_thread *t) { arg_extreme(args, t, false); }
