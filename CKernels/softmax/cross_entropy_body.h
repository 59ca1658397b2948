// Cross-entropy, written once; cross_entropy_<level>.c compiles it for its level.
//
// Logits are shifted by the row's greatest before anything is summed, so that large logits lose no
// digits; see ck_cross_entropy.h for the equations. Rows are taken in fixed blocks, whose sums are
// combined in order.
#include "../core/index.h"
#include "cross_entropy_plan.h"
#include "row_body.h"

/// What is the same for all rows.
typedef struct constants {
  float hard;        // 1 - ε
  float soft;        // ε / C
  float weight_sum;  // Σ_c w_c
  bool smooth;
} constants;

/// What a row adds to the loss: Σ_c q_c, and Σ_c q_c (x_c - m).
typedef struct row_target {
  float q;
  float qx;
} row_target;

static constants make_constants(const ck_cross_entropy_args *a) {
  constants k = {1.0f - a->smoothing, a->smoothing / (float)a->cols, (float)a->cols,
                 a->smoothing != 0};
  if (k.smooth && a->class_weights != NULL) {
    ck_v16f sum = ck_splat(0);
    for (int64_t i = 0; i < a->cols; i += CK_LANES) {
      sum += load_lanes(a->class_weights + i, lanes_left(a->cols - i));
    }
    k.weight_sum = ck_sum(sum);
  }
  return k;
}

/// Row i's label, or -1 where the row counts for nothing. Bad labels are noted if `note`.
static int64_t label_of(const ck_cross_entropy_args *a, int64_t i, bool note) {
  const int64_t label = index_at(a->labels, a->label_dtype, i);
  if (label == a->ignore_index) return -1;
  if (label >= 0 && label < a->cols) return label;
  if (note) note_bad_index(a->error, a->first_row + i, label);
  return -1;
}

static float class_weight(const ck_cross_entropy_args *a, int64_t c) {
  return a->class_weights == NULL ? 1.0f : a->class_weights[c];
}

/// q_c for the lanes at c of a row with a distribution.
CK_INLINE ck_v16f soft_lanes(const ck_cross_entropy_args *a, const constants *k,
                             const float *target, int64_t c, int count) {
  const ck_v16f t = load_lanes(target + c, count);
  ck_v16f q = k->smooth ? ck_fma(t, ck_splat(k->hard), ck_splat(k->soft)) : t;
  if (a->class_weights != NULL) q *= load_lanes(a->class_weights + c, count);
  return k->smooth ? keep_lanes(q, count, 0) : q;
}

/// The row's sums over classes, where they are needed at all. Before the gradient is written, which
/// may be where the logits are.
static row_target target_sums(const ck_cross_entropy_args *a, const constants *k, const float *x,
                              float m, const float *target, int64_t label) {
  row_target sums = {0, 0};
  if (target == NULL) {
    const float w = class_weight(a, label) * k->hard;
    sums.q = w;
    sums.qx = w * (x[label] - m);
    if (!k->smooth) return sums;
    ck_v16f qx = ck_splat(0);
    for (int64_t c = 0; c < a->cols; c += CK_LANES) {
      const int count = lanes_left(a->cols - c);
      const ck_v16f shifted = keep_lanes(load_lanes(x + c, count) - ck_splat(m), count, 0);
      qx = a->class_weights == NULL ? qx + shifted
                                    : ck_fma(load_lanes(a->class_weights + c, count), shifted, qx);
    }
    sums.q += k->soft * k->weight_sum;
    sums.qx += k->soft * ck_sum(qx);
    return sums;
  }
  ck_v16f q = ck_splat(0), qx = ck_splat(0);
  for (int64_t c = 0; c < a->cols; c += CK_LANES) {
    const int count = lanes_left(a->cols - c);
    const ck_v16f lanes = soft_lanes(a, k, target, c, count);
    const ck_v16f shifted = keep_lanes(load_lanes(x + c, count) - ck_splat(m), count, 0);
    q += lanes;
    qx = ck_fma(lanes, shifted, qx);
  }
  sums.q = ck_sum(q);
  sums.qx = ck_sum(qx);
  return sums;
}

