// Layer and RMS normalisation, written once; norm_<level>.c compiles it for its level.
//
// A row is read from memory once and then twice from cache. `centered` is layer normalisation.
#include "norm_plan.h"
#include "norm_rows.h"

/// A row on its way through the forward pass: v = (x scale - mean) rstd + shift, where the shift is
/// what rounding the mean has left out, times -rstd.
typedef struct forward_row {
  void *y;
  const void *x;
  const float *gamma, *beta;
  ck_v16f mean, rstd, shift;
} forward_row;

CK_INLINE forward_row forward_of(const ck_norm_args *a, int64_t row, row_statistics s,
                                 ck_dtype x_type, ck_dtype y_type) {
  return (forward_row){(void *)row_of(a->y, row, a->cols, y_type),
                       row_of(a->x, row, a->x_stride, x_type),
                       a->gamma,
                       a->beta,
                       ck_splat(s.mean),
                       ck_splat(s.rstd),
                       ck_splat(-s.rest * s.rstd)};
}

/// y_i … of `count` elements x_i scale ….
CK_INLINE ck_v16f normalised(const forward_row *r, ck_v16f x, int64_t i, int count, bool centered) {
  const ck_v16f v = centered ? ck_fma(x - r->mean, r->rstd, r->shift) : x * r->rstd;
  if (r->gamma != NULL && r->beta != NULL) {
    return ck_fma(v, load_lanes(r->gamma, i, count, CK_F32), load_lanes(r->beta, i, count, CK_F32));
  }
  if (r->gamma != NULL) return v * load_lanes(r->gamma, i, count, CK_F32);
  return r->beta == NULL ? v : v + load_lanes(r->beta, i, count, CK_F32);
}

/// The same from row to row.
CK_INLINE void normalise(const forward_row *r, int64_t i, int count, bool streams, bool centered,
                         ck_dtype x_type, ck_dtype y_type) {
  const ck_v16f v = normalised(r, load_lanes(r->x, i, count, x_type), i, count, centered);
  store_lanes(r->y, i, v, count, y_type, streams);
}

CK_INLINE void put_statistics(const ck_norm_args *a, int64_t row, row_statistics s, bool centered) {
  if (centered && a->mean != NULL) a->mean[row] = s.mean;
  if (a->rstd != NULL) a->rstd[row] = s.rstd;
}

/// The whole of a row that is not for the usual way: its elements are scaled as they are read.
static __attribute__((noinline)) void careful_forward(const ck_norm_args *a, int64_t row,
                                                      bool centered, ck_dtype x_type,
                                                      ck_dtype y_type) {
  const void *x = row_of(a->x, row, a->x_stride, x_type);
  const careful_row s = careful_statistics(x, a->cols, a->epsilon, centered, x_type);
  put_statistics(a, row, s.own, centered);
  const forward_row r = forward_of(a, row, s.scaled, x_type, y_type);
  for (int64_t i = 0; i < a->cols; i += CK_LANES) {
    const int count = lanes_left(a->cols - i);
    const ck_v16f scaled = load_any(x, i, count, x_type) * s.scale;
    const ck_v16f v =
        centered ? normalised(&r, scaled, i, count, true) : normalised(&r, scaled, i, count, false);
    store_any(r.y, i, v, count, y_type);
  }
}

CK_INLINE void forward_rows(const ck_norm_args *a, const ck_thread *t, bool centered,
                            ck_dtype x_type, ck_dtype y_type) {
  const int64_t n = a->cols;
  const bool streams =
      a->y != a->x && ck_streams_rows(a->y, a->rows, n, (int64_t)ck_dtype_bytes(y_type));
  int64_t begin, end;
  ck_share(a->rows, t, &begin, &end);
  for (int64_t row = begin; row < end; ++row) {
    const void *x = row_of(a->x, row, a->x_stride, x_type);
    row_statistics known;
    if (!usual_statistics(&known, x, n, a->epsilon, centered, x_type)) {
      careful_forward(a, row, centered, x_type, y_type);
      continue;
    }
    put_statistics(a, row, known, centered);
    const forward_row r = forward_of(a, row, known, x_type, y_type);
    int64_t i = 0;
    for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
      for (int j = 0; j < 4; j += 2) {
        const int64_t at = i + j * CK_LANES;
        ck_v16f v[2];
        load_two(v, r.x, at, x_type);
        v[0] = normalised(&r, v[0], at, CK_LANES, centered);
        v[1] = normalised(&r, v[1], at + CK_LANES, CK_LANES, centered);
        store_two(r.y, at, v, y_type, streams);
      }
    }
    for (; i + CK_LANES <= n; i += CK_LANES) {
      normalise(&r, i, CK_LANES, streams, centered, x_type, y_type);
    }
    if (i < n) normalise(&r, i, (int)(n - i), false, centered, x_type, y_type);
  }
  if (streams) ck_stream_end();
}

