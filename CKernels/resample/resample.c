// The resampling family's table.
#include "ck_resample.h"

#define CK_RESAMPLE(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "resample_kernels.inc"
#undef CK_RESAMPLE

static const ck_entry entries[] = {
#define CK_RESAMPLE(level, operation, function, same_bits) \
  {level, CK_RESAMPLE_##operation, same_bits, #function, function},
#include "resample_kernels.inc"
#undef CK_RESAMPLE
};

const ck_entry *ck_resample_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_resample(ck_resample_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}
