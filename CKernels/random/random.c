// The random family's table, and Philox one block at a time.
#include "ck_random.h"

#define CK_RANDOM(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "random_kernels.inc"
#undef CK_RANDOM

static const ck_entry entries[] = {
#define CK_RANDOM(level, operation, function, same_bits) \
  {level, CK_RANDOM_##operation, same_bits, #function, function},
#include "random_kernels.inc"
#undef CK_RANDOM
};

const ck_entry *ck_random_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_random(ck_random_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

void ck_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
  uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
  uint32_t k[2] = {key[0], key[1]};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p = (uint64_t)0xD2511F53u * c[0], q = (uint64_t)0xCD9E8D57u * c[2];
    const uint32_t next[4] = {(uint32_t)(q >> 32) ^ c[1] ^ k[0], (uint32_t)q,
                              (uint32_t)(p >> 32) ^ c[3] ^ k[1], (uint32_t)p};
    for (int j = 0; j < 4; ++j) c[j] = next[j];
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  for (int j = 0; j < 4; ++j) out[j] = c[j];
}
