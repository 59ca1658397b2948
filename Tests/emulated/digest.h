// What the programs of this folder share: numbers that are the same on every machine, and digests
// of results.
#ifndef DIGEST_H
#define DIGEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

static ck_team *team;

// MARK: Memory, numbers, hashes

static inline void *room(size_t bytes) {
  void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
  if (!memory) abort();
  memset(memory, 0, (bytes + 127) / 64 * 64);
  return memory;
}

static uint64_t state;

static inline uint32_t next(void) {
  state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(state >> 33);
}

/// `count` numbers in (-4, 4); every 61st one is out of the ordinary where `special`.
static inline float *numbers(int64_t count, bool special) {
  static const float odd[] = {
      0, -0.0f, 1e30f, -1e30f, 1e-20f, __builtin_inff(), -__builtin_inff(), __builtin_nanf(""),
      1, -1,    100,   -100};
  float *p = room((size_t)count * 4);
  for (int64_t i = 0; i < count; i++) {
    p[i] = ((float)next() / 2147483648.0f - 0.5f) * 8;
    if (special && i % 61 == 60) p[i] = odd[i / 61 % (int64_t)(sizeof odd / sizeof *odd)];
  }
  return p;
}

static inline int32_t *integers(int64_t count, int32_t limit) {
  int32_t *p = room((size_t)count * 4);
  for (int64_t i = 0; i < count; i++) p[i] = (int32_t)(next() % (uint32_t)limit);
  return p;
}

static inline uint64_t hash_bytes(uint64_t hash, const void *p, size_t bytes) {
  const unsigned char *at = p;
  for (size_t i = 0; i < bytes; i++) hash = (hash ^ at[i]) * UINT64_C(1099511628211);
  return hash;
}

static inline uint64_t hash_floats(const float *p, int64_t count) {
  uint64_t hash = UINT64_C(14695981039346656037);
  for (int64_t i = 0; i < count; i++) {
    const float x = p[i] != p[i] ? __builtin_nanf("") : p[i];
    hash = hash_bytes(hash, &x, 4);
  }
  return hash;
}

static inline void report(const char *name, const float *p, int64_t count) {
  printf("%s %016llx\n", name, (unsigned long long)hash_floats(p, count));
}

static inline void report_bytes(const char *name, const void *p, size_t bytes) {
  printf("%s %016llx\n", name,
         (unsigned long long)hash_bytes(UINT64_C(14695981039346656037), p, bytes));
}

static inline void run(ck_kernel kernel, const void *args, size_t scratch) {
  if (!ck_team_reserve_scratch(team, scratch)) abort();
  const ck_step step = {.kernel = kernel, .args = args, .threads = 0, .barrier = 1};
  ck_run(team, &step, 1);
}

#endif
