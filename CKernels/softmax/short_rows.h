// Rows too short to fill a vector: sixteen of them at a time, a row a lane.
//
// What is added across columns is added by the tree of ck_sum, as where a row is one vector: the
// same bits either way. Nothing is computed here but the row's greatest and sums.
#include "row_body.h"

/// Fewer rows than this are faster one by one.
enum { FEWEST_ROWS = 6 };

/// Columns of sixteen rows, lane r of each being row r.
typedef ck_v16f short_columns[CK_SHORT_COLUMNS];

typedef uint16_t v4u16 __attribute__((ext_vector_type(4)));
typedef uint32_t v4u32 __attribute__((ext_vector_type(4)));

/// The first `count` (1 to 4) elements at p, the rest 0.
CK_INLINE ck_v4f load_few(const void *p, int count, ck_dtype type) {
  if (type == CK_BF16) {
    v4u16 v = 0;
    memcpy(&v, p, (size_t)count * sizeof(uint16_t));
    return (ck_v4f)(__builtin_convertvector(v, v4u32) << 16);
  }
  ck_v4f v = 0;
  memcpy(&v, p, (size_t)count * sizeof(float));
  return v;
}

/// Four rows of four a 128-bit lane become four columns, or columns rows.
CK_INLINE void transpose_quads(ck_v16f v[4]) {
  ck_v16f low[2], high[2];
  for (int i = 0; i < 2; ++i) {
    low[i] = __builtin_shufflevector(v[2 * i], v[2 * i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9,
                                     25, 12, 28, 13, 29);
    high[i] = __builtin_shufflevector(v[2 * i], v[2 * i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26,
                                      11, 27, 14, 30, 15, 31);
  }
  for (int i = 0; i < 2; ++i) {
    const ck_v16f a = i == 0 ? low[0] : high[0], b = i == 0 ? low[1] : high[1];
    v[2 * i] =
        __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
    v[2 * i + 1] =
        __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  }
}

/// `count` columns (1 to 4) of sixteen rows, from column c on.
CK_INLINE void load_quad(ck_v16f v[4], const void *x, int64_t c, int64_t stride, int count,
                         ck_dtype type) {
  for (int j = 0; j < 4; ++j) {
    ck_v4f rows[4];
    for (int k = 0; k < 4; ++k) {
      rows[k] = load_few(row_of(x, 1, (j + 4 * k) * stride + c, type), count, type);
    }
    const ck_v8f low = __builtin_shufflevector(rows[0], rows[1], 0, 1, 2, 3, 4, 5, 6, 7);
    const ck_v8f high = __builtin_shufflevector(rows[2], rows[3], 0, 1, 2, 3, 4, 5, 6, 7);
    v[j] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
  transpose_quads(v);
}

CK_INLINE void store_quad(void *out, int64_t c, int64_t stride, const ck_v16f columns[4], int count,
                          ck_dtype type) {
  const size_t size = ck_dtype_bytes(type);
  ck_v16f v[4] = {columns[0], columns[1], columns[2], columns[3]};
  transpose_quads(v);
  for (int j = 0; j < 4; ++j) {
    char quads[CK_LANES * sizeof(float)];
    ck_store_as(quads, type, v[j]);
    for (int k = 0; k < 4; ++k) {
      char *row = (char *)row_of(out, 1, (j + 4 * k) * stride + c, type);
      memcpy(row, quads + (size_t)(4 * k) * size, (size_t)count * size);
    }
  }
}

/// The columns of `rows` (1 to 16) rows; the lanes past them are zeros.
CK_INLINE void load_short_of(short_columns v, const void *x, int64_t stride, int64_t cols, int rows,
                             ck_dtype type) {
  char whole[CK_LANES * CK_SHORT_COLUMNS * sizeof(float)];
  if (rows < CK_LANES) {
    memset(whole, 0, sizeof whole);
    for (int r = 0; r < rows; ++r) {
      memcpy((char *)row_of(whole, r, CK_SHORT_COLUMNS, type), row_of(x, r, stride, type),
             (size_t)cols * ck_dtype_bytes(type));
    }
    x = whole;
    stride = CK_SHORT_COLUMNS;
  }
  int64_t c = 0;
  for (; c + 4 <= cols; c += 4) load_quad(v + c, x, c, stride, 4, type);
  // Constants, so that the compiler has one instruction for each.
  if (cols - c == 1) load_quad(v + c, x, c, stride, 1, type);
  if (cols - c == 2) load_quad(v + c, x, c, stride, 2, type);
  if (cols - c == 3) load_quad(v + c, x, c, stride, 3, type);
}

/// The first `rows` lanes of the columns to as many rows. Columns up to the next multiple of four
/// are read.
CK_INLINE void store_short_of(void *out, int64_t stride, const short_columns v, int64_t cols,
                              int rows, ck_dtype type) {
  char whole[CK_LANES * CK_SHORT_COLUMNS * sizeof(float)];
  void *to = rows < CK_LANES ? whole : out;
  const int64_t step = rows < CK_LANES ? CK_SHORT_COLUMNS : stride;
  int64_t c = 0;
  for (; c + 4 <= cols; c += 4) store_quad(to, c, step, v + c, 4, type);
  if (cols - c == 1) store_quad(to, c, step, v + c, 1, type);
  if (cols - c == 2) store_quad(to, c, step, v + c, 2, type);
  if (cols - c == 3) store_quad(to, c, step, v + c, 3, type);
  if (rows == CK_LANES) return;
  for (int r = 0; r < rows; ++r) {
    memcpy((char *)row_of(out, r, stride, type), row_of(whole, r, CK_SHORT_COLUMNS, type),
           (size_t)cols * ck_dtype_bytes(type));
  }
}

// One function for each type, whatever bodies call them: they are long.
static __attribute__((noinline, unused)) void load_short(short_columns v, const void *x,
                                                         int64_t stride, int64_t cols, int rows,
                                                         ck_dtype type) {
  if (type == CK_BF16) {
    load_short_of(v, x, stride, cols, rows, CK_BF16);
  } else {
    load_short_of(v, x, stride, cols, rows, CK_F32);
  }
}

static __attribute__((noinline, unused)) void store_short(void *out, int64_t stride,
                                                          const short_columns v, int64_t cols,
                                                          int rows, ck_dtype type) {
  if (type == CK_BF16) {
    store_short_of(out, stride, v, cols, rows, CK_BF16);
  } else {
    store_short_of(out, stride, v, cols, rows, CK_F32);
  }
}

/// The greatest of each row, NaN elements passed over.
CK_INLINE ck_v16f short_max(const short_columns v, int64_t cols) {
  ck_v16f a = ck_splat(-INFINITY), b = a;
  int64_t c = 0;
  for (; c + 2 <= cols; c += 2) {
    a = ck_max_second(v[c], a);
    b = ck_max_second(v[c + 1], b);
  }
  if (c < cols) a = ck_max_second(v[c], a);
  return ck_max_second(a, b);
}

/// The sum of each row, in the order of ck_sum; 0 stands for the columns that there are not.
CK_INLINE ck_v16f short_sum(const short_columns v, int64_t cols) {
  ck_v16f sums[8];
  for (int c = 0; c < 8; ++c) {
    sums[c] = c < cols ? v[c] : ck_splat(0);
    if (c + 8 < cols) sums[c] += v[c + 8];
  }
  for (int c = 0; c < 4; ++c) sums[c] += sums[c + 4];
  return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

/// The columns become exp(x_c - m); returns each row's sum of them.
CK_INLINE ck_v16f short_exp_sum(short_columns v, ck_v16f m, int64_t cols) {
  for (int64_t c = 0; c < cols; ++c) v[c] = exp_falling(v[c] - m);
  return short_sum(v, cols);
}

/// How many of the rows from `row` to `end` are taken together; 0: too few for that.
CK_INLINE int rows_together(int64_t row, int64_t end, int64_t cols) {
  if (cols > CK_SHORT_COLUMNS || end - row < FEWEST_ROWS) return 0;
  return lanes_left(end - row);
}
