// Looking an implementation up in a family's list.
#include "ck_entry.h"

ck_kernel ck_entry_find(const ck_entry *entries, size_t count, int32_t op, ck_isa isa) {
  for (size_t i = 0; i < count; ++i) {
    if (entries[i].op == op && entries[i].isa <= isa) return entries[i].kernel;
  }
  return NULL;
}
