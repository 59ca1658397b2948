// Stable sorting and the k first of a sorted axis, with the indices they came from.
//
// Arrays are dense [outer, axis, inner]. Keys are mapped to unsigned integers that sort alike and
// sorted by radix (Knuth, TAOCP 3, 5.2.5); so the levels need no versions of their own.
#ifndef CK_SORT_H
#define CK_SORT_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_sort_op {
  CK_SORT_SORT = 0,   // k = axis
  CK_SORT_TOP_K = 1,  // the first k of the sorted axis, without sorting the rest
} ck_sort_op;

/// Equal elements keep their order, -0 equals 0, NaN is last whichever the direction.
typedef struct ck_sort_args {
  void *values;   // [outer, k, inner] of dtype, or NULL
  void *indices;  // [outer, k, inner], i64 or i32; or NULL
  const void *x;  // [outer, axis, inner] of dtype
  int64_t outer;
  int64_t axis;  // less than 2^32
  int64_t inner;
  int64_t k;            // 0 ... axis
  int32_t dtype;        // CK_F32, CK_I32, CK_I64 or CK_U8
  int32_t index_dtype;  // CK_I32 or CK_I64
  int32_t descending;   // 0 or 1
} ck_sort_args;

/// Scratch that each thread needs, in bytes.
size_t ck_sort_scratch_bytes(const ck_sort_args *args);

/// The entry point of `op` at `isa`.
ck_kernel ck_sort(ck_sort_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_sort_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