CK_INLINE void norm_forward(const ck_norm_args *a, const ck_thread *t, bool centered) {
  if (a->x_dtype == CK_BF16 && a->y_dtype == CK_BF16) {
    forward_rows(a, t, centered, CK_BF16, CK_BF16);
  } else if (a->x_dtype == CK_BF16) {
    forward_rows(a, t, centered, CK_BF16, CK_F32);
  } else if (a->y_dtype == CK_BF16) {
    forward_rows(a, t, centered, CK_F32, CK_BF16);
  } else {
    forward_rows(a, t, centered, CK_F32, CK_F32);
  }
}

/// The element types of the backward pass.
typedef struct backward_types {
  ck_dtype dx, dy, x;
} backward_types;

/// A row on its way through the backward pass; dgamma and dbeta are its block's sums, or NULL.
typedef struct backward_row {
  void *dx;
  const void *dy, *x;
  float *dgamma, *dbeta;
  const float *gamma;
  ck_v16f mean, rstd;
} backward_row;

/// g of `count` elements dy, and n of as many x.
CK_INLINE ck_v16f upstream(const backward_row *r, ck_v16f dy, int64_t i, int count) {
  return r->gamma == NULL ? dy : dy * load_lanes(r->gamma, i, count, CK_F32);
}
CK_INLINE ck_v16f normal(const backward_row *r, ck_v16f x) { return (x - r->mean) * r->rstd; }

/// Adds `count` elements to Σ g, Σ g n, dgamma and dbeta.
CK_INLINE void add_up(const backward_row *r, ck_v16f *sum_g, ck_v16f *sum_gn, ck_v16f dy, ck_v16f x,
                      int64_t i, int count) {
  const ck_v16f n = keep_lanes(normal(r, x), count);
  const ck_v16f g = upstream(r, dy, i, count);
  *sum_g += g;
  *sum_gn = ck_fma(g, n, *sum_gn);
  if (r->dgamma != NULL) {
    const ck_v16f sum = ck_fma(dy, n, load_lanes(r->dgamma, i, count, CK_F32));
    store_lanes(r->dgamma, i, sum, count, CK_F32, false);
  }
  if (r->dbeta != NULL) {
    const ck_v16f sum = load_lanes(r->dbeta, i, count, CK_F32) + dy;
    store_lanes(r->dbeta, i, sum, count, CK_F32, false);
  }
}

/// What the second pass over a row needs of the first: Σ g / C and Σ g n / C.
typedef struct row_means {
  ck_v16f g, gn;
} row_means;

/// dx of `count` elements.
CK_INLINE ck_v16f downstream(const backward_row *r, const row_means *m, ck_v16f dy, ck_v16f x,
                             int64_t i, int count) {
  return ck_fnma(normal(r, x), m->gn, upstream(r, dy, i, count) - m->g) * r->rstd;
}

/// One row's part of the backward pass. `streams`: dx goes past the cache, and memory, which would
/// else stand still between the row's sums and its gradient, brings the next row meanwhile.
CK_INLINE void backward(const ck_norm_backward_args *a, int64_t row, float *dgamma, float *dbeta,
                        bool streams, bool centered, backward_types types) {
  const int64_t n = a->cols;
  const void *x = row_of(a->x, row, a->x_stride, types.x);
  const void *dy = row_of(a->dy, row, a->dy_stride, types.dy);
  row_statistics known;
  if (a->rstd == NULL) {
    known = statistics_of(x, n, a->epsilon, centered, types.x);
  } else {
    known = (row_statistics){.mean = centered ? a->mean[row] : 0.0f, .rstd = a->rstd[row]};
  }
  if (!centered) known.mean = 0;  // known to the compiler, which leaves the subtraction out
  const backward_row r = {(void *)row_of(a->dx, row, n, types.dx),
                          dy,
                          x,
                          dgamma,
                          dbeta,
                          a->gamma,
                          ck_splat(known.mean),
                          ck_splat(known.rstd)};
  ck_v16f sum_g = ck_splat(0), sum_gn = ck_splat(0), u[2], v[2];
  int64_t i = 0;
  for (; i + 2 * CK_LANES <= n; i += 2 * CK_LANES) {
    if (streams) {
      prefetch(row_of(x, 1, a->x_stride + i, types.x), types.x);
      prefetch(row_of(dy, 1, a->dy_stride + i, types.dy), types.dy);
    }
    load_two(u, dy, i, types.dy);
    load_two(v, x, i, types.x);
    for (int j = 0; j < 2; ++j) add_up(&r, &sum_g, &sum_gn, u[j], v[j], i + j * CK_LANES, CK_LANES);
  }
  for (; i < n; i += CK_LANES) {
    const int count = lanes_left(n - i);
    add_up(&r, &sum_g, &sum_gn, load_lanes(dy, i, count, types.dy),
           load_lanes(x, i, count, types.x), i, count);
  }
  if (a->dx == NULL) return;
  const row_means m = {ck_splat(centered ? ck_sum(sum_g) / (float)n : 0.0f),
                       ck_splat(ck_sum(sum_gn) / (float)n)};
  for (i = 0; i + 2 * CK_LANES <= n; i += 2 * CK_LANES) {
    load_two(u, dy, i, types.dy);
    load_two(v, x, i, types.x);
    for (int j = 0; j < 2; ++j) v[j] = downstream(&r, &m, u[j], v[j], i + j * CK_LANES, CK_LANES);
    store_two(r.dx, i, v, types.dx, streams);
  }
  for (; i < n; i += CK_LANES) {
    const int count = lanes_left(n - i);
    const ck_v16f value = downstream(&r, &m, load_lanes(dy, i, count, types.dy),
                                     load_lanes(x, i, count, types.x), i, count);
    store_lanes(r.dx, i, value, count, types.dx, streams && count == CK_LANES);
  }
}