/// gradient_c = scale (Q e_c / s - q_c), where e_c / s is the probability: e_c read from `kept` (s
/// its sum), or exp(x_c - log_sum) where that is NULL (s = 1).
CK_INLINE void write_gradient(const ck_cross_entropy_args *a, const constants *k, float *gradient,
                              const float *kept, const float *x, float log_sum, const float *target,
                              int64_t label, float q, float s, float scale, bool streams) {
  const ck_v16f factor = ck_splat(scale * (q / s));
  const ck_v16f minus = ck_splat(-scale), shift = ck_splat(log_sum);
  const ck_v16f flat = ck_splat(k->smooth ? -scale * k->soft : 0.0f);
  // The label's part; without one no lane is at `hard_at`.
  const int64_t hard_at = target == NULL ? label : INT64_MIN;
  const float hard = target == NULL ? scale * (class_weight(a, label) * k->hard) : 0.0f;
  for (int64_t c = 0; c < a->cols; c += CK_LANES) {
    const int count = lanes_left(a->cols - c);
    ck_v16f e;
    if (kept == NULL) {
      e = ck_vexp(load_lanes(x + c, count) - shift);
    } else {
      e = load_lanes(kept + c, count);
    }
    ck_v16f less = flat;
    if (target != NULL) {
      less = soft_lanes(a, k, target, c, count) * minus;
    } else if (k->smooth && a->class_weights != NULL) {
      less = flat * load_lanes(a->class_weights + c, count);
    }
    ck_v16f v = ck_fma(e, factor, less);
    // Here, because what has been streamed is far away.
    if (hard_at >= c && hard_at - c < CK_LANES) {
      v = ck_select(ck_lanes() == ck_splat_i32((int32_t)(hard_at - c)), v - hard, v);
    }
    put_lanes(gradient + c, v, count, streams);
  }
}

/// D: what the mean divides by. Every thread adds all blocks, in the same order.
static float divisor_of(const ck_cross_entropy_args *a, const ck_thread *t) {
  if (a->reduction != CK_REDUCTION_MEAN) return 1.0f;
  if (a->labels == NULL) return (float)a->rows;
  row_sums *sums = a->workspace;
  const int64_t size = block_rows(a), blocks = block_count(a);
  int64_t begin, end;
  ck_share(blocks, t, &begin, &end);
  for (int64_t b = begin; b < end; ++b) {
    double weight = 0;
    for (int64_t i = b * size; i < (b + 1) * size && i < a->rows; ++i) {
      const int64_t label = label_of(a, i, false);
      if (label >= 0) weight += class_weight(a, label);
    }
    sums[b].weight = weight;
  }
  ck_barrier(t);
  double total = 0;
  for (int64_t b = 0; b < blocks; ++b) total += sums[b].weight;
  return (float)total;
}

/// The sum or mean of the blocks' losses, by the first thread.
static void combine(const ck_cross_entropy_args *a, const ck_thread *t) {
  if (a->reduction == CK_REDUCTION_NONE) return;
  ck_barrier(t);
  if (t->index != 0) return;
  const row_sums *sums = a->workspace;
  const int64_t blocks = block_count(a);
  double loss = 0, weight = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    loss += sums[b].loss;
    weight += sums[b].weight;
  }
  if (a->reduction == CK_REDUCTION_MEAN) loss /= a->labels == NULL ? (double)a->rows : weight;
  *a->loss = (float)loss;
}

/// Whether the gradient is written past the cache; `combined`: from exponentials kept until then.
CK_INLINE bool gradient_streams(const ck_cross_entropy_args *a, bool combined) {
  return !(combined && a->cols > KEPT_COLUMNS) &&
         rows_stream(a->gradient, a->logits, a->rows, a->cols, a->gradient_stride);
}

CK_INLINE void zero_row(float *p, int64_t n) { memset(p, 0, (size_t)n * sizeof(float)); }

