// The softmax family's table.
#include "ck_softmax.h"

#define CK_SOFTMAX(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "softmax_kernels.inc"
#undef CK_SOFTMAX

static const ck_entry entries[] = {
#define CK_SOFTMAX(level, operation, function, same_bits) \
  {level, CK_SOFTMAX_##operation, same_bits, #function, function},
#include "softmax_kernels.inc"
#undef CK_SOFTMAX
};

const ck_entry *ck_softmax_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_softmax(ck_softmax_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}
