// Cross-entropy, written once; cross_entropy_<level>.c compiles it for its level.
//
// Logits are shifted by the row's greatest before anything is summed, so that large logits lose no
// digits; see ck_cross_entropy.h for the equations. Rows are taken in fixed blocks, whose sums are
// combined in order.
#include "../core/index.h"
#include "cross_entropy_plan.h"
#include "short_rows.h"

typedef double v8d __attribute__((ext_vector_type(8)));
typedef double v4d __attribute__((ext_vector_type(4)));

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

/// The same of `rows` (1 to 16) rows from i on, a row a lane; -1 past them. Columns fit 32 bits.
static ck_v16i labels_of(const ck_cross_entropy_args *a, int64_t i, int rows, bool note) {
  ck_v16i found = ck_splat_i32(-1);
  if (rows < CK_LANES) {
    for (int r = 0; r < rows; ++r) found[r] = (int32_t)label_of(a, i + r, note);
    return found;
  }
  const char *labels = a->labels;
  const ck_v16l label = a->label_dtype == CK_I64 ? ck_load_i64(labels + i * 8)
                        : a->label_dtype == CK_I32
                            ? __builtin_convertvector(ck_load_i32(labels + i * 4), ck_v16l)
                            : __builtin_convertvector(ck_load_u8(labels + i), ck_v16l);
  const ck_v16i inside = ck_mask_i64((label >= 0) & (label < a->cols));
  const ck_v16i ignored = ck_mask_i64(label == a->ignore_index);
  if (note && ck_any(~(inside | ignored))) {
    for (int r = 0; r < rows; ++r) label_of(a, i + r, true);
  }
  return ck_select_i32(inside & ~ignored, __builtin_convertvector(label, ck_v16i), found);
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

/// The rows' weights in the mean, of the `rows` rows of a block from i on, which have labels.
static double weight_of(const ck_cross_entropy_args *a, int64_t i, int rows) {
  if (a->class_weights == NULL) {
    return -__builtin_reduce_add((labels_of(a, i, rows, false) >= 0));
  }
  double weight = 0;
  for (int r = 0; r < rows; ++r) {
    const int64_t label = label_of(a, i + r, false);
    if (label >= 0) weight += class_weight(a, label);
  }
  return weight;
}

/// D: what the mean divides by. Every thread adds all blocks, in the same order.
static double divisor_of(const ck_cross_entropy_args *a, const ck_thread *t) {
  if (a->reduction != CK_REDUCTION_MEAN) return 1;
  if (a->labels == NULL) return (double)a->rows;
  row_sums *sums = a->workspace;
  const int64_t size = block_rows(a), blocks = block_count(a);
  // A few labels are read by every thread: that takes less than to wait for the others.
  const bool shares = a->rows > OWN_LABELS;
  double total = 0;
  int64_t begin = 0, end = blocks;
  if (shares) ck_share(blocks, t, &begin, &end);
  for (int64_t b = begin; b < end; ++b) {
    const double weight = weight_of(a, b * size, rows_of_block(a, b));
    if (shares) {
      sums[b].weight = weight;
    } else {
      total += weight;
    }
  }
  if (!shares) return total;
  ck_barrier(t);
  for (int64_t b = 0; b < blocks; ++b) total += sums[b].weight;
  return total;
}

/// The sum or mean of the blocks' losses, by the first thread.
static void combine(const ck_cross_entropy_args *a, const ck_thread *t, double divisor) {
  if (a->reduction == CK_REDUCTION_NONE) return;
  ck_barrier(t);
  if (t->index != 0) return;
  const row_sums *sums = a->workspace;
  const int64_t blocks = block_count(a);
  double loss = 0;
  for (int64_t b = 0; b < blocks; ++b) loss += sums[b].loss;
  *a->loss = (float)(loss / divisor);
}

/// Whether the gradient is written past the cache; `combined`: from exponentials kept until then.
CK_INLINE bool gradient_streams(const ck_cross_entropy_args *a, bool combined) {
  return !(combined && a->cols > KEPT_COLUMNS) &&
         rows_stream(a->gradient, a->logits, a->rows, a->cols, a->gradient_stride);
}

CK_INLINE void zero_row(float *p, int64_t n) { memset(p, 0, (size_t)n * sizeof(float)); }

/// The gradient of row i's part of the loss, over D.
CK_INLINE float upstream_of(const ck_cross_entropy_args *a, int64_t i, float divisor) {
  const float *u = a->upstream;
  return (u == NULL ? 1 : a->reduction == CK_REDUCTION_NONE ? u[i] : u[0]) / divisor;
}

/// Row i's loss; its gradient too where `combined`.
CK_INLINE float long_row(const ck_cross_entropy_args *a, const constants *k, int64_t i,
                         float divisor, float *kept, bool combined, bool streams) {
  const float *x = a->logits + i * a->logits_stride;
  const float *target = a->labels == NULL ? a->targets + i * a->targets_stride : NULL;
  float *gradient = combined ? a->gradient + i * a->gradient_stride : NULL;
  const int64_t label = target == NULL ? label_of(a, i, true) : 0;
  float loss = 0;
  const bool counts = label >= 0;
  if (counts || a->log_sum != NULL) {
    const float m = row_max(x, a->cols);
    const row_target q = counts ? target_sums(a, k, x, m, target, label) : (row_target){0, 0};
    float *e = !counts || !combined ? NULL : streams ? kept : gradient;
    const float s = row_exp_sum(e, x, m, a->cols, x + a->logits_stride);
    const float log_s = ck_vlog(ck_splat(s))[0];
    if (a->log_sum != NULL) a->log_sum[i] = m + log_s;
    if (counts) loss = q.q * log_s - q.qx;
    if (counts && combined) {
      const float scale = upstream_of(a, i, divisor);
      write_gradient(a, k, gradient, e, NULL, 0, target, label, q.q, s, scale, streams);
    }
  }
  if (!counts && combined) zero_row(gradient, a->cols);
  if (a->reduction == CK_REDUCTION_NONE) a->loss[i] = loss;
  return loss;
}

/// The losses of `rows` short rows with labels, from row i on; their gradients too where
/// `combined`. Returns the losses' sum.
CK_INLINE double short_rows(const ck_cross_entropy_args *a, const constants *k, int64_t i, int rows,
                            float divisor, bool combined) {
  const float *weights = a->class_weights;
  const ck_v16f zero = ck_splat(0);
  const ck_v16i label = labels_of(a, i, rows, true);
  short_columns v, flat_terms;
  load_short(v, a->logits + i * a->logits_stride, a->logits_stride, a->cols, rows);
  const ck_v16f m = short_max(v, a->cols);
  ck_v16f at_label = zero, weight = ck_splat(1);
  for (int64_t c = 0; c < a->cols; ++c) {
    const ck_v16i hit = label == (int32_t)c;
    const ck_v16f shifted = v[c] - m;
    at_label = ck_select(hit, shifted, at_label);
    if (weights != NULL) weight = ck_select(hit, ck_splat(weights[c]), weight);
    if (k->smooth) {
      flat_terms[c] = weights == NULL ? shifted : ck_fma(ck_splat(weights[c]), shifted, zero);
    }
    v[c] = exp_falling(shifted);
  }
  const ck_v16f s = short_sum(v, a->cols), log_s = ck_vlog(s);
  ck_v16f q = weight * k->hard, qx = q * at_label;
  const ck_v16f hard = q;
  if (k->smooth) {
    q += k->soft * k->weight_sum;
    qx += k->soft * short_sum(flat_terms, a->cols);
  }
  const ck_v16i counts = label >= 0;
  const ck_v16f loss = ck_select(counts, q * log_s - qx, zero);
  if (a->log_sum != NULL) store_lanes(a->log_sum + i, m + log_s, rows);
  if (a->reduction == CK_REDUCTION_NONE) store_lanes(a->loss + i, loss, rows);
  if (combined) {
    ck_v16f scale = zero;
    if (a->reduction == CK_REDUCTION_NONE && a->upstream != NULL) {
      scale = load_lanes(a->upstream + i, rows) / divisor;
    } else {
      scale = ck_splat(upstream_of(a, i, divisor));
    }
    const ck_v16f factor = scale * (q / s), minus_hard = scale * hard;
    const ck_v16f flat = k->smooth ? -scale * k->soft : zero;
    for (int64_t c = 0; c < a->cols; ++c) {
      const ck_v16f less = k->smooth && weights != NULL ? flat * weights[c] : flat;
      const ck_v16f g = ck_fma(v[c], factor, less);
      const ck_v16f of_label = ck_select(label == (int32_t)c, g - minus_hard, g);
      v[c] = ck_select(counts, of_label, zero);
    }
    store_short(a->gradient + i * a->gradient_stride, a->gradient_stride, v, a->cols, rows);
  }
  const ck_v16d terms = __builtin_convertvector(loss, ck_v16d);
  const v8d eight = terms.lo + terms.hi;
  const v4d four = eight.lo + eight.hi;
  return (four.x + four.z) + (four.y + four.w);
}

/// The forward pass, or both at once: one body, compiled twice.
CK_INLINE void forward(const ck_cross_entropy_args *a, const ck_thread *t, bool combined) {
  const constants k = make_constants(a);
  const double divisor = divisor_of(a, t);
  const bool streams = combined && gradient_streams(a, true);
  float kept[KEPT_COLUMNS] __attribute__((aligned(64)));
  row_sums *sums = a->workspace;
  const int64_t size = block_rows(a);
  int64_t begin, end;
  ck_share(block_count(a), t, &begin, &end);
  for (int64_t b = begin; b < end; ++b) {
    double loss = 0;
    int64_t i = b * size;
    const int64_t last = i + rows_of_block(a, b);
    const int together = a->labels == NULL || streams ? 0 : rows_together(i, last, a->cols);
    if (together > 0) {
      loss = short_rows(a, &k, i, together, (float)divisor, combined);
    } else {
      for (; i < last; ++i) {
        loss += long_row(a, &k, i, (float)divisor, kept, combined, streams);
      }
    }
    // Without a reduction the workspace is not used.
    if (a->reduction != CK_REDUCTION_NONE) sums[b].loss = loss;
  }
  if (streams) ck_stream_end();
  combine(a, t, divisor);
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
  const float divisor = (float)divisor_of(a, t);
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
    const float scale = upstream_of(a, i, divisor), log_sum = a->log_sum[i];
    write_gradient(a, &k, gradient, NULL, x, log_sum, target, label, q, 1, scale, streams);
  }
  if (streams) ck_stream_end();
}
