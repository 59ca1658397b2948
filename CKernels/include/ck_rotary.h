// Rotary positions: Su et al., "RoFormer: Enhanced transformer with rotary position embedding"
// (2021).
#ifndef CK_ROTARY_H
#define CK_ROTARY_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/// For each row x of [batch, time, heads], with c and s the cosines and sines of its time and p
/// below rotated / 2, where a and b are elements p and p + rotated / 2, or, interleaved, 2 p and
/// 2 p + 1:
///
///     out_a = x_a c_p - x_b s_p,  out_b = x_b c_p + x_a s_p
///
/// - Inverse: with -s. Elements from `rotated` on stay as they are.
typedef struct ck_rotary_args {
  void *out;                     // [batch, time, heads, width], dense
  const void *x;                 // its width's stride is 1
  const float *cosines, *sines;  // [time, rotated / 2], entries of a batch table_batch apart
  int64_t batch, time, heads, width, rotated;
  int64_t x_batch, x_time, x_head;  // elements
  int64_t table_batch;
  int32_t is_interleaved, is_inverse;
  int32_t x_dtype, out_dtype;  // CK_F32 or CK_BF16
} ck_rotary_args;

/// The entry point at `isa`.
ck_kernel ck_rotary(ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_rotary_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
