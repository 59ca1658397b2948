// The bounds' table, and what their threads share.
#include "ck_bound.h"

#define CK_BOUND(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "bound_kernels.inc"
#undef CK_BOUND

static const ck_entry entries[] = {
#define CK_BOUND(level, operation, function, same_bits) \
  {level, CK_BOUND_##operation, same_bits, #function, function},
#include "bound_kernels.inc"
#undef CK_BOUND
};

const ck_entry *ck_bound_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_bound(ck_bound_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

size_t ck_bound_workspace_bytes(const ck_bound_args *args) {
  int64_t tiles = 0;
  for (int32_t i = 0; i < args->arrays; ++i) tiles += ck_bound_tiles(&ck_bound_arrays(args)[i]);
  // Whichever op it is for: two words a tile hold either.
  return (size_t)(2 * tiles + args->arrays) * sizeof(uint32_t);
}
