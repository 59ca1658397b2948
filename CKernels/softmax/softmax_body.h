// Softmax and log-softmax, written once; softmax_<level>.c compiles it for its level.
//
// Each body is compiled for every combination of element types: they are constants of its calls.
#include "short_rows.h"

/// What a gradient is computed from.
typedef enum source { RESULT, LOG_RESULT, LOGITS } source;

/// The element types of what is read (x or y, and dy) and written.
typedef struct row_types {
  ck_dtype in, dy, out;
} row_types;

/// Σ_c a_c
CK_INLINE float row_sum(const void *a, int64_t n, ck_dtype type) {
  ck_v16f sums[4] = {0};
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
    for (int j = 0; j < 4; ++j) sums[j] += load_lanes(a, i + j * CK_LANES, CK_LANES, type);
  }
  for (; i < n; i += CK_LANES) sums[0] += load_lanes(a, i, lanes_left(n - i), type);
  return ck_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// Where a row's probabilities are read from: themselves, or, from logits, exponentials of f32
/// which `scale` makes such.
typedef struct probabilities {
  const void *y;
  ck_v16f scale;
} probabilities;

CK_INLINE ck_v16f probability_lanes(const probabilities *p, int64_t i, int count, source from,
                                    ck_dtype type) {
  if (from != LOGITS) return load_lanes(p->y, i, count, type);
  return load_lanes(p->y, i, count, CK_F32) * p->scale;
}

/// Σ_c dy_c y_c. Meanwhile, where results are streamed, the rows at `next_dy` and, unless it has
/// been already, `next_y` are fetched, which need not be there: memory would else stand still.
CK_INLINE float row_dot(const void *dy, const probabilities *p, int64_t n, const void *next_dy,
                        const void *next_y, bool streams, source from, row_types types) {
  ck_v16f sums[4] = {0};
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
    for (int j = 0; j < 4; ++j) {
      const int64_t at = i + j * CK_LANES;
      if (streams) __builtin_prefetch(row_of(next_dy, 1, at, types.dy), 0, 2);
      if (streams && from != LOGITS) __builtin_prefetch(row_of(next_y, 1, at, types.in), 0, 2);
      sums[j] = ck_fma(load_lanes(dy, at, CK_LANES, types.dy),
                       probability_lanes(p, at, CK_LANES, from, types.in), sums[j]);
    }
  }
  for (; i < n; i += CK_LANES) {
    const int count = lanes_left(n - i);
    const ck_v16f y = probability_lanes(p, i, count, from, types.in);
    sums[0] = ck_fma(load_lanes(dy, i, count, types.dy), y, sums[0]);
  }
  return ck_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// What a row is shifted by, whose greatest element is m. A row of -∞ alone, all of whose classes
/// are masked, has the probabilities 0: it is shifted by nothing, so that its exponentials are 0.
CK_INLINE float shift_of(float m) { return m == -INFINITY ? 0 : m; }
CK_INLINE ck_v16f shifts_of(ck_v16f m) {
  return ck_select(m == ck_splat(-INFINITY), ck_splat(0), m);
}

/// 1 / Σ and log Σ of such exponentials; 0 where all of them are.
CK_INLINE float scale_of(float sum) { return sum == 0 ? 0 : 1.0f / sum; }
CK_INLINE ck_v16f scales_of(ck_v16f sum) { return ck_select(sum == 0, ck_splat(0), 1.0f / sum); }
CK_INLINE ck_v16f logs_of(ck_v16f sum) { return ck_vlog(ck_select(sum == 0, ck_splat(1), sum)); }

// MARK: Short rows

/// Softmax or its logarithm of as many of the rows as are best taken together; returns the first
/// that is left.
static __attribute__((noinline)) int64_t short_rows_forward(const ck_softmax_args *a, int64_t row,
                                                            int64_t end, bool of_log,
                                                            row_types types) {
  for (int rows; (rows = rows_together(row, end, a->cols)) > 0; row += rows) {
    short_columns v;
    load_short(v, row_of(a->x, row, a->x_stride, types.in), a->x_stride, a->cols, rows, types.in);
    const ck_v16f m = shifts_of(short_max(v, a->cols));
    if (of_log) {
      short_columns e;
      for (int64_t c = 0; c < a->cols; ++c) e[c] = exp_falling(v[c] - m);
      const ck_v16f log_sum = logs_of(short_sum(e, a->cols));
      for (int64_t c = 0; c < a->cols; ++c) v[c] = (v[c] - m) - log_sum;
    } else {
      const ck_v16f scale = scales_of(short_exp_sum(v, m, a->cols));
      for (int64_t c = 0; c < a->cols; ++c) v[c] *= scale;
    }
    void *out = (void *)row_of(a->out, row, a->out_stride, types.out);
    store_short(out, a->out_stride, v, a->cols, rows, types.out);
  }
  return row;
}

