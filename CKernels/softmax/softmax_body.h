// Softmax and log-softmax, written once; softmax_<level>.c compiles it for its level.
#include "short_rows.h"

/// Σ_c a_c b_c, or Σ_c a_c where b is NULL.
CK_INLINE float row_dot(const float *a, const float *b, int64_t n) {
  ck_v16f sums[4] = {0};
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
    for (int j = 0; j < 4; ++j) {
      const ck_v16f v = ck_load(a + i + j * CK_LANES);
      sums[j] = b == NULL ? sums[j] + v : ck_fma(v, ck_load(b + i + j * CK_LANES), sums[j]);
    }
  }
  for (; i < n; i += CK_LANES) {
    const int count = lanes_left(n - i);
    const ck_v16f v = load_lanes(a + i, count);
    sums[0] = b == NULL ? sums[0] + v : ck_fma(v, load_lanes(b + i, count), sums[0]);
  }
  return ck_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// Softmax or its logarithm of `rows` short rows.
static void short_forward(const ck_softmax_args *a, int64_t row, int rows, bool of_log) {
  short_columns v;
  load_short(v, a->x + row * a->x_stride, a->x_stride, a->cols, rows);
  const ck_v16f m = short_max(v, a->cols);
  if (of_log) {
    short_columns e;
    for (int64_t c = 0; c < a->cols; ++c) e[c] = exp_falling(v[c] - m);
    const ck_v16f log_sum = ck_vlog(short_sum(e, a->cols));
    for (int64_t c = 0; c < a->cols; ++c) v[c] = (v[c] - m) - log_sum;
  } else {
    const ck_v16f scale = 1.0f / short_exp_sum(v, m, a->cols);
    for (int64_t c = 0; c < a->cols; ++c) v[c] *= scale;
  }
  store_short(a->out + row * a->out_stride, a->out_stride, v, a->cols, rows);
}

/// As many of the rows as are best taken together; returns the first that is left.
static int64_t short_rows_forward(const ck_softmax_args *a, int64_t row, int64_t end, bool of_log) {
  for (int rows; (rows = rows_together(row, end, a->cols)) > 0; row += rows) {
    short_forward(a, row, rows, of_log);
  }
  return row;
}

/// The gradient of `rows` short rows.
static void short_backward(const ck_softmax_args *a, int64_t row, int rows, bool of_log) {
  const ck_v16f zero = ck_splat(0);
  short_columns y, v, terms;
  load_short(y, a->y + row * a->y_stride, a->y_stride, a->cols, rows);
  load_short(v, a->dy + row * a->dy_stride, a->dy_stride, a->cols, rows);
  for (int64_t c = 0; c < a->cols; ++c) terms[c] = of_log ? v[c] : ck_fma(v[c], y[c], zero);
  const ck_v16f dot = short_sum(terms, a->cols);
  for (int64_t c = 0; c < a->cols; ++c) {
    v[c] = of_log ? ck_fnma(ck_vexp(y[c]), dot, v[c]) : y[c] * (v[c] - dot);
  }
  store_short(a->out + row * a->out_stride, a->out_stride, v, a->cols, rows);
}

static int64_t short_rows_backward(const ck_softmax_args *a, int64_t row, int64_t end,
                                   bool of_log) {
  for (int rows; (rows = rows_together(row, end, a->cols)) > 0; row += rows) {
    short_backward(a, row, rows, of_log);
  }
  return row;
}

CK_INLINE void forward(const ck_softmax_args *a, const ck_thread *t, float *kept, bool streams) {
  const int64_t n = a->cols;
  int64_t row, end;
  ck_share(a->rows, t, &row, &end);
  if (!streams) row = short_rows_forward(a, row, end, false);
  for (; row < end; ++row) {
    const float *x = a->x + row * a->x_stride;
    float *out = a->out + row * a->out_stride;
    float *e = streams ? kept : out;
    const float m = row_max(x, n);
    const ck_v16f scale = ck_splat(1.0f / row_exp_sum(e, x, m, n, x + a->x_stride));
    for (int64_t i = 0; i < n; i += CK_LANES) {
      const int count = lanes_left(n - i);
      put_lanes(out + i, load_lanes(e + i, count) * scale, count, streams);
    }
  }
}

CK_INLINE void log_forward(const ck_softmax_args *a, const ck_thread *t, bool streams) {
  const int64_t n = a->cols;
  int64_t row, end;
  ck_share(a->rows, t, &row, &end);
  if (!streams) row = short_rows_forward(a, row, end, true);
  for (; row < end; ++row) {
    const float *x = a->x + row * a->x_stride;
    float *out = a->out + row * a->out_stride;
    const float highest = row_max(x, n);
    const ck_v16f m = ck_splat(highest);
    const float sum = row_exp_sum(NULL, x, highest, n, x + a->x_stride);
    const ck_v16f log_sum = ck_vlog(ck_splat(sum));
    for (int64_t i = 0; i < n; i += CK_LANES) {
      const int count = lanes_left(n - i);
      put_lanes(out + i, (load_lanes(x + i, count) - m) - log_sum, count, streams);
    }
  }
}

CK_INLINE void backward(const ck_softmax_args *a, const ck_thread *t, bool of_log, bool streams) {
  int64_t row, end;
  ck_share(a->rows, t, &row, &end);
  if (!streams) row = short_rows_backward(a, row, end, of_log);
  for (; row < end; ++row) {
    const float *y = a->y + row * a->y_stride, *dy = a->dy + row * a->dy_stride;
    float *out = a->out + row * a->out_stride;
    const ck_v16f dot = ck_splat(row_dot(dy, of_log ? NULL : y, a->cols));
    for (int64_t i = 0; i < a->cols; i += CK_LANES) {
      const int count = lanes_left(a->cols - i);
      const ck_v16f p = load_lanes(y + i, count), d = load_lanes(dy + i, count);
      put_lanes(out + i, of_log ? ck_fnma(ck_vexp(p), dot, d) : p * (d - dot), count, streams);
    }
  }
}

/// Whether a gradient is written past the cache.
CK_INLINE bool backward_streams(const ck_softmax_args *a) {
  return a->out != a->y && rows_stream(a->out, a->dy, a->rows, a->cols, a->out_stride);
}

void CK_NAME(ck_softmax_f32)(const void *args, const ck_thread *t) {
  const ck_softmax_args *a = args;
  if (a->cols <= KEPT_COLUMNS && rows_stream(a->out, a->x, a->rows, a->cols, a->out_stride)) {
    float kept[KEPT_COLUMNS] __attribute__((aligned(64)));
    forward(a, t, kept, true);
    ck_stream_end();
  } else {
    forward(a, t, NULL, false);
  }
}

void CK_NAME(ck_log_softmax_f32)(const void *args, const ck_thread *t) {
  const ck_softmax_args *a = args;
  if (rows_stream(a->out, a->x, a->rows, a->cols, a->out_stride)) {
    log_forward(a, t, true);
    ck_stream_end();
  } else {
    log_forward(a, t, false);
  }
}

void CK_NAME(ck_softmax_backward_f32)(const void *args, const ck_thread *t) {
  if (backward_streams(args)) {
    backward(args, t, false, true);
    ck_stream_end();
  } else {
    backward(args, t, false, false);
  }
}

void CK_NAME(ck_log_softmax_backward_f32)(const void *args, const ck_thread *t) {
  if (backward_streams(args)) {
    backward(args, t, true, true);
    ck_stream_end();
  } else {
    backward(args, t, true, false);
  }
}
