// A linear layer and the cross-entropy of its results as one kernel, in chunks of rows.
//
// Logits and their gradient exist for one chunk at a time: where there are many classes they are by
// far the largest arrays of a training step. The idea is that of Liger (Hsu et al., "Liger Kernel:
// Efficient Triton Kernels for LLM Training", 2024). Not here: targets that are distributions,
// which are as large as the logits.
#ifndef CK_LINEAR_CROSS_ENTROPY_H
#define CK_LINEAR_CROSS_ENTROPY_H

#include "ck_base.h"
#include "ck_cross_entropy.h"
#include "ck_gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

/// With G the gradient that ck_cross_entropy.h states, for these labels:
///
///     logits = X W + bias            X: rows x depth, W: depth x cols
///     loss = cross_entropy(logits, labels)
///     dX = G Wᵀ,  dW = Xᵀ G (or its transpose),  db_c = Σ_i G_ic
///
/// - X[i][p] = x[i * x_row + p * x_col], W[p][c] = w[p * w_row + c * w_col], at any strides.
/// - With no gradient asked for, G is not computed.
/// - Order: as ck_gemm.h states within a chunk, chunks ascending. The chunks follow rows and cols
///   alone, so that each element has the same bits whatever the level and the team, as far as the
///   products do.
typedef struct ck_linear_cross_entropy_args {
  float *loss;  // [rows] where the reduction is none, else [1]
  float *dx;    // [rows, depth], or NULL
  float *dw;    // [depth, cols], [cols, depth] where `dw_transposed`, or NULL
  float *db;    // [cols], or NULL
  const float *x;
  const float *w;
  const float *bias;           // [cols], or NULL
  const void *labels;          // [rows] of label_dtype
  const float *class_weights;  // [cols], or NULL
  const float *upstream;       // the loss's gradient, of its shape; NULL: 1
  void *workspace;             // ck_linear_cross_entropy_workspace_bytes, 64-byte aligned
  int64_t *error;              // a ck_index_error, or NULL
  int64_t rows, cols, depth;
  int64_t x_row, x_col;
  int64_t w_row, w_col;
  int64_t ignore_index;
  float smoothing;
  int32_t label_dtype;  // CK_I32, CK_I64 or CK_U8
  int32_t reduction;    // a ck_reduction
  int32_t dw_transposed;
  int32_t precision;  // a ck_gemm_precision: of the products
  int32_t isa;        // a ck_isa: the level of the products and of the cross-entropy
} ck_linear_cross_entropy_args;

/// The entry point, at the level that the arguments name.
ck_kernel ck_linear_cross_entropy(void);
/// Its one row.
const ck_entry *ck_linear_cross_entropy_entries(size_t *count);
/// Rows of a chunk (the last may have fewer): a function of rows and cols alone.
int64_t ck_linear_cross_entropy_chunk(int64_t rows, int64_t cols);
/// Shared workspace, in bytes: the logits of one chunk and the sums of its rows.
size_t ck_linear_cross_entropy_workspace_bytes(const ck_linear_cross_entropy_args *args);
/// Scratch that each thread needs, in bytes.
size_t ck_linear_cross_entropy_scratch_bytes(const ck_linear_cross_entropy_args *args);

#ifdef __cplusplus
}
#endif

#endif
