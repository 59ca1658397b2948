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

/// Notes that the index at `position` is `value`, outside 0 ..< `limit`. Keeps the lowest position.
/// Rare, so a spin lock of one word will do.
static __attribute__((noinline, unused)) void note_bad_index(int64_t *block, int64_t position,
                                                             int64_t value, int64_t limit) {
  if (block == NULL) return;
  ck_index_error *error = (ck_index_error *)block;
  while (__atomic_exchange_n(&error->lock, 1, __ATOMIC_ACQUIRE) != 0) {
  }
  if (error->position == 0 || position + 1 < error->position) {
    error->position = position + 1;
    error->value = value;
    error->limit = limit;
  }
  __atomic_store_n(&error->lock, 0, __ATOMIC_RELEASE);
}

#endif