/// The same of gradients.
static __attribute__((noinline)) int64_t short_rows_backward(const ck_softmax_args *a, int64_t row,
                                                             int64_t end, source from,
                                                             row_types types) {
  const void *in = from == LOGITS ? a->x : a->y;
  const int64_t stride = from == LOGITS ? a->x_stride : a->y_stride;
  for (int rows; (rows = rows_together(row, end, a->cols)) > 0; row += rows) {
    short_columns y, v, terms;
    load_short(y, row_of(in, row, stride, types.in), stride, a->cols, rows, types.in);
    load_short(v, row_of(a->dy, row, a->dy_stride, types.dy), a->dy_stride, a->cols, rows,
               types.dy);
    if (from == LOGITS) {
      const ck_v16f m = shifts_of(short_max(y, a->cols));
      const ck_v16f scale = scales_of(short_exp_sum(y, m, a->cols));
      for (int64_t c = 0; c < a->cols; ++c) y[c] *= scale;
    }
    for (int64_t c = 0; c < a->cols; ++c) {
      terms[c] = from == LOG_RESULT ? v[c] : ck_fma(v[c], y[c], ck_splat(0));
    }
    const ck_v16f dot = short_sum(terms, a->cols);
    for (int64_t c = 0; c < a->cols; ++c) {
      v[c] = from == LOG_RESULT ? ck_fnma(exp_any(y[c]), dot, v[c]) : y[c] * (v[c] - dot);
    }
    if (from == LOG_RESULT && a->cols > 0 && ck_any(y[0] == ck_splat(-INFINITY))) {
      const ck_v16i masked = short_max(y, a->cols) == ck_splat(-INFINITY);
      for (int64_t c = 0; c < a->cols; ++c) {
        v[c] = ck_select(masked & (y[c] == y[c]), ck_splat(0), v[c]);
      }
    }
    void *out = (void *)row_of(a->out, row, a->out_stride, types.out);
    store_short(out, a->out_stride, v, a->cols, rows, types.out);
  }
  return row;
}

// MARK: Rows

/// Whether a row, which is not empty, begins with -∞.
CK_INLINE bool begins_masked(const void *y, ck_dtype type) {
  uint32_t bits = 0;
  memcpy(type == CK_BF16 ? (char *)&bits + 2 : (char *)&bits, y, ck_dtype_bytes(type));
  return bits == 0xff800000u;
}

/// Whether a row of logarithms is -∞ throughout, as where all classes are masked.
static __attribute__((noinline)) bool is_masked(const void *y, int64_t n, ck_dtype type) {
  for (int64_t i = 0; i < n; i += CK_LANES) {
    const int count = lanes_left(n - i);
    const ck_v16f v = keep_lanes(load_any(y, i, count, type), count, -INFINITY);
    if (ck_any(~(v == ck_splat(-INFINITY)))) return false;
  }
  return true;
}

/// A row's probabilities from its exponentials.
CK_INLINE void write_scaled(void *out, const float *e, ck_v16f scale, int64_t n, bool streams,
                            ck_dtype type) {
  int64_t i = 0;
  for (; i + CK_LANES <= n; i += CK_LANES) {
    store_lanes(out, i, ck_load(e + i) * scale, CK_LANES, type, streams);
  }
  if (i == n) return;
  const int count = (int)(n - i);
  store_lanes(out, i, load_lanes(e, i, count, CK_F32) * scale, count, type, false);
}

