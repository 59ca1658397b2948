// Softmax and log-softmax, written once; softmax_<level>.c compiles it for its level.
#include "row_body.h"

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

void CK_NAME(ck_softmax_f32)(const void *args, const ck_thread *t) {
  const ck_softmax_args *a = args;
  int64_t begin, end;
  ck_share(a->rows, t, &begin, &end);
  for (int64_t row = begin; row < end; ++row) {
    const float *x = a->x + row * a->x_stride;
    float *out = a->out + row * a->out_stride;
    const float m = row_max(x, a->cols);
    const ck_v16f scale = ck_splat(1.0f / row_exp_sum(out, x, m, a->cols));
    for (int64_t i = 0; i < a->cols; i += CK_LANES) {
      const int count = lanes_left(a->cols - i);
      store_lanes(out + i, load_lanes(out + i, count) * scale, count);
    }
  }
}

void CK_NAME(ck_log_softmax_f32)(const void *args, const ck_thread *t) {
  const ck_softmax_args *a = args;
  int64_t begin, end;
  ck_share(a->rows, t, &begin, &end);
  for (int64_t row = begin; row < end; ++row) {
    const float *x = a->x + row * a->x_stride;
    float *out = a->out + row * a->out_stride;
    const float highest = row_max(x, a->cols);
    const ck_v16f m = ck_splat(highest);
    const ck_v16f log_sum = ck_vlog(ck_splat(row_exp_sum(NULL, x, highest, a->cols)));
    for (int64_t i = 0; i < a->cols; i += CK_LANES) {
      const int count = lanes_left(a->cols - i);
      store_lanes(out + i, (load_lanes(x + i, count) - m) - log_sum, count);
    }
  }
}

void CK_NAME(ck_softmax_backward_f32)(const void *args, const ck_thread *t) {
  const ck_softmax_args *a = args;
  int64_t begin, end;
  ck_share(a->rows, t, &begin, &end);
  for (int64_t row = begin; row < end; ++row) {
    const float *y = a->y + row * a->y_stride, *dy = a->dy + row * a->dy_stride;
    float *out = a->out + row * a->out_stride;
    const ck_v16f dot = ck_splat(row_dot(dy, y, a->cols));
    for (int64_t i = 0; i < a->cols; i += CK_LANES) {
      const int count = lanes_left(a->cols - i);
      const ck_v16f d = load_lanes(dy + i, count) - dot;
      store_lanes(out + i, load_lanes(y + i, count) * d, count);
    }
  }
}

void CK_NAME(ck_log_softmax_backward_f32)(const void *args, const ck_thread *t) {
  const ck_softmax_args *a = args;
  int64_t begin, end;
  ck_share(a->rows, t, &begin, &end);
  for (int64_t row = begin; row < end; ++row) {
    const float *y = a->y + row * a->y_stride, *dy = a->dy + row * a->dy_stride;
    float *out = a->out + row * a->out_stride;
    const ck_v16f sum = ck_splat(row_dot(dy, NULL, a->cols));
    for (int64_t i = 0; i < a->cols; i += CK_LANES) {
      const int count = lanes_left(a->cols - i);
      const ck_v16f p = ck_vexp(load_lanes(y + i, count));
      store_lanes(out + i, ck_fnma(p, sum, load_lanes(dy + i, count)), count);
    }
  }
}
