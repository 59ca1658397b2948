// Batch normalisation, written once; batch_norm_<level>.c compiles it for its level.
//
// Columns know nothing of each other. Rows are taken four at a time, so that what belongs to the
// columns is loaded and stored a quarter as often.
#include "../core/ck_rows.h"
#include "batch_norm_plan.h"
#include "ck_batch_norm.h"

/// Rows of a block and columns of a panel.
typedef struct column_unit {
  int64_t row, rows, column, cols;
} column_unit;

CK_INLINE column_unit unit_of(int64_t unit, int64_t rows, int64_t cols) {
  const int64_t size = column_block_rows(rows), panels = column_panels(cols);
  const int64_t row = unit / panels * size, column = unit % panels * PANEL;
  return (column_unit){row, rows - row < size ? rows - row : size, column,
                       cols - column < PANEL ? cols - column : PANEL};
}

/// Where a unit's sums begin in the workspace, in that of the first array of each block.
CK_INLINE float *sums_of(void *workspace, const column_unit *u, int64_t rows, int64_t cols) {
  const int64_t block = u->row / column_block_rows(rows);
  return (float *)workspace + block * column_stride(cols) + u->column;
}

// MARK: Moments

/// Of some rows: their mean, as a deviation from the very first row, which a large mean would lose
/// bits of, and Σ (x - mean)².
typedef struct moments {
  ck_v16f mean, squares;
} moments;

/// `rows` rows more, after `before` of them.
CK_INLINE moments joined(moments a, moments b, int64_t before, int64_t rows) {
  const float share = (float)rows / (float)(before + rows);
  const ck_v16f apart = b.mean - a.mean;
  return (moments){ck_fma(apart, ck_splat(share), a.mean),
                   ck_fma(apart * apart, ck_splat((float)before * share), a.squares + b.squares)};
}

/// Of one run of rows, the first of them at x: deviations from it, and their squares.
CK_INLINE void add_run(float *sum, float *square, const void *x, int64_t stride, int64_t rows,
                       int64_t cols, ck_dtype type) {
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    const void *at = row_of(x, row, stride, type);
    for (int64_t i = 0; i < cols; i += CK_LANES) {
      const int count = lanes_left(cols - i);
      const ck_v16f shift = load_any(x, i, count, type);
      ck_v16f d[4];
      for (int r = 0; r < 4; ++r) {
        d[r] = load_any(row_of(at, r, stride, type), i, count, type) - shift;
      }
      const ck_v16f s = (d[0] + d[1]) + (d[2] + d[3]);
      const ck_v16f low = ck_fma(d[0], d[0], d[1] * d[1]);
      const ck_v16f q = low + ck_fma(d[2], d[2], d[3] * d[3]);
      ck_store(sum + i, row == 0 ? s : ck_load(sum + i) + s);
      ck_store(square + i, row == 0 ? q : ck_load(square + i) + q);
    }
  }
  for (; row < rows; ++row) {
    const void *at = row_of(x, row, stride, type);
    for (int64_t i = 0; i < cols; i += CK_LANES) {
      const int count = lanes_left(cols - i);
      const ck_v16f d = load_any(at, i, count, type) - load_any(x, i, count, type);
      ck_store(sum + i, row == 0 ? d : ck_load(sum + i) + d);
      ck_store(square + i, row == 0 ? d * d : ck_fma(d, d, ck_load(square + i)));
    }
  }
}

CK_INLINE void moments_of_units(const ck_moments_args *a, const ck_thread *t, ck_dtype type) {
  float sum[PANEL] __attribute__((aligned(64))), square[PANEL] __attribute__((aligned(64)));
  const int64_t blocks = column_blocks(a->rows), stride = column_stride(a->cols);
  int64_t begin, end;
  ck_share(blocks * column_panels(a->cols), t, &begin, &end);
  for (int64_t unit = begin; unit < end; ++unit) {
    const column_unit u = unit_of(unit, a->rows, a->cols);
    float *means = sums_of(a->workspace, &u, a->rows, a->cols);
    float *squares = means + blocks * stride;
    const void *anchor = row_of(a->x, 1, u.column, type);
    for (int64_t run = 0; run < u.rows; run += RUN_ROWS) {
      const int64_t rows = u.rows - run < RUN_ROWS ? u.rows - run : RUN_ROWS;
      const void *x = row_of(row_of(a->x, u.row + run, a->cols, type), 1, u.column, type);
      add_run(sum, square, x, a->cols, rows, u.cols, type);
      const ck_v16f each = ck_splat(1.0f / (float)rows);
      for (int64_t i = 0; i < u.cols; i += CK_LANES) {
        const ck_v16f s = ck_load(sum + i), off = s * each;
        const ck_v16f q = ck_fnma(s, off, ck_load(square + i));
        // What rounding may have brought below 0 is 0; a NaN stays.
        const int count = lanes_left(u.cols - i);
        moments now = {load_any(x, i, count, type) - load_any(anchor, i, count, type) + off,
                       ck_select(q < 0, ck_splat(0), q)};
        if (run > 0) {
          now = joined((moments){ck_load(means + i), ck_load(squares + i)}, now, run, rows);
        }
        ck_store(means + i, now.mean);
        ck_store(squares + i, now.squares);
      }
    }
  }
}