/// The same of a row too long for its exponentials to be kept: they are computed once more.
static __attribute__((noinline)) void write_long(void *out, const void *x, float m, float scale,
                                                 int64_t n, row_types types) {
  for (int64_t i = 0; i < n; i += CK_LANES) {
    const int count = lanes_left(n - i);
    const ck_v16f e = exp_falling(load_any(x, i, count, types.in) - m);
    store_any(out, i, e * scale, count, types.out);
  }
}

CK_INLINE void forward(const ck_softmax_args *a, const ck_thread *t, bool streams,
                       row_types types) {
  const int64_t n = a->cols;
  float kept[CK_KEPT_COLUMNS] __attribute__((aligned(64)));
  int64_t row, end;
  ck_share(a->rows, t, &row, &end);
  if (!streams) row = short_rows_forward(a, row, end, false, types);
  for (; row < end; ++row) {
    const void *x = row_of(a->x, row, a->x_stride, types.in);
    void *out = (void *)row_of(a->out, row, a->out_stride, types.out);
    // Where the exponentials are until their sum is known.
    float *e = types.out == CK_F32 && !streams ? out : n <= CK_KEPT_COLUMNS ? kept : NULL;
    const float m = shift_of(row_max(x, n, types.in));
    const void *next = row_of(x, 1, a->x_stride, types.in);
    const float scale = scale_of(row_exp_sum(e, x, m, n, next, types.in));
    if (e != NULL) {
      write_scaled(out, e, ck_splat(scale), n, streams, types.out);
    } else {
      write_long(out, x, m, scale, n, types);
    }
  }
  if (streams) ck_stream_end();
}

/// out_c = x_c - m - log s
CK_INLINE void write_logarithms(void *out, const void *x, ck_v16f m, ck_v16f log_sum, int64_t n,
                                bool streams, row_types types) {
  int64_t i = 0;
  for (; i + CK_LANES <= n; i += CK_LANES) {
    const ck_v16f y = (load_lanes(x, i, CK_LANES, types.in) - m) - log_sum;
    store_lanes(out, i, y, CK_LANES, types.out, streams);
  }
  if (i == n) return;
  const int count = (int)(n - i);
  const ck_v16f y = (load_lanes(x, i, count, types.in) - m) - log_sum;
  store_lanes(out, i, y, count, types.out, false);
}

CK_INLINE void log_forward(const ck_softmax_args *a, const ck_thread *t, bool streams,
                           row_types types) {
  const int64_t n = a->cols;
  int64_t row, end;
  ck_share(a->rows, t, &row, &end);
  if (!streams) row = short_rows_forward(a, row, end, true, types);
  for (; row < end; ++row) {
    const void *x = row_of(a->x, row, a->x_stride, types.in);
    void *out = (void *)row_of(a->out, row, a->out_stride, types.out);
    const float m = shift_of(row_max(x, n, types.in));
    const void *next = row_of(x, 1, a->x_stride, types.in);
    const float sum = row_exp_sum(NULL, x, m, n, next, types.in);
    write_logarithms(out, x, ck_splat(m), logs_of(ck_splat(sum)), n, streams, types);
  }
  if (streams) ck_stream_end();
}

/// The gradient's lanes at i.
CK_INLINE ck_v16f gradient_lanes(const void *dy, const probabilities *p, ck_v16f dot, int64_t i,
                                 int count, source from, row_types types) {
  const ck_v16f d = load_lanes(dy, i, count, types.dy);
  const ck_v16f v = probability_lanes(p, i, count, from, types.in);
  return from == LOG_RESULT ? ck_fnma(exp_any(v), dot, d) : v * (d - dot);
}

CK_INLINE void write_gradient(void *out, const void *dy, const probabilities *p, ck_v16f dot,
                              int64_t n, bool streams, source from, row_types types) {
  int64_t i = 0;
  for (; i + CK_LANES <= n; i += CK_LANES) {
    const ck_v16f g = gradient_lanes(dy, p, dot, i, CK_LANES, from, types);
    store_lanes(out, i, g, CK_LANES, types.out, streams);
  }
  if (i == n) return;
  const int count = (int)(n - i);
  const ck_v16f g = gradient_lanes(dy, p, dot, i, count, from, types);
  store_lanes(out, i, g, count, types.out, false);
}

