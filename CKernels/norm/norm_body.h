// Layer and RMS normalisation, written once; norm_<level>.c compiles it for its level.
//
// A row is read from memory once and then twice from cache. `centered` is layer normalisation.
#include "norm_plan.h"

CK_INLINE int lanes_left(int64_t n) { return n < CK_LANES ? (int)n : CK_LANES; }

CK_INLINE ck_v16f load_lanes(const float *p, int count) {
  return count == CK_LANES ? ck_load(p) : ck_load_n(p, count);
}

CK_INLINE void store_lanes(float *p, ck_v16f v, int count) {
  if (count == CK_LANES) {
    ck_store(p, v);
  } else {
    ck_store_n(p, v, count);
  }
}

/// v in the first `count` lanes, 0 in the rest.
CK_INLINE ck_v16f keep_lanes(ck_v16f v, int count) {
  return ck_select(ck_lanes() < ck_splat_i32(count), v, ck_splat(0));
}

CK_INLINE float row_sum(const float *x, int64_t n) {
  ck_v16f sums[4] = {0};
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
    for (int j = 0; j < 4; ++j) sums[j] += ck_load(x + i + j * CK_LANES);
  }
  for (; i < n; i += CK_LANES) sums[0] += load_lanes(x + i, lanes_left(n - i));
  return ck_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// Σ (x - mean)²
