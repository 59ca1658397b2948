// The table of rotary positions.
#include "ck_rotary.h"

#define CK_ROTARY(level, function, same_bits) void function(const void *, const ck_thread *);
#include "rotary_kernels.inc"
#undef CK_ROTARY

static const ck_entry entries[] = {
#define CK_ROTARY(level, function, same_bits) {level, 0, same_bits, #function, function},
#include "rotary_kernels.inc"
#undef CK_ROTARY
};

const ck_entry *ck_rotary_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_rotary(ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], 0, isa);
}
