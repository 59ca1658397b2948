// Softmax and log-softmax of rows, and their gradients.
//
// The last axis is dense; other axes are transposed by the caller. Not here:
// the loss on top (ck_cross_entropy.h), which never materialises the
// probabilities' gradient.
#ifndef CK_SOFTMAX_H
#define CK_SOFTMAX_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The longest rows that softmax and cross-entropy with labels take sixteen at
/// a time, a row a lane: such a row costs a fifth of one that is taken alone.
enum { CK_SHORT_COLUMNS = 16 };
/// The longest rows whose exponentials a thread keeps to itself until their sum is known: where
/// they are streamed, stored as bf16, or those of a gradient from logits, which takes no longer
/// ones.
enum { CK_KEPT_COLUMNS = 8192 };

/// With m = max_c x_c and s = Σ_c exp(x_c - m), for each row:
typedef enum ck_softmax_op {
  CK_SOFTMAX_FORWARD = 0,       // out_c = exp(x_c - m) / s
  CK_SOFTMAX_BACKWARD = 1,      // out_c = y_c (dy_c - Σ_k dy_k y_k), y the forward's result
  CK_SOFTMAX_LOG_FORWARD = 2,   // out_c = x_c - m - log s
  CK_SOFTMAX_LOG_BACKWARD = 3,  // out_c = dy_c - exp(y_c) Σ_k dy_k, y the forward's result
  // As BACKWARD, y computed from x, where nobody else reads it; cols at most CK_KEPT_COLUMNS.
  CK_SOFTMAX_BACKWARD_OF_LOGITS = 4,
} ck_softmax_op;

/// A row with +Inf or NaN in it gives NaN, as in PyTorch. One of -Inf alone, a row whose classes
/// are all masked, has the probabilities 0 (PyTorch: NaN), -Inf as their logarithms, and the
/// gradient 0 through either. All is computed in f32; bf16 elements are widened on loading and
/// rounded, to nearest even, on storing.
typedef struct ck_softmax_args {
  void *out;       // [rows, cols], out_dtype; may be the very array x, y or dy, of
                   // one type
  const void *x;   // [rows, cols], x_dtype; forward, and backward of logits
  const void *y;   // [rows, cols], y_dtype; backward
  const void *dy;  // [rows, cols], dy_dtype; backward
  int64_t rows;
  int64_t cols;
  int64_t out_stride;  // elements from row to row
  int64_t x_stride;
  int64_t y_stride;
  int64_t dy_stride;
  int32_t out_dtype;  // CK_F32 or CK_BF16
  int32_t x_dtype;
  int32_t y_dtype;
  int32_t dy_dtype;
} ck_softmax_args;

/// The entry point of `op` at `isa`.
ck_kernel ck_softmax(ck_softmax_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_softmax_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
