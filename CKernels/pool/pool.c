// The pooling family's table.
#include "ck_pool.h"

#define CK_POOL(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "pool_kernels.inc"
#undef CK_POOL

static const ck_entry entries[] = {
#define CK_POOL(level, operation, function, same_bits) \
  {level, CK_POOL_##operation, same_bits, #function, function},
#include "pool_kernels.inc"
#undef CK_POOL
};

const ck_entry *ck_pool_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_pool(ck_pool_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}
