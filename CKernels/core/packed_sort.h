// Sorting keys that carry where they come from: 32 bits of key above 32 bits of place. No two are
// alike, so that any sort is a stable one.
//
// Internal to the kernels that sort: sort and top-k, rows that meet.
#ifndef CK_CORE_PACKED_SORT_H
#define CK_CORE_PACKED_SORT_H

#include <stdint.h>

static inline void insertion_packed(uint64_t *v, int64_t n) {
  for (int64_t i = 1; i < n; ++i) {
    const uint64_t x = v[i];
    int64_t j = i;
    for (; j > 0 && v[j - 1] > x; --j) v[j] = v[j - 1];
    v[j] = x;
  }
}

/// Sorts by the upper 32 bits, which with stability is sorting. Returns v or its spare, as wide.
static inline uint64_t *radix_packed(uint64_t *v, uint64_t *spare, int64_t n) {
  uint32_t counts[4][256] = {{0}};
  for (int64_t i = 0; i < n; ++i) {
    for (int d = 0; d < 4; ++d) counts[d][v[i] >> (32 + 8 * d) & 255]++;
  }
  for (int d = 0; d < 4; ++d) {
    const int shift = 32 + 8 * d;
    if (counts[d][v[0] >> shift & 255] == n) continue;  // all alike in this digit
    uint32_t place = 0;
    for (int b = 0; b < 256; ++b) {
      const uint32_t count = counts[d][b];
      counts[d][b] = place;
      place += count;
    }
    for (int64_t i = 0; i < n; ++i) spare[counts[d][v[i] >> shift & 255]++] = v[i];
    uint64_t *swap = v;
    v = spare;
    spare = swap;
  }
  return v;
}

/// Sorts n keys, with `spare` for as many more. Returns v or spare, where they stand in order.
static inline uint64_t *sort_packed(uint64_t *v, uint64_t *spare, int64_t n) {
  if (n > 48) return radix_packed(v, spare, n);
  insertion_packed(v, n);
  return v;
}

#endif
