// The cross-entropy family's table, and the size of its workspace.
#include "ck_cross_entropy.h"

#include "cross_entropy_plan.h"

#define CK_CROSS_ENTROPY(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "cross_entropy_kernels.inc"
#undef CK_CROSS_ENTROPY

static const ck_entry entries[] = {
#define CK_CROSS_ENTROPY(level, operation, function, same_bits) \
  {level, CK_CROSS_ENTROPY_##operation, same_bits, #function, function},
#include "cross_entropy_kernels.inc"
#undef CK_CROSS_ENTROPY
};

const ck_entry *ck_cross_entropy_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_cross_entropy(ck_cross_entropy_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

int64_t ck_cross_entropy_block_rows(const ck_cross_entropy_args *args) { return block_rows(args); }

size_t ck_cross_entropy_workspace_bytes(const ck_cross_entropy_args *args) {
  return (size_t)block_count(args) * sizeof(row_sums);
}
