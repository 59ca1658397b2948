// The normalisation family's table, and what its backward pass needs in memory.
#include "ck_norm.h"

#include "norm_plan.h"

#define CK_NORM(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "norm_kernels.inc"
#undef CK_NORM

static const ck_entry entries[] = {
#define CK_NORM(level, operation, function, same_bits) \
  {level, CK_NORM_##operation, same_bits, #function, function},
#include "norm_kernels.inc"
#undef CK_NORM
};

const ck_entry *ck_norm_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_norm(ck_norm_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

size_t ck_norm_workspace_bytes(const ck_norm_backward_args *args) {
  return (size_t)(2 * block_count(args) * block_stride(args)) * sizeof(float);
}
