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

/// The element types of the rows.
typedef struct row_types {
  ck_dtype logits, gradient;
} row_types;

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
      sum += load_lanes(a->class_weights, i, lanes_left(a->cols - i), CK_F32);
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
  const ck_v16f t = load_lanes(target, c, count, CK_F32);
  ck_v16f q = k->smooth ? ck_fma(t, ck_splat(k->hard), ck_splat(k->soft)) : t;
  if (a->class_weights != NULL) q *= load_lanes(a->class_weights, c, count, CK_F32);
  return k->smooth ? keep_lanes(q, count, 0) : q;
}

/// What a class adds to Σ q (x - m) is q times this; 0 where q is: a masked class may have the
/// logit -∞.
CK_INLINE ck_v16f counted(ck_v16f q, ck_v16f shifted) {
  return ck_select(q == 0, ck_splat(0), shifted);
}

/// Σ q (x - m) of the classes that count, or without a target Σ w (x - m): for where the plain sum
/// is a NaN. In the same order.
static __attribute__((noinline)) float counted_terms(const ck_cross_entropy_args *a,
                                                     const constants *k, const void *x, float m,
                                                     const float *target, ck_dtype type) {
  ck_v16f sum = ck_splat(0);
  for (int64_t c = 0; c < a->cols; c += CK_LANES) {
    const int count = lanes_left(a->cols - c);
    const ck_v16f shifted = keep_lanes(load_any(x, c, count, type) - ck_splat(m), count, 0);
    ck_v16f q = ck_splat(1);
    if (target != NULL) {
      q = soft_lanes(a, k, target, c, count);
    } else if (a->class_weights != NULL) {
      q = load_lanes(a->class_weights, c, count, CK_F32);
    }
    sum = ck_fma(q, counted(q, shifted), sum);
  }
  return ck_sum(sum);
}

/// The row's sums over classes, where they are needed at all. Before the gradient is written, which
/// may be where the logits are.
CK_INLINE row_target target_sums(const ck_cross_entropy_args *a, const constants *k, const void *x,
                                 float m, const float *target, int64_t label, ck_dtype type) {
  row_target sums = {0, 0};
  if (target == NULL) {
    const float w = class_weight(a, label) * k->hard;
    sums.q = w;
    sums.qx = w == 0 ? 0 : w * (load_lanes(x, label, 1, type)[0] - m);
    if (!k->smooth) return sums;
    ck_v16f qx = ck_splat(0);
    for (int64_t c = 0; c < a->cols; c += CK_LANES) {
      const int count = lanes_left(a->cols - c);
      const ck_v16f shifted = keep_lanes(load_lanes(x, c, count, type) - ck_splat(m), count, 0);
      qx = a->class_weights == NULL
               ? qx + shifted
               : ck_fma(load_lanes(a->class_weights, c, count, CK_F32), shifted, qx);
    }
    sums.q += k->soft * k->weight_sum;
    float flat = ck_sum(qx);
    if (flat != flat) flat = counted_terms(a, k, x, m, NULL, type);
    sums.qx += k->soft * flat;
    return sums;
  }
  ck_v16f q = ck_splat(0), qx = ck_splat(0);
  for (int64_t c = 0; c < a->cols; c += CK_LANES) {
    const int count = lanes_left(a->cols - c);
    const ck_v16f lanes = soft_lanes(a, k, target, c, count);
    const ck_v16f shifted = keep_lanes(load_lanes(x, c, count, type) - ck_splat(m), count, 0);
    q += lanes;
    qx = ck_fma(lanes, shifted, qx);
  }
  sums.q = ck_sum(q);
  sums.qx = ck_sum(qx);
  if (sums.qx != sums.qx) sums.qx = counted_terms(a, k, x, m, target, type);
  return sums;
}

/// What gradient_c = scale (Q e_c / s - q_c) is computed from, where e_c / s is the probability.
typedef struct gradient_row {
  const float *kept;    // e; or NULL:
  const void *x;        // e_c is exp(x_c - log_sum), and s = 1
  const float *target;  // or NULL
  ck_v16f log_sum;
  ck_v16f factor;  // scale Q / s
  ck_v16f scale;
  ck_v16f flat;     // what smoothing takes from every class
  int64_t hard_at;  // the label; without one no lane is there
  float hard;       // what is taken there
} gradient_row;

CK_INLINE ck_v16f gradient_lanes(const ck_cross_entropy_args *a, const constants *k,
                                 const gradient_row *g, int64_t c, int count, row_types types) {
  ck_v16f e;
  if (g->kept == NULL) {
    e = exp_any(load_lanes(g->x, c, count, types.logits) - g->log_sum);
  } else {
    e = load_lanes(g->kept, c, count, CK_F32);
  }
  ck_v16f less = g->flat;
  if (g->target != NULL) {
    less = soft_lanes(a, k, g->target, c, count) * -g->scale;
  } else if (k->smooth && a->class_weights != NULL) {
    less = g->flat * load_lanes(a->class_weights, c, count, CK_F32);
  }
  const ck_v16f v = ck_fma(e, g->factor, less);
  // Here, because what has been streamed is far away.
  if (g->hard_at < c || g->hard_at - c >= CK_LANES) return v;
  return ck_select(ck_lanes() == ck_splat_i32((int32_t)(g->hard_at - c)), v - g->hard, v);
}

