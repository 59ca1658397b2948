// The strided copy, written once; copy_<level>.c compiles it for its level.
//
// The view is first reduced to its fewest dimensions. Then the innermost one decides: a run on both
// sides is memcpy, a repeated element is a fill, a run of the source that is not innermost is a
// transpose by register tiles, anything else is an element loop.

#include <stdlib.h>

typedef uint16_t v8u16 __attribute__((ext_vector_type(8), aligned(2)));
typedef uint32_t v8u32 __attribute__((ext_vector_type(8), aligned(4)));
typedef uint64_t v4u64 __attribute__((ext_vector_type(4), aligned(8)));

/// Drops dimensions of size 1, sorts the rest by falling destination stride, joins what is one run.
static void collapse(ck_copy_args *a) {
  int32_t r = 0;
  for (int32_t d = 0; d < a->rank; ++d) {
    if (a->sizes[d] == 1) continue;
    a->sizes[r] = a->sizes[d];
    a->dst_strides[r] = a->dst_strides[d];
    a->src_strides[r] = a->src_strides[d];
    ++r;
  }
  for (int32_t i = 1; i < r; ++i) {
    const int64_t n = a->sizes[i], ds = a->dst_strides[i], ss = a->src_strides[i];
    int32_t j = i;
    for (; j > 0 && llabs(a->dst_strides[j - 1]) < llabs(ds); --j) {
      a->sizes[j] = a->sizes[j - 1];
      a->dst_strides[j] = a->dst_strides[j - 1];
      a->src_strides[j] = a->src_strides[j - 1];
    }
    a->sizes[j] = n;
    a->dst_strides[j] = ds;
    a->src_strides[j] = ss;
  }
  int32_t w = 0;  // the dimension being grown
  for (int32_t d = 1; d < r; ++d) {
    if (a->dst_strides[w] == a->sizes[d] * a->dst_strides[d] &&
        a->src_strides[w] == a->sizes[d] * a->src_strides[d]) {
      a->sizes[w] *= a->sizes[d];
    } else {
      ++w;
      a->sizes[w] = a->sizes[d];
    }
    a->dst_strides[w] = a->dst_strides[d];
    a->src_strides[w] = a->src_strides[d];
  }
  if (r == 0) {
    a->sizes[0] = 1;
    a->dst_strides[0] = a->src_strides[0] = 1;
  }
  a->rank = r == 0 ? 1 : w + 1;
}

// One innermost row by an element loop. The cases with constant strides are for the vectoriser.

static void row_u8(uint8_t *d, const uint8_t *s, int64_t n, int64_t ds, int64_t ss) {
  if (ds == 1 && ss == 0) {
    memset(d, *s, (size_t)n);
  } else if (ds == 1 && ss == -1) {
    for (int64_t i = 0; i < n; ++i) d[i] = s[-i];
  } else {
    for (int64_t i = 0; i < n; ++i) d[i * ds] = s[i * ss];
  }
}

static void row_u16(uint16_t *d, const uint16_t *s, int64_t n, int64_t ds, int64_t ss) {
  if (ds == 1 && ss == 0) {
    const uint16_t v = *s;
    for (int64_t i = 0; i < n; ++i) d[i] = v;
  } else if (ds == 1 && ss == -1) {
    for (int64_t i = 0; i < n; ++i) d[i] = s[-i];
  } else {
    for (int64_t i = 0; i < n; ++i) d[i * ds] = s[i * ss];
  }
}

static void row_u32(uint32_t *d, const uint32_t *s, int64_t n, int64_t ds, int64_t ss) {
  if (ds == 1 && ss == 0) {
    const uint32_t v = *s;
    for (int64_t i = 0; i < n; ++i) d[i] = v;
  } else if (ds == 1 && ss == -1) {
    for (int64_t i = 0; i < n; ++i) d[i] = s[-i];
  } else {
    for (int64_t i = 0; i < n; ++i) d[i * ds] = s[i * ss];
  }
}

static void row_u64(uint64_t *d, const uint64_t *s, int64_t n, int64_t ds, int64_t ss) {
  if (ds == 1 && ss == 0) {
    const uint64_t v = *s;
    for (int64_t i = 0; i < n; ++i) d[i] = v;
  } else if (ds == 1 && ss == -1) {
    for (int64_t i = 0; i < n; ++i) d[i] = s[-i];
  } else {
    for (int64_t i = 0; i < n; ++i) d[i * ds] = s[i * ss];
  }
}