/// out_c = Σ over blocks of their sums at c, for c in [begin, end).
CK_INLINE void combine(float *out, const float *sums, int64_t blocks, int64_t stride, int64_t begin,
                       int64_t end) {
  for (int64_t i = begin; i < end; i += CK_LANES) {
    const int count = lanes_left(end - i);
    ck_v16f sum = ck_splat(0);
    for (int64_t b = 0; b < blocks; ++b) sum += load_lanes(sums + b * stride, i, count, CK_F32);
    store_lanes(out, i, sum, count, CK_F32, false);
  }
}

/// The blocks' dx and sums.
CK_INLINE void backward_blocks(const ck_norm_backward_args *a, const ck_thread *t, bool centered,
                               backward_types types) {
  const int64_t size = block_rows(a), blocks = block_count(a), stride = block_stride(a);
  float *gammas = a->workspace;  // there is none where neither gradient is wanted
  float *betas = gammas == NULL ? NULL : gammas + blocks * stride;
  const bool streams = a->dx != NULL && a->dx != a->dy && a->dx != a->x &&
                       ck_streams_rows(a->dx, a->rows, a->cols, (int64_t)ck_dtype_bytes(types.dx));
  int64_t begin, end;
  ck_share(blocks, t, &begin, &end);
  for (int64_t b = begin; b < end; ++b) {
    float *dgamma = a->dgamma == NULL ? NULL : gammas + b * stride;
    float *dbeta = a->dbeta == NULL ? NULL : betas + b * stride;
    if (dgamma != NULL) memset(dgamma, 0, (size_t)a->cols * sizeof(float));
    if (dbeta != NULL) memset(dbeta, 0, (size_t)a->cols * sizeof(float));
    for (int64_t row = b * size; row < (b + 1) * size && row < a->rows; ++row) {
      backward(a, row, dgamma, dbeta, streams, centered, types);
    }
  }
  if (streams) ck_stream_end();
}

CK_INLINE void norm_backward(const ck_norm_backward_args *a, const ck_thread *t, bool centered) {
  // Each call is compiled for its types.
  const ck_dtype types[2] = {CK_F32, CK_BF16};
  const int wanted =
      (a->dx_dtype == CK_BF16) * 4 + (a->dy_dtype == CK_BF16) * 2 + (a->x_dtype == CK_BF16);
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; ++i) {
    if (i != wanted) continue;
    backward_blocks(a, t, centered,
                    (backward_types){types[i >> 2], types[i >> 1 & 1], types[i & 1]});
  }
  if (a->dgamma == NULL && a->dbeta == NULL) return;
  ck_barrier(t);
  const int64_t blocks = block_count(a), stride = block_stride(a);
  const float *gammas = a->workspace, *betas = gammas + blocks * stride;
  int64_t begin, end;
  ck_share(stride / CK_LANES, t, &begin, &end);
  begin *= CK_LANES;
  end = end * CK_LANES < a->cols ? end * CK_LANES : a->cols;
  if (a->dgamma != NULL) combine(a->dgamma, gammas, blocks, stride, begin, end);
  if (a->dbeta != NULL) combine(a->dbeta, betas, blocks, stride, begin, end);
}

void CK_NAME(ck_layer_norm)(const void *args, const ck_thread *t) { norm_forward(args, t, true); }

void CK_NAME(ck_rms_norm)(const void *args, const ck_thread *t) { norm_forward(args, t, false); }

void CK_NAME(ck_layer_norm_backward)(const void *args, const ck_thread *t) {
  norm_backward(args, t, true);
}

void CK_NAME(ck_rms_norm_backward)(const void *args, const ck_thread *t) {
  norm_backward(args, t, false);
}
