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

/// For each row, with h = x + residual:
///
///     layer: mean = Σ h / C, rstd = 1 / sqrt(Σ (h - mean)² / C + epsilon)
///     rms:   mean = 0,       rstd = 1 / sqrt(Σ h² / C + epsilon)
///     y = (h - mean) rstd gamma + beta
typedef struct ck_norm_args {
  float *y;               // [rows, cols]
  float *sum;             // [rows, cols] receives h; needed with a residual, else unused
  float *mean;            // [rows], or NULL; not written by rms
  float *rstd;            // [rows], or NULL
  const float *x;         // [rows, cols]
  const float *residual;  // [rows, cols], or NULL: 0
  const float *gamma;     // [cols], or NULL: 1
  const float *beta;      // [cols], or NULL: 0
  int64_t rows;
  int64_t cols;
  int64_t x_stride;  // elements from row to row; the other arrays are dense
  float epsilon;
} ck_norm_args;

/// With n = (x - mean) rstd and g = dy gamma:
///
///     layer: dx = rstd (g - Σ g / C - n Σ g n / C)
///     rms:   dx = rstd (g - n Σ g n / C)
///     dgamma = Σ_rows dy n, dbeta = Σ_rows dy
///
/// Rows are summed in fixed blocks, and the blocks in order.
typedef struct ck_norm_backward_args {
  float *dx;           // [rows, cols], or NULL; may be the very array dy
  float *dgamma;       // [cols], or NULL
  float *dbeta;        // [cols], or NULL
  const float *dy;     // [rows, cols]
  const float *x;      // [rows, cols]: h of the forward pass
  const float *mean;   // [rows], where there is an rstd; not read by rms
  const float *rstd;   // [rows], or NULL: mean and rstd are computed from x, as forward does
  const float *gamma;  // [cols], or NULL: 1
  void *workspace;     // ck_norm_workspace_bytes, 64-byte aligned
  int64_t rows;
  int64_t cols;
  int64_t x_stride;  // elements from row to row; the other arrays are dense
  int64_t dy_stride;
  float epsilon;  // read without rstd
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