static void row_any(char *d, const char *s, int64_t n, int64_t ds, int64_t ss, int32_t size) {
  if (ds == 1 && ss == 1 && n * size >= 64) {
    memcpy(d, s, (size_t)(n * size));
    return;
  }
  switch (size) {
    case 1:
      row_u8((uint8_t *)d, (const uint8_t *)s, n, ds, ss);
      break;
    case 2:
      row_u16((uint16_t *)d, (const uint16_t *)s, n, ds, ss);
      break;
    case 4:
      row_u32((uint32_t *)d, (const uint32_t *)s, n, ds, ss);
      break;
    default:
      row_u64((uint64_t *)d, (const uint64_t *)s, n, ds, ss);
      break;
  }
}

// Register transposes: d[i·ds + j] = s[j·ss + i]. Three (two) rounds of pairwise exchange.

static inline void transpose8_u32(uint32_t *d, const uint32_t *s, int64_t ds, int64_t ss) {
  v8u32 r[8], q[8];
  for (int j = 0; j < 8; ++j) r[j] = *(const v8u32 *)(s + j * ss);
  for (int j = 0; j < 8; j += 2) {
    q[j] = __builtin_shufflevector(r[j], r[j + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    q[j + 1] = __builtin_shufflevector(r[j], r[j + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int j = 0; j < 8; j += 4) {
    r[j] = __builtin_shufflevector(q[j], q[j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    r[j + 1] = __builtin_shufflevector(q[j], q[j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    r[j + 2] = __builtin_shufflevector(q[j + 1], q[j + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    r[j + 3] = __builtin_shufflevector(q[j + 1], q[j + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int j = 0; j < 4; ++j) {
    *(v8u32 *)(d + j * ds) = __builtin_shufflevector(r[j], r[j + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    *(v8u32 *)(d + (j + 4) * ds) =
        __builtin_shufflevector(r[j], r[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

static inline void transpose8_u16(uint16_t *d, const uint16_t *s, int64_t ds, int64_t ss) {
  v8u16 r[8], q[8];
  for (int j = 0; j < 8; ++j) r[j] = *(const v8u16 *)(s + j * ss);
  for (int j = 0; j < 4; ++j) {
    q[2 * j] = __builtin_shufflevector(r[j], r[j + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    q[2 * j + 1] = __builtin_shufflevector(r[j], r[j + 4], 4, 12, 5, 13, 6, 14, 7, 15);
  }
  for (int j = 0; j < 4; ++j) {
    r[2 * j] = __builtin_shufflevector(q[j], q[j + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    r[2 * j + 1] = __builtin_shufflevector(q[j], q[j + 4], 4, 12, 5, 13, 6, 14, 7, 15);
  }
  for (int j = 0; j < 4; ++j) {
    *(v8u16 *)(d + 2 * j * ds) = __builtin_shufflevector(r[j], r[j + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    *(v8u16 *)(d + (2 * j + 1) * ds) =
        __builtin_shufflevector(r[j], r[j + 4], 4, 12, 5, 13, 6, 14, 7, 15);
  }
}

static inline void transpose4_u64(uint64_t *d, const uint64_t *s, int64_t ds, int64_t ss) {
  v4u64 r[4], q[4];
  for (int j = 0; j < 4; ++j) r[j] = *(const v4u64 *)(s + j * ss);
  for (int j = 0; j < 4; j += 2) {
    q[j] = __builtin_shufflevector(r[j], r[j + 1], 0, 4, 2, 6);
    q[j + 1] = __builtin_shufflevector(r[j], r[j + 1], 1, 5, 3, 7);
  }
  for (int j = 0; j < 2; ++j) {
    *(v4u64 *)(d + j * ds) = __builtin_shufflevector(q[j], q[j + 2], 0, 1, 4, 5);
    *(v4u64 *)(d + (j + 2) * ds) = __builtin_shufflevector(q[j], q[j + 2], 2, 3, 6, 7);
  }
}

/// d[i·ds + j] = s[j·ss + i] for i < m, j < n: whole register tiles, then the edges.
static void transpose_tile(char *d, const char *s, int64_t m, int64_t n, int64_t ds, int64_t ss,
                           int32_t size) {
  const int64_t edge = size == 8 ? 4 : size == 1 ? 1 : 8;
  const int64_t whole_m = size == 1 ? 0 : m - m % edge, whole_n = size == 1 ? 0 : n - n % edge;
  for (int64_t j = 0; j < whole_n; j += edge) {
    for (int64_t i = 0; i < whole_m; i += edge) {
      char *to = d + (i * ds + j) * size;
      const char *from = s + (j * ss + i) * size;
      switch (size) {
        case 2:
          transpose8_u16((uint16_t *)to, (const uint16_t *)from, ds, ss);
          break;
        case 4:
          transpose8_u32((uint32_t *)to, (const uint32_t *)from, ds, ss);
          break;
        default:
          transpose4_u64((uint64_t *)to, (const uint64_t *)from, ds, ss);
          break;
      }
    }
  }
  for (int64_t i = 0; i < whole_m; ++i) {
    row_any(d + (i * ds + whole_n) * size, s + (whole_n * ss + i) * size, n - whole_n, 1, ss, size);
  }
  for (int64_t i = whole_m; i < m; ++i) {
    row_any(d + i * ds * size, s + i * size, n, 1, ss, size);
  }
}

/// Items of a row or tile walk: every index of the dimensions but `skip` and the last, times
/// `inner` pieces.
static int64_t outer_count(const ck_copy_args *a, int32_t skip) {
  int64_t n = 1;
  for (int32_t d = 0; d < a->rank - 1; ++d) n *= d == skip ? 1 : a->sizes[d];
  return n;
}

static void outer_offsets(const ck_copy_args *a, int32_t skip, int64_t index, int64_t *dst,
                          int64_t *src) {
  *dst = a->dst_offset;
  *src = a->src_offset;
  for (int32_t d = a->rank - 2; d >= 0; --d) {
    if (d == skip) continue;
    const int64_t i = index % a->sizes[d];
    index /= a->sizes[d];
    *dst += i * a->dst_strides[d];
    *src += i * a->src_strides[d];
  }
}

/// The transpose of dimension `d` (a run of the source) with the last (a run of the destination).
static void copy_transposed(const ck_copy_args *a, int32_t d, const ck_thread *t) {
  const int32_t last = a->rank - 1, size = a->element_size;
  const int64_t tile = 64, m = a->sizes[d], n = a->sizes[last];
  const int64_t tiles_m = (m + tile - 1) / tile, tiles_n = (n + tile - 1) / tile;
  const int64_t ds = a->dst_strides[d], ss = a->src_strides[last];
  int64_t begin, end;
  ck_share(outer_count(a, d) * tiles_m * tiles_n, t, &begin, &end);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t j = item % tiles_n * tile, i = item / tiles_n % tiles_m * tile;
    int64_t to, from;
    outer_offsets(a, d, item / tiles_n / tiles_m, &to, &from);
    transpose_tile((char *)a->dst + (to + i * ds + j) * size,
                   (const char *)a->src + (from + j * ss + i) * size, m - i < tile ? m - i : tile,
                   n - j < tile ? n - j : tile, ds, ss, size);
  }
}

static void copy_rows(const ck_copy_args *a, const ck_thread *t) {
  const int32_t last = a->rank - 1, size = a->element_size;
  const int64_t n = a->sizes[last], ds = a->dst_strides[last], ss = a->src_strides[last];
  const int64_t piece = 1 << 14, pieces = (n + piece - 1) / piece;
  int64_t begin, end;
  ck_share(outer_count(a, last) * pieces, t, &begin, &end);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t at = item % pieces * piece;
    int64_t to, from;
    outer_offsets(a, last, item / pieces, &to, &from);
    row_any((char *)a->dst + (to + at * ds) * size, (const char *)a->src + (from + at * ss) * size,
            n - at < piece ? n - at : piece, ds, ss, size);
  }
}

void CK_NAME(ck_copy_strided)(const void *args, const ck_thread *t) {
  ck_copy_args a = *(const ck_copy_args *)args;
  for (int32_t d = 0; d < a.rank; ++d) {
    if (a.sizes[d] == 0) return;
  }
  collapse(&a);
  const int32_t last = a.rank - 1;
  if (a.dst_strides[last] == 1 && a.src_strides[last] != 1 && a.src_strides[last] != 0) {
    for (int32_t d = 0; d < last; ++d) {
      if (a.src_strides[d] == 1) {
        copy_transposed(&a, d, t);
        return;
      }
    }
  }
  copy_rows(&a, t);
}
