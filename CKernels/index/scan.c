// The scan family's table.
#include "ck_scan.h"

#define CK_SCAN(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "scan_kernels.inc"
#undef CK_SCAN

static const ck_entry entries[] = {
#define CK_SCAN(level, operation, function, same_bits) \
  {level, CK_SCAN_##operation, same_bits, #function, function},
#include "scan_kernels.inc"
#undef CK_SCAN
};

const ck_entry *ck_scan_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_scan(ck_scan_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}
