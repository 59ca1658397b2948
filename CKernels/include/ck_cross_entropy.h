// Cross-entropy of logits: loss, gradient, or both in one pass over the logits.
//
// Labels are class numbers (with an ignored one) or a distribution a row; with
// label smoothing and class weights as in PyTorch's cross_entropy. The
// probabilities are never stored.
#ifndef CK_CROSS_ENTROPY_H
#define CK_CROSS_ENTROPY_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_cross_entropy_op {
  CK_CROSS_ENTROPY_FORWARD = 0,   // writes loss, and log_sum where it is not NULL
  CK_CROSS_ENTROPY_BACKWARD = 1,  // reads log_sum, writes gradient
  CK_CROSS_ENTROPY_COMBINED = 2,  // writes loss and gradient, and log_sum where it is not NULL
} ck_cross_entropy_op;

typedef enum ck_reduction {
  CK_REDUCTION_NONE = 0,  // a loss a row
  CK_REDUCTION_SUM = 1,
  CK_REDUCTION_MEAN = 2,  // the sum over D = Σ_i w[labels_i], or over D = rows
                          // for a distribution
} ck_reduction;

/// For each row i, with ε = smoothing, C = cols, w the class weights (1 where
/// NULL) and t_i the distribution (or 1 at labels_i and 0 elsewhere):
///
///     q_c = w_c ((1 - ε) t_ic + ε / C)
///     log_sum_i = log Σ_c exp(x_ic)
///     loss_i = Σ_c q_c (log_sum_i - x_ic)
///     gradient_ic = u_i / D (exp(x_ic - log_sum_i) Σ_k q_k - q_c)
///
/// where D is 1 unless the reduction is the mean, and u is the gradient of the
/// loss.
///
/// A row whose label is `ignore_index` has loss and gradient 0 and no weight in
/// D (with every row ignored, or of weight 0, the mean is 0 / 0, NaN, as in PyTorch, and its
/// gradient 0). A class whose q is 0 takes no part, whatever its logit, as where a mask makes that
/// -Inf. So has a row whose label is outside 0 ..< cols, which is noted in `error`. All is computed
/// in f32; bf16 logits are widened on loading, a bf16 gradient is rounded, to nearest even, on
/// storing.
typedef struct ck_cross_entropy_args {
  float *loss;                 // [rows] where the reduction is none, else [1]
  float *log_sum;              // [rows]
  void *gradient;              // [rows, cols]; may be the very array `logits`, of one type
  const void *logits;          // [rows, cols]
  const void *labels;          // [rows] of label_dtype; NULL: targets are given
  const float *targets;        // [rows, cols]; NULL: labels are given
  const float *class_weights;  // [cols], or NULL
  const float *upstream;       // u: [rows] where the reduction is none, else [1]; NULL: 1
  void *workspace;             // ck_cross_entropy_workspace_bytes, 8-byte aligned
  int64_t *error;              // a ck_index_error, or NULL
  int64_t rows;
  int64_t cols;
  int64_t first_row;      // where the rows begin in the array that errors are
                          // reported of
  int64_t logits_stride;  // elements from row to row
  int64_t gradient_stride;
  int64_t targets_stride;
  int64_t ignore_index;  // any value outside 0 ..< cols that labels do not hold,
                         // to ignore nothing
  float smoothing;
  int32_t label_dtype;     // CK_I32, CK_I64 or CK_U8
  int32_t reduction;       // a ck_reduction
  int32_t logits_dtype;    // CK_F32 or CK_BF16
  int32_t gradient_dtype;  // the same
} ck_cross_entropy_args;

/// Bytes of workspace, whatever the op; depends on rows and cols alone.
/// Rows of the blocks that the forward pass, alone or combined, hands out by
/// `ck_share`. (The backward pass hands out rows.) The first thread alone
/// writes the sum or mean of the losses.
int64_t ck_cross_entropy_block_rows(const ck_cross_entropy_args *args);
size_t ck_cross_entropy_workspace_bytes(const ck_cross_entropy_args *args);

/// The entry point of `op` at `isa`.
ck_kernel ck_cross_entropy(ck_cross_entropy_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_cross_entropy_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
