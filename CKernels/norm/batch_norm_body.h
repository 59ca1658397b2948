// Batch normalisation, written once; batch_norm_<level>.c compiles it for its level.
//
// Columns know nothing of each other. What belongs to a few vectors of them stays in registers
// through a run of rows: COLUMN_VECTORS of them, which the including file defines.
#include "../core/ck_rows.h"
#include "batch_norm_plan.h"
#include "ck_batch_norm.h"

enum {
  WIDE = COLUMN_VECTORS * CK_LANES,
  FEW_VECTORS = COLUMN_VECTORS > 1 ? 2 : 1,
  FEW = FEW_VECTORS * CK_LANES,
  SOME_ROWS = 4
};

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

/// Rows that a few vectors of columns go through before the next ones do: all of a run where these
/// are all columns, else few, so that memory is read in its order.
CK_INLINE int64_t rows_at_once(int64_t cols) {
  return cols <= CK_LANES || cols == FEW || cols == WIDE ? RUN_ROWS : SOME_ROWS;
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

/// Rows [row, end) of a run whose first one is at x: deviations from it, and their squares, of V
/// vectors of columns from `i` on, or of the `count` ones that are left.
CK_INLINE void add_lanes(float *sum, float *square, const void *x, int64_t stride, int64_t row,
                         int64_t end, int64_t i, const int V, int count, ck_dtype type) {
  ck_v16f shift[COLUMN_VECTORS], s[COLUMN_VECTORS], q[COLUMN_VECTORS];
  for (int v = 0; v < V; ++v) {
    shift[v] = load_any(x, i + v * CK_LANES, count, type);
    s[v] = row == 0 ? ck_splat(0) : ck_load(sum + i + v * CK_LANES);
    q[v] = row == 0 ? ck_splat(0) : ck_load(square + i + v * CK_LANES);
  }
  for (; row + 4 <= end; row += 4) {
    const void *at = row_of(x, row, stride, type);
    for (int v = 0; v < V; ++v) {
      ck_v16f d[4];
      for (int r = 0; r < 4; ++r) {
        d[r] = load_any(row_of(at, r, stride, type), i + v * CK_LANES, count, type) - shift[v];
      }
      const ck_v16f low = ck_fma(d[0], d[0], d[1] * d[1]);
      s[v] += (d[0] + d[1]) + (d[2] + d[3]);
      q[v] += low + ck_fma(d[2], d[2], d[3] * d[3]);
    }
  }
  for (; row < end; ++row) {
    const void *at = row_of(x, row, stride, type);
    for (int v = 0; v < V; ++v) {
      const ck_v16f d = load_any(at, i + v * CK_LANES, count, type) - shift[v];
      s[v] += d;
      q[v] = ck_fma(d, d, q[v]);
    }
  }
  for (int v = 0; v < V; ++v) {
    ck_store(sum + i + v * CK_LANES, s[v]);
    ck_store(square + i + v * CK_LANES, q[v]);
  }
}

CK_INLINE void add_run(float *sum, float *square, const void *x, int64_t stride, int64_t rows,
                       int64_t cols, ck_dtype type) {
  const int64_t at_once = rows_at_once(cols);
  for (int64_t row = 0; row < rows; row += at_once) {
    const int64_t end = row + at_once < rows ? row + at_once : rows;
    int64_t i = 0;
    for (; i + WIDE <= cols; i += WIDE)
      add_lanes(sum, square, x, stride, row, end, i, COLUMN_VECTORS, CK_LANES, type);
    for (; i + FEW <= cols; i += FEW)
      add_lanes(sum, square, x, stride, row, end, i, FEW_VECTORS, CK_LANES, type);
    for (; i + CK_LANES <= cols; i += CK_LANES)
      add_lanes(sum, square, x, stride, row, end, i, 1, CK_LANES, type);
    if (i < cols) add_lanes(sum, square, x, stride, row, end, i, 1, (int)(cols - i), type);
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

/// Adds rows from `row` on to Σ g and Σ g (x - mean), of V vectors of columns from `i` on, or of
/// the `count` ones that are left.
CK_INLINE void sum_lanes(const ck_batch_norm_backward_args *a, const column_unit *u, float *sum,
                         float *product, bool is_first, int64_t row, int64_t rows, int64_t i,
                         const int V, int count, batch_types types) {
  ck_v16f mean[COLUMN_VECTORS], s[COLUMN_VECTORS], p[COLUMN_VECTORS];
  for (int v = 0; v < V; ++v) {
    mean[v] = load_lanes(a->mean + u->column, i + v * CK_LANES, count, CK_F32);
    s[v] = is_first ? ck_splat(0) : ck_load(sum + i + v * CK_LANES);
    p[v] = is_first ? ck_splat(0) : ck_load(product + i + v * CK_LANES);
  }
  const int64_t end = row + rows;
  int64_t at = row * a->cols + u->column + i;
  for (; row + 4 <= end; row += 4, at += 4 * a->cols) {
    for (int v = 0; v < V; ++v) {
      ck_v16f g[4], d[4];
      for (int r = 0; r < 4; ++r) {
        g[r] = load_any(a->dy, at + r * a->cols + v * CK_LANES, count, types.dy);
        d[r] = load_any(a->x, at + r * a->cols + v * CK_LANES, count, types.x) - mean[v];
      }
      s[v] += (g[0] + g[1]) + (g[2] + g[3]);
      p[v] += ck_fma(g[1], d[1], g[0] * d[0]) + ck_fma(g[3], d[3], g[2] * d[2]);
    }
  }
  for (; row < end; ++row, at += a->cols) {
    for (int v = 0; v < V; ++v) {
      const ck_v16f g = load_any(a->dy, at + v * CK_LANES, count, types.dy);
      s[v] += g;
      p[v] += g * (load_any(a->x, at + v * CK_LANES, count, types.x) - mean[v]);
    }
  }
  for (int v = 0; v < V; ++v) {
    ck_store(sum + i + v * CK_LANES, s[v]);
    ck_store(product + i + v * CK_LANES, p[v]);
  }
}

CK_INLINE void sum_run(const ck_batch_norm_backward_args *a, const column_unit *u, float *sum,
                       float *product, int64_t first, int64_t rows, batch_types types) {
  const int64_t at_once = rows_at_once(u->cols);
  for (int64_t row = 0; row < rows; row += at_once) {
    const int64_t count = rows - row < at_once ? rows - row : at_once;
    int64_t i = 0;
    for (; i + WIDE <= u->cols; i += WIDE)
      sum_lanes(a, u, sum, product, row == 0, first + row, count, i, COLUMN_VECTORS, CK_LANES,
                types);
    for (; i + FEW <= u->cols; i += FEW)
      sum_lanes(a, u, sum, product, row == 0, first + row, count, i, FEW_VECTORS, CK_LANES, types);
    for (; i + CK_LANES <= u->cols; i += CK_LANES)
      sum_lanes(a, u, sum, product, row == 0, first + row, count, i, 1, CK_LANES, types);
    if (i < u->cols)
      sum_lanes(a, u, sum, product, row == 0, first + row, count, i, 1, (int)(u->cols - i), types);
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
      sum_run(a, &u, sum, product, u.row + run, rows, types);
      for (int64_t i = 0; i < u.cols; i += CK_LANES) {
        const ck_v16f s = ck_load(sum + i), p = ck_load(product + i);
        ck_store(sums + i, run == 0 ? s : ck_load(sums + i) + s);
        ck_store(products + i, run == 0 ? p : ck_load(products + i) + p);
      }
    }
  }
}

/// dx of rows from `row` on, of V vectors of columns from `i` on, or of the `count` ones that are
/// left.
CK_INLINE void put_lanes(const ck_batch_norm_backward_args *a, const column_unit *u,
                         const float *coefficients, int64_t row, int64_t rows, int64_t i,
                         const int V, int count, bool streams, batch_types types) {
  const int64_t stride = column_stride(a->cols);
  ck_v16f mean[COLUMN_VECTORS], scale[COLUMN_VECTORS], level[COLUMN_VECTORS], slope[COLUMN_VECTORS];
  for (int v = 0; v < V; ++v) {
    const float *own = coefficients + i + v * CK_LANES;
    mean[v] = load_lanes(a->mean + u->column, i + v * CK_LANES, count, CK_F32);
    scale[v] = ck_load(own);
    level[v] = ck_load(own + stride);
    slope[v] = ck_load(own + 2 * stride);
  }
  int64_t at = row * a->cols + u->column + i;
  for (int64_t r = 0; r < rows; ++r, at += a->cols) {
    for (int v = 0; v < V; ++v) {
      const ck_v16f g = load_any(a->dy, at + v * CK_LANES, count, types.dy);
      const ck_v16f d = load_any(a->x, at + v * CK_LANES, count, types.x) - mean[v];
      store_lanes(a->dx, at + v * CK_LANES, ck_fnma(d, slope[v], g - level[v]) * scale[v], count,
                  types.dx, streams);
    }
  }
}

CK_INLINE void put_run(const ck_batch_norm_backward_args *a, const column_unit *u,
                       const float *coefficients, int64_t row, int64_t rows, bool streams,
                       batch_types types) {
  int64_t i = 0;
  for (; i + WIDE <= u->cols; i += WIDE)
    put_lanes(a, u, coefficients, row, rows, i, COLUMN_VECTORS, CK_LANES, streams, types);
  for (; i + FEW <= u->cols; i += FEW)
    put_lanes(a, u, coefficients, row, rows, i, FEW_VECTORS, CK_LANES, streams, types);
  for (; i + CK_LANES <= u->cols; i += CK_LANES)
    put_lanes(a, u, coefficients, row, rows, i, 1, CK_LANES, streams, types);
  if (i < u->cols)
    put_lanes(a, u, coefficients, row, rows, i, 1, (int)(u->cols - i), streams, types);
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
    const int64_t at_once = rows_at_once(u.cols);
    for (int64_t run = 0; run < u.rows; run += at_once) {
      const int64_t rows = u.rows - run < at_once ? u.rows - run : at_once;
      put_run(a, &u, own, u.row + run, rows, streams, types);
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