CK_INLINE void backward(const ck_softmax_args *a, const ck_thread *t, source from, bool streams,
                        row_types types) {
  const int64_t n = a->cols;
  const void *in = from == LOGITS ? a->x : a->y;
  const int64_t stride = from == LOGITS ? a->x_stride : a->y_stride;
  float kept[CK_KEPT_COLUMNS] __attribute__((aligned(64)));  // from logits alone
  int64_t row, end;
  ck_share(a->rows, t, &row, &end);
  if (!streams) row = short_rows_backward(a, row, end, from, types);
  for (; row < end; ++row) {
    const void *y = row_of(in, row, stride, types.in);
    const void *dy = row_of(a->dy, row, a->dy_stride, types.dy);
    void *out = (void *)row_of(a->out, row, a->out_stride, types.out);
    probabilities p = {y, ck_splat(0)};
    if (from == LOGITS) {
      const float m = shift_of(row_max(y, n, types.in));
      const void *next = row_of(y, 1, stride, types.in);
      const float sum = row_exp_sum(kept, y, m, n, next, types.in);
      p = (probabilities){kept, ck_splat(scale_of(sum))};
    }
    float dot;
    if (from == LOG_RESULT && n > 0 && __builtin_expect(begins_masked(y, types.in), false) &&
        is_masked(y, n, types.in)) {
      memset(out, 0, (size_t)n * ck_dtype_bytes(types.out));
      continue;
    }
    if (from == LOG_RESULT) {
      dot = row_sum(dy, n, types.dy);
    } else {
      const void *next_dy = row_of(dy, 1, a->dy_stride, types.dy);
      const void *next_y = row_of(y, 1, stride, types.in);
      dot = row_dot(dy, &p, n, next_dy, next_y, streams, from, types);
    }
    write_gradient(out, dy, &p, ck_splat(dot), n, streams, from, types);
  }
  if (streams) ck_stream_end();
}

// MARK: The entries: each call is compiled for its types

CK_INLINE void forward_of_types(const ck_softmax_args *a, const ck_thread *t, bool of_log) {
  const bool streams =
      (of_log || a->cols <= CK_KEPT_COLUMNS) &&
      rows_stream(a->out, a->x, a->rows, a->cols, a->out_stride, (ck_dtype)a->out_dtype);
  const ck_dtype types[2] = {CK_F32, CK_BF16};
  const int wanted = (a->x_dtype == CK_BF16) * 2 + (a->out_dtype == CK_BF16);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; ++i) {
    const row_types those = {types[i >> 1], CK_F32, types[i & 1]};
    if (i != wanted) continue;
    if (of_log && streams) log_forward(a, t, true, those);
    if (of_log && !streams) log_forward(a, t, false, those);
    if (!of_log && streams) forward(a, t, true, those);
    if (!of_log && !streams) forward(a, t, false, those);
  }
}

CK_INLINE void backward_of_types(const ck_softmax_args *a, const ck_thread *t, source from) {
  const ck_dtype types[2] = {CK_F32, CK_BF16};
  const int32_t in = from == LOGITS ? a->x_dtype : a->y_dtype;
  const bool streams =
      a->out != (from == LOGITS ? a->x : a->y) &&
      rows_stream(a->out, a->dy, a->rows, a->cols, a->out_stride, (ck_dtype)a->out_dtype);
  const int wanted = (in == CK_BF16) * 4 + (a->dy_dtype == CK_BF16) * 2 + (a->out_dtype == CK_BF16);
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; ++i) {
    const row_types those = {types[i >> 2], types[i >> 1 & 1], types[i & 1]};
    if (i != wanted) continue;
    if (streams) backward(a, t, from, true, those);
    if (!streams) backward(a, t, from, false, those);
  }
}

void CK_NAME(ck_softmax)(const void *args, const ck_thread *t) { forward_of_types(args, t, false); }

void CK_NAME(ck_log_softmax)(const void *args, const ck_thread *t) {
  forward_of_types(args, t, true);
}

void CK_NAME(ck_softmax_backward)(const void *args, const ck_thread *t) {
  backward_of_types(args, t, RESULT);
}

void CK_NAME(ck_softmax_backward_of_logits)(const void *args, const ck_thread *t) {
  backward_of_types(args, t, LOGITS);
}

void CK_NAME(ck_log_softmax_backward)(const void *args, const ck_thread *t) {
  backward_of_types(args, t, LOG_RESULT);
}
