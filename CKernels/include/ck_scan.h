// Cumulative sums, products and extremes, and the place of the extreme, along one axis.
//
// Arrays are dense [outer, axis, inner].
#ifndef CK_SCAN_H
#define CK_SCAN_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_scan_op {
  CK_SCAN_F32 = 0,     // takes ck_scan_args
  CK_SCAN_I32 = 1,     // takes ck_scan_args
  CK_SCAN_I64 = 2,     // takes ck_scan_args
  CK_SCAN_ARGMAX = 3,  // takes ck_arg_args
  CK_SCAN_ARGMIN = 4,  // takes ck_arg_args
} ck_scan_op;

typedef enum ck_scan_kind {
  CK_SCAN_SUM = 0,
  CK_SCAN_PRODUCT = 1,
  CK_SCAN_MAX = 2,  // NaN once there was one
  CK_SCAN_MIN = 3,
} ck_scan_kind;

/// y_k = x_0 ∘ … ∘ x_k, or without x_k where exclusive (starting from the neutral element: 0, 1,
/// the least, the greatest value), or from the far end where reverse.
///
/// Float sums are made in blocks, and what the blocks' sums leave out by rounding is carried along.
/// Along a dense axis (inner 1) they add in a fixed tree within each 16 elements.
typedef struct ck_scan_args {
  void *y;        // [outer, axis, inner]; may be the very array x
  const void *x;  // [outer, axis, inner]
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int32_t kind;       // a ck_scan_kind
  int32_t exclusive;  // 0 or 1
  int32_t reverse;    // 0 or 1
} ck_scan_args;

/// The index along the axis of the greatest (least) element; the first of equals; the first NaN
/// where there is one. f32.
typedef struct ck_arg_args {
  void *indices;   // [outer, inner], i64 or i32
  const float *x;  // [outer, axis, inner]; axis at least 1
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int32_t index_dtype;  // CK_I32 or CK_I64
} ck_arg_args;

/// The entry point of `op` at `isa`.
ck_kernel ck_scan(ck_scan_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_scan_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
