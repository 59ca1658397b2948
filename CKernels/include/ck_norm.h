// Layer normalisation (Ba, Kiros, Hinton, 2016) and root-mean-square normalisation (Zhang,
// Sennrich, 2019) of rows, and their gradients.
//
// Not here: batch normalisation, whose statistics run down columns.
#ifndef CK_NORM_H
#define CK_NORM_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_norm_op {
  CK_NORM_LAYER_FORWARD = 0,   // takes ck_norm_args
  CK_NORM_LAYER_BACKWARD = 1,  // takes ck_norm_backward_args
  CK_NORM_RMS_FORWARD = 2,     // takes ck_norm_args
  CK_NORM_RMS_BACKWARD = 3,    // takes ck_norm_backward_args
} ck_norm_op;

/// For each row:
///
///     layer: mean = Σ x / C, rstd = 1 / sqrt(Σ (x - mean)² / C + epsilon)
///     rms:   mean = 0,       rstd = 1 / sqrt(Σ x² / C + epsilon)
///     y = (x - mean) rstd gamma + beta
///
/// The rounding error of the mean is taken out again: a row of equal numbers gives 0 (and beta),
/// exactly. Rows whose squares leave the range of f32 are scaled by a power of two meanwhile. With
/// an epsilon of 0, rstd is 0 where the spread is.
///
/// In f32; bf16 elements are widened on loading and rounded, to nearest even, on storing.
typedef struct ck_norm_args {
  void *y;             // [rows, cols], y_dtype; may be the very array x, of one type
  float *mean;         // [rows], or NULL; not written by rms
  float *rstd;         // [rows], or NULL
  const void *x;       // [rows, cols], x_dtype
  const float *gamma;  // [cols], or NULL: 1
  const float *beta;   // [cols], or NULL: 0
  int64_t rows;
  int64_t cols;
  int64_t x_stride;  // elements from row to row; the other arrays are dense
  float epsilon;
  int32_t y_dtype;  // CK_F32 or CK_BF16
  int32_t x_dtype;
} ck_norm_args;

/// With n = (x - mean) rstd and g = dy gamma:
///
///     layer: dx = rstd (g - Σ g / C - n Σ g n / C)
///     rms:   dx = rstd (g - n Σ g n / C)
///     dgamma = Σ_rows dy n, dbeta = Σ_rows dy
///
/// in f32 as above. Rows are summed in fixed blocks, and the blocks in order.
typedef struct ck_norm_backward_args {
  void *dx;           // [rows, cols], dx_dtype, or NULL; may be the very array dy or x, of one type
  float *dgamma;      // [cols], or NULL
  float *dbeta;       // [cols], or NULL
  const void *dy;     // [rows, cols], dy_dtype
  const void *x;      // [rows, cols], x_dtype
  const float *mean;  // [rows], where there is an rstd; not read by rms
  const float *rstd;  // [rows], or NULL: mean and rstd are computed from x, as forward does
  const float *gamma;  // [cols], or NULL: 1
  void *workspace;     // ck_norm_workspace_bytes, 64-byte aligned
  int64_t rows;
  int64_t cols;
  int64_t x_stride;  // elements from row to row; the other arrays are dense
  int64_t dy_stride;
  float epsilon;     // read without rstd
  int32_t dx_dtype;  // CK_F32 or CK_BF16
  int32_t dy_dtype;
  int32_t x_dtype;
} ck_norm_backward_args;

/// Bytes of workspace for a backward pass; depends on rows and cols alone. Without dgamma and dbeta
/// none is used.
size_t ck_norm_workspace_bytes(const ck_norm_backward_args *args);

/// The entry point of `op` at `isa`.
ck_kernel ck_norm(ck_norm_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_norm_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
