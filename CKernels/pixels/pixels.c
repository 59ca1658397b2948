// The table of the kernels that make floats of bytes.
#include "ck_pixels.h"

#define CK_PIXELS(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "pixels_kernels.inc"
#undef CK_PIXELS

static const ck_entry entries[] = {
#define CK_PIXELS(level, operation, function, same_bits) \
  {level, CK_PIXELS_##operation, same_bits, #function, function},
#include "pixels_kernels.inc"
#undef CK_PIXELS
};

const ck_entry *ck_pixels_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_pixels(ck_pixels_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}