/// The gradient of a row whose weights sum up to `q`; `kept` and `s` or `log_sum` as above.
CK_INLINE void write_gradient(const ck_cross_entropy_args *a, const constants *k, void *gradient,
                              const float *kept, const void *x, float log_sum, const float *target,
                              int64_t label, float q, float s, float scale, bool streams,
                              row_types types) {
  const gradient_row g = {
      .kept = kept,
      .x = x,
      .target = target,
      .log_sum = ck_splat(log_sum),
      .factor = ck_splat(scale * (q / s)),
      .scale = ck_splat(scale),
      .flat = ck_splat(k->smooth ? -scale * k->soft : 0.0f),
      .hard_at = target == NULL ? label : INT64_MIN,
      .hard = target == NULL ? scale * (class_weight(a, label) * k->hard) : 0.0f,
  };
  int64_t c = 0;
  for (; c + CK_LANES <= a->cols; c += CK_LANES) {
    const ck_v16f v = gradient_lanes(a, k, &g, c, CK_LANES, types);
    store_lanes(gradient, c, v, CK_LANES, types.gradient, streams);
  }
  if (c == a->cols) return;
  const int count = (int)(a->cols - c);
  const ck_v16f v = gradient_lanes(a, k, &g, c, count, types);
  store_lanes(gradient, c, v, count, types.gradient, false);
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
  return !(combined && a->cols > CK_KEPT_COLUMNS) &&
         rows_stream(a->gradient, a->logits, a->rows, a->cols, a->gradient_stride,
                     (ck_dtype)a->gradient_dtype);
}

CK_INLINE void zero_row(void *p, int64_t n, ck_dtype type) {
  memset(p, 0, (size_t)n * ck_dtype_bytes(type));
}

/// The gradient of row i's part of the loss, over D; 0 where there is nothing that counts.
CK_INLINE float upstream_of(const ck_cross_entropy_args *a, int64_t i, float divisor) {
  const float *u = a->upstream;
  if (divisor == 0) return 0;
  return (u == NULL ? 1 : a->reduction == CK_REDUCTION_NONE ? u[i] : u[0]) / divisor;
}

/// Row i's loss; its gradient too where `combined`.
CK_INLINE float long_row(const ck_cross_entropy_args *a, const constants *k, int64_t i,
                         float divisor, float *kept, bool combined, bool streams, row_types types) {
  const void *x = row_of(a->logits, i, a->logits_stride, types.logits);
  const float *target = a->labels == NULL ? a->targets + i * a->targets_stride : NULL;
  void *gradient =
      combined ? (void *)row_of(a->gradient, i, a->gradient_stride, types.gradient) : NULL;
  const int64_t label = target == NULL ? label_of(a, i, true) : 0;
  float loss = 0;
  const bool counts = label >= 0;
  if (counts || a->log_sum != NULL) {
    const float m = row_max(x, a->cols, types.logits);
    row_target q = {0, 0};
    if (counts) q = target_sums(a, k, x, m, target, label, types.logits);
    // Where the exponentials are until their sum is known; NULL: they are computed twice.
    float *e = NULL;
    if (counts && combined && types.gradient == CK_F32 && !streams) {
      e = gradient;
    } else if (counts && combined && a->cols <= CK_KEPT_COLUMNS) {
      e = kept;
    }
    const void *next = row_of(x, 1, a->logits_stride, types.logits);
    float s = row_exp_sum(e, x, m, a->cols, next, types.logits);
    const float log_s = ck_vlog(ck_splat(s))[0];
    if (a->log_sum != NULL) a->log_sum[i] = m + log_s;
    if (counts) loss = q.q * log_s - q.qx;
    if (counts && combined) {
      const float scale = upstream_of(a, i, divisor);
      if (e == NULL) s = 1;
      write_gradient(a, k, gradient, e, x, m + log_s, target, label, q.q, s, scale, streams, types);
    }
  }
  if (!counts && combined) zero_row(gradient, a->cols, types.gradient);
  if (a->reduction == CK_REDUCTION_NONE) a->loss[i] = loss;
  return loss;
}

