// Resampling along one axis: each place of the result is a weighted sum of a few of the operand.
#ifndef CK_RESAMPLE_H
#define CK_RESAMPLE_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_resample_op {
  CK_RESAMPLE_AXIS = 0,  // takes ck_resample_args
} ck_resample_op;

/// A place of the operand along the axis, and what it counts.
typedef struct ck_resample_tap {
  int32_t index;
  float weight;
} ck_resample_tap;

/// For each o, r and i:
///
///     y[o, r, i] = Σ_k taps[k].weight x[o, taps[k].index, i], k in [first[r], first[r + 1])
///
/// in f32, in the order of the taps; bf16 is widened on loading and rounded on storing. 0 without
/// taps.
///
/// One block of memory: this header, then `results` + 1 int64_t `first`, then the taps.
typedef struct ck_resample_args {
  void *y;        // [outer, results, inner], y_dtype
  const void *x;  // [outer, extent, inner], x_dtype
  int64_t outer;
  int64_t extent;
  int64_t results;
  int64_t inner;
  int32_t y_dtype;  // CK_F32 or CK_BF16
  int32_t x_dtype;
} ck_resample_args;

static inline const int64_t *ck_resample_first(const ck_resample_args *args) {
  return (const int64_t *)((const char *)args + sizeof(ck_resample_args));
}
static inline const ck_resample_tap *ck_resample_taps(const ck_resample_args *args) {
  return (const ck_resample_tap *)(ck_resample_first(args) + args->results + 1);
}

/// The entry point of `op` at `isa`.
ck_kernel ck_resample(ck_resample_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_resample_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
