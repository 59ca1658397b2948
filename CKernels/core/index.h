// Reading indices of any integer type, and noting the bad ones.
//
// Internal to the kernels that follow indices out of data: embeddings, cross-entropy, one-hot.
#ifndef CK_CORE_INDEX_H
#define CK_CORE_INDEX_H

#include "ck_entry.h"

/// Element `i` of an index tensor of type i32, i64 or u8.
static inline int64_t index_at(const void *indices, int32_t dtype, int64_t i) {
  switch (dtype) {
    case CK_I32:
      return ((const int32_t *)indices)[i];
    case CK_I64:
      return ((const int64_t *)indices)[i];
    default:
      return ((const uint8_t *)indices)[i];
  }
}

/// Notes that the index at `position` is `value`, which is outside its table. Keeps the lowest
/// position. While a thread writes the pair, the position is `busy`; this is rare, so others spin.
static __attribute__((noinline, unused)) void note_bad_index(int64_t *block, int64_t position,
                                                             int64_t value) {
  const int64_t none = -1, busy = -2;
  if (block == NULL) return;
  ck_index_error *error = (ck_index_error *)block;
  int64_t seen = __atomic_load_n(&error->position, __ATOMIC_RELAXED);
  do {
    while (seen == busy) seen = __atomic_load_n(&error->position, __ATOMIC_RELAXED);
    if (seen != none && seen <= position) return;
  } while (!__atomic_compare_exchange_n(&error->position, &seen, busy, true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED));
  error->value = value;
  __atomic_store_n(&error->position, position, __ATOMIC_RELEASE);
}

#endif