CK_INLINE float row_squares(const float *x, float mean, int64_t n) {
  const ck_v16f m = ck_splat(mean);
  ck_v16f sums[4] = {0};
  int64_t i = 0;
  for (; i + 4 * CK_LANES <= n; i += 4 * CK_LANES) {
    for (int j = 0; j < 4; ++j) {
      const ck_v16f d = ck_load(x + i + j * CK_LANES) - m;
      sums[j] = ck_fma(d, d, sums[j]);
    }
  }
  for (; i < n; i += CK_LANES) {
    const int count = lanes_left(n - i);
    const ck_v16f d = keep_lanes(load_lanes(x + i, count) - m, count);
    sums[0] = ck_fma(d, d, sums[0]);
  }
  return ck_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// A row's mean (0 unless `centered`) and 1 / sqrt(Σ (x - mean)² / C + epsilon).
typedef struct row_statistics {
  float mean;
  float rstd;
} row_statistics;

CK_INLINE row_statistics statistics_of(const float *x, int64_t n, float epsilon, bool centered) {
  row_statistics s;
  s.mean = centered ? row_sum(x, n) / (float)n : 0.0f;
  s.rstd = 1.0f / sqrtf(row_squares(x, s.mean, n) / (float)n + epsilon);
  return s;
}

CK_INLINE void norm_forward(const ck_norm_args *a, const ck_thread *t, bool centered) {
  const int64_t n = a->cols;
  const bool streams = a->y != a->x && a->y != a->sum && ck_streams(a->y, a->rows, n);
  int64_t begin, end;
  ck_share(a->rows, t, &begin, &end);
  for (int64_t row = begin; row < end; ++row) {
    const float *x = a->x + row * a->x_stride;
    if (a->residual != NULL) {
      float *sum = a->sum + row * n;
      const float *r = a->residual + row * n;
      for (int64_t i = 0; i < n; i += CK_LANES) {
        const int count = lanes_left(n - i);
        store_lanes(sum + i, load_lanes(x + i, count) + load_lanes(r + i, count), count);
      }
      x = sum;
    }
    const row_statistics known = statistics_of(x, n, a->epsilon, centered);
    if (centered && a->mean != NULL) a->mean[row] = known.mean;
    if (a->rstd != NULL) a->rstd[row] = known.rstd;
    const ck_v16f m = ck_splat(known.mean), s = ck_splat(known.rstd);
    float *y = a->y + row * n;
    for (int64_t i = 0; i < n; i += CK_LANES) {
      const int count = lanes_left(n - i);
      ck_v16f v = (load_lanes(x + i, count) - m) * s;
      if (a->gamma != NULL && a->beta != NULL) {
        v = ck_fma(v, load_lanes(a->gamma + i, count), load_lanes(a->beta + i, count));
      } else if (a->gamma != NULL) {
        v *= load_lanes(a->gamma + i, count);
      } else if (a->beta != NULL) {
        v += load_lanes(a->beta + i, count);
      }
      if (streams) {
        ck_stream(y + i, v);
      } else {
        store_lanes(y + i, v, count);
      }
    }
  }
  if (streams) ck_stream_end();
}

/// One row's part of the backward pass; dgamma and dbeta are this block's sums, or NULL. `streams`:
/// dx goes past the cache, and memory, which would else stand still between the row's sums and its
/// gradient, brings the next row meanwhile.
CK_INLINE void backward_row(const ck_norm_backward_args *a, int64_t row, float *dgamma,
                            float *dbeta, bool streams, bool centered) {
  const int64_t n = a->cols;
  const float *x = a->x + row * a->x_stride, *dy = a->dy + row * a->dy_stride;
  row_statistics known;
  if (a->rstd == NULL) {
    known = statistics_of(x, n, a->epsilon, centered);
  } else {
    known = (row_statistics){centered ? a->mean[row] : 0.0f, a->rstd[row]};
  }
  const ck_v16f mean = ck_splat(known.mean), rstd = ck_splat(known.rstd);
  ck_v16f sum_g = ck_splat(0), sum_gn = ck_splat(0);
  for (int64_t i = 0; i < n; i += CK_LANES) {
    if (streams) {
      __builtin_prefetch(x + a->x_stride + i, 0, 2);
      __builtin_prefetch(dy + a->dy_stride + i, 0, 2);
    }
    const int count = lanes_left(n - i);
    const ck_v16f d = load_lanes(dy + i, count);
    const ck_v16f normal = keep_lanes((load_lanes(x + i, count) - mean) * rstd, count);
    const ck_v16f g = a->gamma == NULL ? d : d * load_lanes(a->gamma + i, count);
    if (centered) sum_g += g;
    sum_gn = ck_fma(g, normal, sum_gn);
    if (dgamma != NULL) {
      store_lanes(dgamma + i, ck_fma(d, normal, load_lanes(dgamma + i, count)), count);
    }
    if (dbeta != NULL) store_lanes(dbeta + i, load_lanes(dbeta + i, count) + d, count);
  }
  if (a->dx == NULL) return;
  const ck_v16f mean_g = ck_splat(centered ? ck_sum(sum_g) / (float)n : 0.0f);
  const ck_v16f mean_gn = ck_splat(ck_sum(sum_gn) / (float)n);
  float *dx = a->dx + row * n;
  for (int64_t i = 0; i < n; i += CK_LANES) {
    const int count = lanes_left(n - i);
    const ck_v16f d = load_lanes(dy + i, count);
    const ck_v16f normal = (load_lanes(x + i, count) - mean) * rstd;
    const ck_v16f g = a->gamma == NULL ? d : d * load_lanes(a->gamma + i, count);
    const ck_v16f v = ck_fnma(normal, mean_gn, g - mean_g) * rstd;
    if (streams) {
      ck_stream(dx + i, v);
    } else {
      store_lanes(dx + i, v, count);
    }
  }
}

/// out_c = Σ over blocks of their sums at c, for c in [begin, end).
CK_INLINE void combine(float *out, const float *sums, int64_t blocks, int64_t stride, int64_t begin,
                       int64_t end) {
  for (int64_t i = begin; i < end; i += CK_LANES) {
    const int count = lanes_left(end - i);
    ck_v16f sum = ck_splat(0);
    for (int64_t b = 0; b < blocks; ++b) sum += load_lanes(sums + b * stride + i, count);
    store_lanes(out + i, sum, count);
  }
}

CK_INLINE void norm_backward(const ck_norm_backward_args *a, const ck_thread *t, bool centered) {
  const int64_t size = block_rows(a), blocks = block_count(a), stride = block_stride(a);
  float *gammas = a->workspace;  // there is none where neither gradient is wanted
  float *betas = gammas == NULL ? NULL : gammas + blocks * stride;
  const bool streams =
      a->dx != NULL && a->dx != a->dy && a->dx != a->x && ck_streams(a->dx, a->rows, a->cols);
  int64_t begin, end;
  ck_share(blocks, t, &begin, &end);
  for (int64_t b = begin; b < end; ++b) {
    float *dgamma = a->dgamma == NULL ? NULL : gammas + b * stride;
    float *dbeta = a->dbeta == NULL ? NULL : betas + b * stride;
    if (dgamma != NULL) memset(dgamma, 0, (size_t)a->cols * sizeof(float));
    if (dbeta != NULL) memset(dbeta, 0, (size_t)a->cols * sizeof(float));
    for (int64_t row = b * size; row < (b + 1) * size && row < a->rows; ++row) {
      backward_row(a, row, dgamma, dbeta, streams, centered);
    }
  }
  if (streams) ck_stream_end();
  if (a->dgamma == NULL && a->dbeta == NULL) return;
  ck_barrier(t);
  ck_share(stride / CK_LANES, t, &begin, &end);
  begin *= CK_LANES;
  end = end * CK_LANES < a->cols ? end * CK_LANES : a->cols;
  if (a->dgamma != NULL) combine(a->dgamma, gammas, blocks, stride, begin, end);
  if (a->dbeta != NULL) combine(a->dbeta, betas, blocks, stride, begin, end);
}

void CK_NAME(ck_layer_norm_f32)(const void *args, const ck_thread *t) {
  norm_forward(args, t, true);
}

void CK_NAME(ck_rms_norm_f32)(const void *args, const ck_thread *t) {
  norm_forward(args, t, false);
}

void CK_NAME(ck_layer_norm_backward_f32)(const void *args, const ck_thread *t) {
  norm_backward(args, t, true);
}

void CK_NAME(ck_rms_norm_backward_f32)(const void *args, const ck_thread *t) {
  norm_backward(args, t, false);
}