/// The forward pass, or both at once: one body, compiled twice.
CK_INLINE void forward(const ck_cross_entropy_args *a, const ck_thread *t, bool combined) {
  const constants k = make_constants(a);
  const float divisor = combined ? divisor_of(a, t) : 1.0f;
  const bool streams = combined && gradient_streams(a, true);
  float kept[KEPT_COLUMNS] __attribute__((aligned(64)));
  row_sums *sums = a->workspace;
  const int64_t size = block_rows(a);
  int64_t begin, end;
  ck_share(block_count(a), t, &begin, &end);
  for (int64_t b = begin; b < end; ++b) {
    row_sums block = {0, 0};
    for (int64_t i = b * size; i < (b + 1) * size && i < a->rows; ++i) {
      const float *x = a->logits + i * a->logits_stride;
      const float *target = a->labels == NULL ? a->targets + i * a->targets_stride : NULL;
      float *gradient = combined ? a->gradient + i * a->gradient_stride : NULL;
      const int64_t label = target == NULL ? label_of(a, i, true) : 0;
      float loss = 0;
      const bool counts = label >= 0;
      if (counts || a->log_sum != NULL) {
        const float m = row_max(x, a->cols);
        const row_target q = counts ? target_sums(a, &k, x, m, target, label) : (row_target){0, 0};
        float *e = !counts || !combined ? NULL : streams ? kept : gradient;
        const float s = row_exp_sum(e, x, m, a->cols, x + a->logits_stride);
        const float log_s = ck_vlog(ck_splat(s))[0];
        if (a->log_sum != NULL) a->log_sum[i] = m + log_s;
        if (counts) {
          loss = q.q * log_s - q.qx;
          block.weight += target == NULL ? class_weight(a, label) : 1.0f;
        }
        if (counts && combined) {
          const float *u = a->upstream;
          const float up = u == NULL ? 1 : a->reduction == CK_REDUCTION_NONE ? u[i] : u[0];
          const float scale = up / divisor;
          write_gradient(a, &k, gradient, e, NULL, 0, target, label, q.q, s, scale, streams);
        }
      }
      if (!counts && combined) zero_row(gradient, a->cols);
      block.loss += loss;
      if (a->reduction == CK_REDUCTION_NONE) a->loss[i] = loss;
    }
    // With a reduction only: without one the workspace is not used. The weights stand there already
    // where `divisor_of` has run, and other threads may still be reading them.
    if (a->reduction != CK_REDUCTION_NONE) {
      sums[b].loss = block.loss;
      if (!combined) sums[b].weight = block.weight;
    }
  }
  if (streams) ck_stream_end();
  combine(a, t);
}

void CK_NAME(ck_cross_entropy_f32)(const void *args, const ck_thread *t) {
  forward(args, t, false);
}

void CK_NAME(ck_cross_entropy_combined_f32)(const void *args, const ck_thread *t) {
  forward(args, t, true);
}

void CK_NAME(ck_cross_entropy_backward_f32)(const void *args, const ck_thread *t) {
  const ck_cross_entropy_args *a = args;
  const constants k = make_constants(a);
  const float divisor = divisor_of(a, t);
  const bool streams = gradient_streams(a, false);
  int64_t begin, end;
  ck_share(a->rows, t, &begin, &end);
  for (int64_t i = begin; i < end; ++i) {
    const float *x = a->logits + i * a->logits_stride;
    const float *target = a->labels == NULL ? a->targets + i * a->targets_stride : NULL;
    float *gradient = a->gradient + i * a->gradient_stride;
    const int64_t label = target == NULL ? label_of(a, i, true) : 0;
    if (label < 0) {
      zero_row(gradient, a->cols);
      continue;
    }
    float q = class_weight(a, label) * k.hard;
    if (target != NULL) {
      ck_v16f lanes = ck_splat(0);
      for (int64_t c = 0; c < a->cols; c += CK_LANES) {
        lanes += soft_lanes(a, &k, target, c, lanes_left(a->cols - c));
      }
      q = ck_sum(lanes);
    } else if (k.smooth) {
      q += k.soft * k.weight_sum;
    }
    const float *u = a->upstream;
    const float up = u == NULL ? 1 : a->reduction == CK_REDUCTION_NONE ? u[i] : u[0];
    const float scale = up / divisor, log_sum = a->log_sum[i];
    write_gradient(a, &k, gradient, NULL, x, log_sum, target, label, q, 1, scale, streams);
  }
  if (streams) ck_stream_end();
}
