// Following indices: gather (embedding lookup, take, take-along-axis), its transpose scatter-add,
// and one-hot.
//
// An index outside the axis is never followed. Its position is noted in `error` (see
// `ck_index_error`), and the item counts as absent: zeros gathered, nothing added.
#ifndef CK_GATHER_H
#define CK_GATHER_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_gather_op {
  CK_GATHER_GATHER = 0,           // takes ck_gather_args
  CK_GATHER_SCATTER_ADD_F32 = 1,  // takes ck_scatter_args
  CK_GATHER_SCATTER_ADD_F64 = 2,
  CK_GATHER_SCATTER_ADD_I32 = 3,
  CK_GATHER_SCATTER_ADD_I64 = 4,
  CK_GATHER_ONE_HOT = 5,      // takes ck_one_hot_args
  CK_GATHER_GATHER_CAST = 6,  // takes ck_gather_args, index_inner 0: bf16 of f32 where
                              // element_size, that of the source, is 4, f32 of bf16 where it is 2
  CK_GATHER_LENGTH_MASK = 7,  // takes ck_length_mask_args
  CK_GATHER_PACKED_ROWS = 8,  // takes ck_packed_rows_args
  CK_GATHER_COALESCE = 9,     // takes ck_coalesce_args
  CK_GATHER_SET_ROWS = 10,    // takes ck_set_rows_args
} ck_gather_op;

/// dst[o, k, i] = src[o, indices[o·index_outer + k·index_count + i·index_inner], i]
/// for o < outer, k < count, i < inner.
///
/// - Embedding and take: index strides (0, 1, 0).
/// - Take along the axis (an index for each element): (count·inner, inner, 1).
/// - One list of indices for each o: (count, 1, 0).
typedef struct ck_gather_args {
  void *dst;            // [outer, count, inner]
  const void *src;      // [outer, axis, inner]
  const void *indices;  // index_dtype
  int64_t *error;       // a ck_index_error, or NULL
  int64_t outer;
  int64_t axis;
  int64_t count;
  int64_t inner;
  int64_t index_outer;  // element strides of `indices`
  int64_t index_count;
  int64_t index_inner;
  int32_t index_dtype;   // CK_I32, CK_I64 or CK_U8
  int32_t element_size;  // 1, 2, 4 or 8
} ck_gather_args;

/// dst = base (or zeros), then for all o, k, i in rising order of k:
/// dst[o, indices[o·index_outer + k·index_count + i·index_inner], i] += updates[o, k, i].
///
/// Each element receives its updates in that order whatever the number of threads, so the bits do
/// not depend on it. The additions of floats are f32; updates may be bf16. Many updates of f32 are
/// added up in blocks, and the blocks with what their roundings leave out: a row that 2^24 ones
/// meet goes on counting.
typedef struct ck_scatter_args {
  void *dst;            // [outer, axis, inner]
  const void *base;     // [outer, axis, inner], may be dst itself; NULL: zeros
  const void *updates;  // [outer, count, inner]
  const void *indices;  // index_dtype
  int64_t *error;       // a ck_index_error, or NULL
  void *workspace;      // ck_scatter_workspace_bytes, for f32 alone
  int64_t outer;
  int64_t axis;
  int64_t count;
  int64_t inner;
  int64_t index_outer;  // element strides of `indices`
  int64_t index_count;
  int64_t index_inner;
  int32_t index_dtype;   // CK_I32, CK_I64 or CK_U8
  int32_t update_dtype;  // CK_SCATTER_ADD_F32: CK_F32 or CK_BF16; the others take their own alone
} ck_scatter_args;

/// What a scatter-add of f32 needs beside its arrays; 0 where the table takes all updates at once.
size_t ck_scatter_workspace_bytes(const ck_scatter_args *args);

/// dst[o, d, i] = on where indices[o, i] = d, else off; for o < outer, d < depth, i < inner.
typedef struct ck_one_hot_args {
  void *dst;            // [outer, depth, inner]
  const void *indices;  // [outer, inner], index_dtype
  int64_t *error;       // a ck_index_error, or NULL
  uint64_t on;          // the bits of one element, in the low bytes
  uint64_t off;
  int64_t outer;
  int64_t depth;
  int64_t inner;
  int32_t index_dtype;   // CK_I32, CK_I64 or CK_U8
  int32_t element_size;  // 1, 2, 4 or 8
} ck_one_hot_args;

/// dst[i, t] = t < lengths[i], for i < count, t < extent. A length outside 1 ... extent is noted;
/// its row is false.
typedef struct ck_length_mask_args {
  void *dst;            // CK_BOOL [count, extent]
  const void *lengths;  // [count], length_dtype
  int64_t *error;       // a ck_index_error, or NULL
  int64_t count;
  int64_t extent;
  int32_t length_dtype;  // CK_I32, CK_I64 or CK_U8
} ck_length_mask_args;

/// Sequences of their own lengths, between an array that is padded and rows that lie one behind the
/// other, step by step:
///
///     rows[offsets[t] + r] = padded[order[r], t]      r < offsets[t + 1] - offsets[t], t < steps
///
/// Packing writes the left side and zeros into the rows behind offsets[steps], unpacking the right
/// side and zeros where no row belongs. What `offsets` or `order` say that cannot be is left out.
typedef struct ck_packed_rows_args {
  void *dst;
  const void *src;
  const void *order;       // [batch], order_dtype; NULL: 0, 1, …
  const int32_t *offsets;  // [steps + 1]
  int64_t steps;
  int64_t batch;
  int64_t width;            // elements of a row
  int64_t sequence_stride;  // of the padded array, in rows
  int64_t step_stride;
  int32_t order_dtype;  // CK_I32, CK_I64 or CK_U8
  int32_t unpacks;
  int32_t src_type, dst_type;  // one type, or CK_F32 and CK_BF16
} ck_packed_rows_args;

/// Updates of one row added up, at the place of the first of them:
///
///     rows[k] = indices[k]                            where no earlier update has that index, else
///     -1 sums[k] = Σ updates[j] over indices[j] = indices[k]   there, else zeros
///
/// Updates are added in rising order of j, as ck_scatter_args has it without blocks.
typedef struct ck_coalesce_args {
  int32_t *rows;        // [count]
  float *sums;          // [count, inner]
  const void *updates;  // [count, inner], update_dtype
  const void *indices;  // [count], index_dtype
  int64_t *error;       // a ck_index_error, or NULL
  void *workspace;      // ck_coalesce_workspace_bytes
  int64_t axis;         // at most INT32_MAX
  int64_t count;        // at most UINT32_MAX
  int64_t inner;
  int32_t index_dtype;   // CK_I32, CK_I64 or CK_U8
  int32_t update_dtype;  // CK_F32 or CK_BF16
} ck_coalesce_args;

size_t ck_coalesce_workspace_bytes(const ck_coalesce_args *args);

/// dst = src, but dst[rows[k]] = values[k] where rows[k] >= 0; those are different rows of the
/// table. What `rows` say that cannot be is left out. Nothing else is touched where dst is src.
typedef struct ck_set_rows_args {
  void *dst;            // [axis, inner]
  const void *src;      // [axis, inner], may be dst itself
  const int32_t *rows;  // [count]
  const void *values;   // [count, inner]
  int64_t axis;
  int64_t count;
  int64_t row_bytes;
} ck_set_rows_args;

/// The entry point of `op` at `isa`.
ck_kernel ck_gather(ck_gather_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_gather_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
