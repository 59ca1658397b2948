// The update family's table, and who updates what.
#include "ck_optim.h"

#include "optim_plan.h"

#define CK_OPTIM(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "optim_kernels.inc"
#undef CK_OPTIM

static const ck_entry entries[] = {
#define CK_OPTIM(level, operation, function, same_bits) \
  {level, CK_OPTIM_##operation, same_bits, #function, function},
#include "optim_kernels.inc"
#undef CK_OPTIM
};

const ck_entry *ck_optim_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_optim(ck_optim_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

void ck_optim_regions(const ck_optim_args *args, int32_t index, int32_t count, ck_region *regions) {
  const ck_thread thread = {.index = index, .count = count};
  for (int32_t i = 0; i < args->arrays; i++) regions[i] = (ck_region){0};
  optim_walk walk = optim_walk_begin(args, &thread);
  while (optim_walk_next(&walk)) {
    const int64_t length = walk.end - walk.begin;
    regions[walk.array] = (ck_region){walk.begin, length, length, 1};
  }
}
