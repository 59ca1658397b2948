// Moving elements without looking at them: a strided copy between any two views, padding, and
// concatenation. Transpose, slice with steps, flip, broadcast and stack are all `ck_copy`.
//
// Elements are 1, 2, 4 or 8 bytes of anything. Views that a consumer can read in place should not
// come here at all; this is for those that must be made dense.
#ifndef CK_COPY_H
#define CK_COPY_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_copy_op {
  CK_COPY_STRIDED = 0,  // takes ck_copy_args
  CK_COPY_PAD = 1,      // takes ck_pad_args
  CK_COPY_CONCAT = 2,   // takes ck_concat_args
  CK_COPY_BYTES = 3,    // takes ck_bytes_args
} ck_copy_op;

/// dst[Σ i_k · dst_strides_k] = src[Σ i_k · src_strides_k] for every index tuple i below `sizes`.
///
/// Strides count elements and may be negative; a source stride of 0 repeats. The destination's
/// elements must be distinct and must not overlap the source. The kernel itself joins dimensions
/// that are one run on both sides: callers need not.
typedef struct ck_copy_args {
  void *dst;
  const void *src;
  int64_t dst_offset;  // element offsets added to the pointers: where a slice or a flip starts
  int64_t src_offset;
  int32_t element_size;  // 1, 2, 4 or 8
  int32_t rank;          // 0 ... CK_MAX_DIMS
  int64_t sizes[CK_MAX_DIMS];
  int64_t dst_strides[CK_MAX_DIMS];
  int64_t src_strides[CK_MAX_DIMS];
} ck_copy_args;

/// Padding of a dense row-major array, also between its elements:
/// dst[low_k + step_k · i_k] = src[i], every other element of dst = `fill`.
///
/// With `step` > 1 this is the transpose of a slice with steps. Elements that `low` < 0 or a
/// small destination push outside are dropped.
typedef struct ck_pad_args {
  void *dst;             // dense, dst_sizes
  const void *src;       // dense, src_sizes
  uint64_t fill;         // the bits of one element, in the low bytes
  int32_t element_size;  // 1, 2, 4 or 8
  int32_t rank;          // 1 ... CK_MAX_DIMS
  int64_t dst_sizes[CK_MAX_DIMS];
  int64_t src_sizes[CK_MAX_DIMS];
  int64_t low[CK_MAX_DIMS];
  int64_t step[CK_MAX_DIMS];  // at least 1
} ck_pad_args;

/// The most operands of one concatenation; more are concatenated in groups.
#define CK_CONCAT_MAX 16

/// dst[o] = src[0][o] ++ src[1][o] ++ …, for o < outer: dense arrays joined along one axis.
typedef struct ck_concat_args {
  void *dst;                       // [outer, Σ bytes]
  const void *src[CK_CONCAT_MAX];  // [outer, bytes[k]]
  int64_t bytes[CK_CONCAT_MAX];    // length along the axis · inner size · element size
  int64_t outer;
  int32_t count;  // 1 ... CK_CONCAT_MAX
} ck_concat_args;

/// Bytes that one thread takes at a time.
#define CK_COPY_RUN 4096

/// dst[i] = src[i] for i < count. Bytes are shared out in runs of CK_COPY_RUN, by `ck_share`; the
/// two arrays must not overlap.
typedef struct ck_bytes_args {
  void *dst;
  const void *src;
  int64_t count;
} ck_bytes_args;

/// The entry point of `op` at `isa`.
ck_kernel ck_copy(ck_copy_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_copy_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