void CK_NAME(ck_moments)(const void *args, const ck_thread *t) {
  const ck_moments_args *a = args;
  if (a->x_dtype == CK_BF16) {
    moments_of_units(a, t, CK_BF16);
  } else {
    moments_of_units(a, t, CK_F32);
  }
  ck_barrier(t);
  const int64_t blocks = column_blocks(a->rows), stride = column_stride(a->cols);
  const int64_t size = column_block_rows(a->rows);
  const float *means = a->workspace, *squares = means + blocks * stride;
  int64_t begin, end;
  ck_share(stride / CK_LANES, t, &begin, &end);
  for (int64_t i = begin * CK_LANES; i < end * CK_LANES && i < a->cols; i += CK_LANES) {
    const int count = lanes_left(a->cols - i);
    moments all = {ck_splat(0) / ck_splat(0), ck_splat(0)};
    for (int64_t b = 0; b < blocks; ++b) {
      const moments now = {ck_load(means + b * stride + i), ck_load(squares + b * stride + i)};
      const int64_t before = b * size, rows = a->rows - before < size ? a->rows - before : size;
      all = b == 0 ? now : joined(all, now, before, rows);
    }
    if (blocks > 0) all.mean += load_any(a->x, i, count, (ck_dtype)a->x_dtype);
    store_lanes(a->mean, i, all.mean, count, CK_F32, false);
    store_lanes(a->variance, i, all.squares / ck_splat((float)a->rows), count, CK_F32, false);
  }
}

// MARK: Backward

/// The element types of the backward pass.
typedef struct batch_types {
  ck_dtype dx, dy, x;
} batch_types;

/// Adds `rows` rows (1 or 4) from `row` on to Σ g and Σ g (x - mean).
CK_INLINE void add_gradients(const ck_batch_norm_backward_args *a, const column_unit *u, float *sum,
                             float *product, int64_t row, const int rows, bool is_first,
                             batch_types types) {
  for (int64_t i = 0; i < u->cols; i += CK_LANES) {
    const int count = lanes_left(u->cols - i);
    const ck_v16f mean = load_lanes(a->mean + u->column, i, count, CK_F32);
    ck_v16f g[4], d[4];
    for (int r = 0; r < rows; ++r) {
      const int64_t at = (row + r) * a->cols + u->column + i;
      g[r] = load_any(a->dy, at, count, types.dy);
      d[r] = load_any(a->x, at, count, types.x) - mean;
    }
    ck_v16f s = g[0], p = g[0] * d[0];
    if (rows == 4) {
      s = (g[0] + g[1]) + (g[2] + g[3]);
      p = ck_fma(g[1], d[1], p) + ck_fma(g[3], d[3], g[2] * d[2]);
    }
    ck_store(sum + i, is_first ? s : ck_load(sum + i) + s);
    ck_store(product + i, is_first ? p : ck_load(product + i) + p);
  }
}

/// The sums of the units in [begin, end).
CK_INLINE void sum_gradients(const ck_batch_norm_backward_args *a, int64_t begin, int64_t end,
                             batch_types types) {
  float sum[PANEL] __attribute__((aligned(64))), product[PANEL] __attribute__((aligned(64)));
  const int64_t blocks = column_blocks(a->rows), stride = column_stride(a->cols);
  for (int64_t unit = begin; unit < end; ++unit) {
    const column_unit u = unit_of(unit, a->rows, a->cols);
    float *sums = sums_of(a->workspace, &u, a->rows, a->cols);
    float *products = sums + blocks * stride;
    for (int64_t run = 0; run < u.rows; run += RUN_ROWS) {
      const int64_t rows = u.rows - run < RUN_ROWS ? u.rows - run : RUN_ROWS;
      int64_t row = 0;
      for (; row + 4 <= rows; row += 4) {
        add_gradients(a, &u, sum, product, u.row + run + row, 4, row == 0, types);
      }
      for (; row < rows; ++row) {
        add_gradients(a, &u, sum, product, u.row + run + row, 1, row == 0, types);
      }
      for (int64_t i = 0; i < u.cols; i += CK_LANES) {
        const ck_v16f s = ck_load(sum + i), p = ck_load(product + i);
        ck_store(sums + i, run == 0 ? s : ck_load(sums + i) + s);
        ck_store(products + i, run == 0 ? p : ck_load(products + i) + p);
      }
    }
  }
}

