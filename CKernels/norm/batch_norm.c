// The table of batch normalisation, and what its kernels need in memory.
#include "ck_batch_norm.h"

#include "batch_norm_plan.h"

#define CK_BATCH_NORM(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "batch_norm_kernels.inc"
#undef CK_BATCH_NORM

static const ck_entry entries[] = {
#define CK_BATCH_NORM(level, operation, function, same_bits) \
  {level, CK_BATCH_NORM_##operation, same_bits, #function, function},
#include "batch_norm_kernels.inc"
#undef CK_BATCH_NORM
};

const ck_entry *ck_batch_norm_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_batch_norm(ck_batch_norm_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

size_t ck_moments_workspace_bytes(const ck_moments_args *args) {
  return (size_t)(2 * column_blocks(args->rows) * column_stride(args->cols)) * sizeof(float);
}

size_t ck_batch_norm_backward_workspace_bytes(const ck_batch_norm_backward_args *args) {
  const int64_t arrays = 2 * column_blocks(args->rows) + COEFFICIENTS;
  return (size_t)(arrays * column_stride(args->cols)) * sizeof(float);
}
