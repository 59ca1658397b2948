// Batch normalisation: statistics of columns over all rows, and the backward pass.
//
// Normalising itself is elementwise and no kernel: it is part of the loop that goes on with its
// result. The statistics stand apart from it, so that who makes the rows can as well make those.
#ifndef CK_BATCH_NORM_H
#define CK_BATCH_NORM_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_batch_norm_op {
  CK_BATCH_NORM_MOMENTS = 0,   // takes ck_moments_args
  CK_BATCH_NORM_BACKWARD = 1,  // takes ck_batch_norm_backward_args
} ck_batch_norm_op;

/// For each column, over R rows:
///
///     mean = Σ x / R, variance = Σ (x - mean)² / R
///
/// in one pass: runs of rows are summed as deviations from their first row, which costs no
/// precision where the mean is large, and runs and blocks of them are joined as Chan, Golub &
/// LeVeque (1983) have it. A column of equal numbers has a variance of exactly 0. NaN where there
/// are no rows, and in a column that holds a NaN or an infinity.
typedef struct ck_moments_args {
  float *mean;      // [cols]
  float *variance;  // [cols]
  const void *x;    // [rows, cols], x_dtype, dense
  void *workspace;  // ck_moments_workspace_bytes, 64-byte aligned
  int64_t rows;
  int64_t cols;
  int32_t x_dtype;  // CK_F32 or CK_BF16
  int32_t reserved;
} ck_moments_args;

/// With rstd = 1 / sqrt(variance + epsilon) and n = (x - mean) rstd:
///
///     dbeta = Σ_rows dy, dgamma = Σ_rows dy n
///     dx = gamma rstd (dy - dbeta / R - n dgamma / R)
///
/// in f32; two passes over the rows. Rows are summed in fixed blocks, and the blocks in order. An
/// rstd that would divide by 0 is 0.
typedef struct ck_batch_norm_backward_args {
  void *dx;               // [rows, cols], dx_dtype; may be the very array dy or x, of one type
  float *dgamma;          // [cols], or NULL
  float *dbeta;           // [cols], or NULL
  const void *dy;         // [rows, cols], dy_dtype
  const void *x;          // [rows, cols], x_dtype
  const float *mean;      // [cols]
  const float *variance;  // [cols]
  const float *gamma;     // [cols], or NULL: 1
  void *workspace;        // ck_batch_norm_backward_workspace_bytes, 64-byte aligned
  int64_t rows;
  int64_t cols;
  float epsilon;
  int32_t dx_dtype;  // CK_F32 or CK_BF16
  int32_t dy_dtype;
  int32_t x_dtype;
} ck_batch_norm_backward_args;

/// Bytes of workspace; they depend on rows and cols alone.
size_t ck_moments_workspace_bytes(const ck_moments_args *args);
size_t ck_batch_norm_backward_workspace_bytes(const ck_batch_norm_backward_args *args);

/// The entry point of `op` at `isa`.
ck_kernel ck_batch_norm(ck_batch_norm_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_batch_norm_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
