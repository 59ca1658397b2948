// Softmax and log-softmax of rows, and their gradients.
//
// The last axis is dense; other axes are transposed by the caller. Not here: the loss on top
// (ck_cross_entropy.h), which never materialises the probabilities' gradient.
#ifndef CK_SOFTMAX_H
#define CK_SOFTMAX_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The longest rows that softmax and cross-entropy with labels take sixteen at a time, a row a
/// lane: such a row costs a fifth of one that is taken alone.
enum { CK_SHORT_COLUMNS = 16 };

/// With m = max_c x_c and s = Σ_c exp(x_c - m), for each row:
typedef enum ck_softmax_op {
  CK_SOFTMAX_FORWARD = 0,       // out_c = exp(x_c - m) / s
  CK_SOFTMAX_BACKWARD = 1,      // out_c = y_c (dy_c - Σ_k dy_k y_k), y the forward's result
  CK_SOFTMAX_LOG_FORWARD = 2,   // out_c = x_c - m - log s
  CK_SOFTMAX_LOG_BACKWARD = 3,  // out_c = dy_c - exp(y_c) Σ_k dy_k, y the forward's result
} ck_softmax_op;

/// A row of -Inf only, or with +Inf or NaN in it, gives NaN, as in PyTorch.
typedef struct ck_softmax_args {
  float *out;       // [rows, cols]; may be the very array x, y or dy
  const float *x;   // [rows, cols]; forward
  const float *y;   // [rows, cols]; backward
  const float *dy;  // [rows, cols]; backward
  int64_t rows;
  int64_t cols;
  int64_t out_stride;  // elements from row to row
  int64_t x_stride;
  int64_t y_stride;
  int64_t dy_stride;
} ck_softmax_args;

/// The entry point of `op` at `isa`.
ck_kernel ck_softmax(ck_softmax_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_softmax_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