/// The losses of `rows` short rows with labels, from row i on; their gradients too where
/// `combined`. Returns the losses' sum.
static __attribute__((noinline)) double short_rows(const ck_cross_entropy_args *a,
                                                   const constants *k, int64_t i, int rows,
                                                   float divisor, bool combined, row_types types) {
  const float *weights = a->class_weights;
  const ck_v16f zero = ck_splat(0);
  const ck_v16i label = labels_of(a, i, rows, true);
  short_columns v, flat_terms;
  load_short(v, row_of(a->logits, i, a->logits_stride, types.logits), a->logits_stride, a->cols,
             rows, types.logits);
  const ck_v16f m = short_max(v, a->cols);
  ck_v16f at_label = zero, weight = ck_splat(1);
  for (int64_t c = 0; c < a->cols; ++c) {
    const ck_v16i hit = label == (int32_t)c;
    const ck_v16f shifted = v[c] - m;
    at_label = ck_select(hit, shifted, at_label);
    if (weights != NULL) weight = ck_select(hit, ck_splat(weights[c]), weight);
    if (k->smooth) {
      const ck_v16f w = ck_splat(weights == NULL ? 1 : weights[c]);
      flat_terms[c] = ck_fma(w, counted(w, shifted), zero);
    }
    v[c] = exp_falling(shifted);
  }
  const ck_v16f s = short_sum(v, a->cols), log_s = ck_vlog(s);
  ck_v16f q = weight * k->hard, qx = q * counted(q, at_label);
  const ck_v16f hard = q;
  if (k->smooth) {
    q += k->soft * k->weight_sum;
    qx += k->soft * short_sum(flat_terms, a->cols);
  }
  const ck_v16i counts = label >= 0;
  const ck_v16f loss = ck_select(counts, q * log_s - qx, zero);
  if (a->log_sum != NULL) store_lanes(a->log_sum, i, m + log_s, rows, CK_F32, false);
  if (a->reduction == CK_REDUCTION_NONE) store_lanes(a->loss, i, loss, rows, CK_F32, false);
  if (combined) {
    ck_v16f scale = zero;
    if (a->reduction == CK_REDUCTION_NONE && a->upstream != NULL) {
      scale = load_lanes(a->upstream, i, rows, CK_F32) / divisor;
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
    void *gradient = (void *)row_of(a->gradient, i, a->gradient_stride, types.gradient);
    store_short(gradient, a->gradient_stride, v, a->cols, rows, types.gradient);
  }
  const ck_v16d terms = __builtin_convertvector(loss, ck_v16d);
  const v8d eight = terms.lo + terms.hi;
  const v4d four = eight.lo + eight.hi;
  return (four.x + four.z) + (four.y + four.w);
}

/// The forward pass, or both at once: one body, compiled twice.
CK_INLINE void forward(const ck_cross_entropy_args *a, const ck_thread *t, bool combined,
                       bool streams, row_types types) {
  const constants k = make_constants(a);
  const double divisor = divisor_of(a, t);
  float kept[CK_KEPT_COLUMNS] __attribute__((aligned(64)));
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
      loss = short_rows(a, &k, i, together, (float)divisor, combined, types);
    } else {
      for (; i < last; ++i) {
        loss += long_row(a, &k, i, (float)divisor, kept, combined, streams, types);
      }
    }
    // Without a reduction the workspace is not used.
    if (a->reduction != CK_REDUCTION_NONE) sums[b].loss = loss;
  }
  if (streams) ck_stream_end();
  combine(a, t, divisor);
}

CK_INLINE void backward(const ck_cross_entropy_args *a, const ck_thread *t, bool streams,
                        row_types types) {
  const constants k = make_constants(a);
  const float divisor = (float)divisor_of(a, t);
  int64_t begin, end;
  ck_share(a->rows, t, &begin, &end);
  for (int64_t i = begin; i < end; ++i) {
    const void *x = row_of(a->logits, i, a->logits_stride, types.logits);
    const float *target = a->labels == NULL ? a->targets + i * a->targets_stride : NULL;
    void *gradient = (void *)row_of(a->gradient, i, a->gradient_stride, types.gradient);
    const int64_t label = target == NULL ? label_of(a, i, true) : 0;
    if (label < 0) {
      zero_row(gradient, a->cols, types.gradient);
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
    write_gradient(a, &k, gradient, NULL, x, log_sum, target, label, q, 1, scale, streams, types);
  }
  if (streams) ck_stream_end();
}

// MARK: The entries: each call is compiled for its types

void CK_NAME(ck_cross_entropy)(const void *args, const ck_thread *t) {
  const ck_cross_entropy_args *a = args;
  if (a->logits_dtype == CK_BF16) {
    forward(a, t, false, false, (row_types){CK_BF16, CK_F32});
  } else {
    forward(a, t, false, false, (row_types){CK_F32, CK_F32});
  }
}

CK_INLINE void with_gradient(const ck_cross_entropy_args *a, const ck_thread *t, bool combined) {
  const ck_dtype types[2] = {CK_F32, CK_BF16};
  const bool streams = gradient_streams(a, combined);
  const int wanted = (a->logits_dtype == CK_BF16) * 2 + (a->gradient_dtype == CK_BF16);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; ++i) {
    const row_types those = {types[i >> 1], types[i & 1]};
    if (i != wanted) continue;
    if (combined && streams) forward(a, t, true, true, those);
    if (combined && !streams) forward(a, t, true, false, those);
    if (!combined && streams) backward(a, t, true, those);
    if (!combined && !streams) backward(a, t, false, those);
  }
}

void CK_NAME(ck_cross_entropy_backward)(const void *args, const ck_thread *t) {
  with_gradient(args, t, false);
}

void CK_NAME(ck_cross_entropy_combined)(const void *args, const ck_thread *t) {
  with_gradient(args, t, true);
}