/// dx of `rows` rows (1 or 4) from `row` on.
CK_INLINE void put_gradients(const ck_batch_norm_backward_args *a, const column_unit *u,
                             const float *coefficients, int64_t row, const int rows, bool streams,
                             batch_types types) {
  const int64_t stride = column_stride(a->cols);
  for (int64_t i = 0; i < u->cols; i += CK_LANES) {
    const int count = lanes_left(u->cols - i);
    const ck_v16f mean = load_lanes(a->mean + u->column, i, count, CK_F32);
    const ck_v16f scale = ck_load(coefficients + i);
    const ck_v16f level = ck_load(coefficients + stride + i);
    const ck_v16f slope = ck_load(coefficients + 2 * stride + i);
    for (int r = 0; r < rows; ++r) {
      const int64_t at = (row + r) * a->cols + u->column + i;
      const ck_v16f g = load_any(a->dy, at, count, types.dy);
      const ck_v16f d = load_any(a->x, at, count, types.x) - mean;
      store_lanes(a->dx, at, ck_fnma(d, slope, g - level) * scale, count, types.dx, streams);
    }
  }
}

/// dx of the units in [begin, end), the last first: it is the one that may still be in the cache.
CK_INLINE void apply_gradients(const ck_batch_norm_backward_args *a, int64_t begin, int64_t end,
                               batch_types types) {
  const float *coefficients =
      (const float *)a->workspace + 2 * column_blocks(a->rows) * column_stride(a->cols);
  const bool streams = a->dx != a->dy && a->dx != a->x &&
                       ck_streams_rows(a->dx, a->rows, a->cols, (int64_t)ck_dtype_bytes(types.dx));
  for (int64_t unit = end - 1; unit >= begin; --unit) {
    const column_unit u = unit_of(unit, a->rows, a->cols);
    const float *own = coefficients + u.column;
    int64_t row = u.row;
    for (; row + 4 <= u.row + u.rows; row += 4) {
      put_gradients(a, &u, own, row, 4, streams, types);
    }
    for (; row < u.row + u.rows; ++row) {
      put_gradients(a, &u, own, row, 1, streams, types);
    }
  }
  if (streams) ck_stream_end();
}

/// The totals of a thread's columns, and what they make of a row.
CK_INLINE void combine_gradients(const ck_batch_norm_backward_args *a, const ck_thread *t) {
  const int64_t blocks = column_blocks(a->rows), stride = column_stride(a->cols);
  const float *sums = a->workspace, *products = sums + blocks * stride;
  float *coefficients = (float *)a->workspace + 2 * blocks * stride;
  const ck_v16f each = ck_splat(a->rows == 0 ? 0.0f : 1.0f / (float)a->rows);
  int64_t begin, end;
  ck_share(stride / CK_LANES, t, &begin, &end);
  for (int64_t i = begin * CK_LANES; i < end * CK_LANES && i < a->cols; i += CK_LANES) {
    const int count = lanes_left(a->cols - i);
    ck_v16f s = ck_splat(0), p = ck_splat(0);
    for (int64_t b = 0; b < blocks; ++b) {
      s += ck_load(sums + b * stride + i);
      p += ck_load(products + b * stride + i);
    }
    const ck_v16f spread = load_lanes(a->variance, i, count, CK_F32) + ck_splat(a->epsilon);
    const ck_v16f rstd = ck_select(spread == 0, ck_splat(0), ck_splat(1) / ck_sqrt(spread));
    const ck_v16f scale = a->gamma == NULL ? rstd : load_lanes(a->gamma, i, count, CK_F32) * rstd;
    ck_store(coefficients + i, scale);
    ck_store(coefficients + stride + i, s * each);
    ck_store(coefficients + 2 * stride + i, p * rstd * rstd * each);
    if (a->dgamma != NULL) store_lanes(a->dgamma, i, p * rstd, count, CK_F32, false);
    if (a->dbeta != NULL) store_lanes(a->dbeta, i, s, count, CK_F32, false);
  }
}

CK_INLINE void backward_of(const ck_batch_norm_backward_args *a, const ck_thread *t,
                           batch_types types) {
  int64_t begin, end;
  ck_share(column_blocks(a->rows) * column_panels(a->cols), t, &begin, &end);
  sum_gradients(a, begin, end, types);
  ck_barrier(t);
  combine_gradients(a, t);
  ck_barrier(t);
  apply_gradients(a, begin, end, types);
}

/// The usual types are compiled by themselves.
void CK_NAME(ck_batch_norm_backward)(const void *args, const ck_thread *t) {
  const ck_batch_norm_backward_args *a = args;
  const batch_types types = {(ck_dtype)a->dx_dtype, (ck_dtype)a->dy_dtype, (ck_dtype)a->x_dtype};
  const int narrow = (types.dx == CK_BF16) + (types.dy == CK_BF16) + (types.x == CK_BF16);
  if (narrow == 0) {
    backward_of(a, t, (batch_types){CK_F32, CK_F32, CK_F32});
  } else if (narrow == 3) {
    backward_of(a, t, (batch_types){CK_BF16, CK_BF16, CK_BF16});
  } else {
    backward_of(a, t, types);
  }
}
