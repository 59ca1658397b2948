// Stable radix sort and top-k, one line of the axis at a time.
#include "ck_sort.h"

#include <string.h>

#include "../core/packed_sort.h"

#define CK_SORT(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "sort_kernels.inc"
#undef CK_SORT

static const ck_entry entries[] = {
#define CK_SORT(level, operation, function, same_bits) \
  {level, CK_SORT_##operation, same_bits, #function, function},
#include "sort_kernels.inc"
#undef CK_SORT
};

const ck_entry *ck_sort_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_sort(ck_sort_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

// A key is a 64-bit unsigned integer whose order is the wanted order. For types of up to 32 bits
// the element's index stands in its lower half, so that keys are distinct and any sort of them is
// stable; 64-bit elements carry the index beside the key.

typedef struct pair {
  uint64_t key;
  uint64_t index;
} pair;

/// NaN is greater than all else.
static uint32_t key_of_float(float x, bool descending) {
  if (x != x) return descending ? 0 : UINT32_MAX;
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (x == 0) bits = 0;
  bits = bits >> 31 ? ~bits : bits | 0x80000000u;
  return descending ? ~bits : bits;
}

static uint64_t key_at(const ck_sort_args *a, int64_t at) {
  const bool descending = a->descending != 0;
  switch (a->dtype) {
    case CK_F32:
      return key_of_float(((const float *)a->x)[at], descending);
    case CK_I32: {
      const uint32_t key = (uint32_t)((const int32_t *)a->x)[at] ^ 0x80000000u;
      return descending ? ~key : key;
    }
    case CK_I64: {
      const uint64_t key = (uint64_t)((const int64_t *)a->x)[at] ^ (uint64_t)1 << 63;
      return descending ? ~key : key;
    }
    default: {
      const uint32_t key = ((const uint8_t *)a->x)[at];
      return descending ? 255 - key : key;
    }
  }
}

static pair *radix_pairs(pair *v, pair *spare, int64_t n) {
  for (int d = 0; d < 8; ++d) {
    const int shift = 8 * d;
    uint32_t counts[256] = {0};
    for (int64_t i = 0; i < n; ++i) counts[v[i].key >> shift & 255]++;
    if (counts[v[0].key >> shift & 255] == n) continue;
    uint32_t place = 0;
    for (int b = 0; b < 256; ++b) {
      const uint32_t count = counts[b];
      counts[b] = place;
      place += count;
    }
    for (int64_t i = 0; i < n; ++i) spare[counts[v[i].key >> shift & 255]++] = v[i];
    pair *swap = v;
    v = spare;
    spare = swap;
  }
  return v;
}

static void sift_down(uint64_t *heap, int64_t n, int64_t i) {
  const uint64_t x = heap[i];
  for (int64_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && heap[child + 1] > heap[child]) ++child;
    if (heap[child] <= x) break;
    heap[i] = heap[child];
  }
  heap[i] = x;
}

static void put(const ck_sort_args *a, int64_t base, int64_t out, int64_t index) {
  const int64_t from = base + index * a->inner;
  if (a->values != NULL) {
    switch (a->dtype) {
      case CK_F32:
        ((float *)a->values)[out] = ((const float *)a->x)[from];
        break;
      case CK_I32:
        ((int32_t *)a->values)[out] = ((const int32_t *)a->x)[from];
        break;
      case CK_I64:
        ((int64_t *)a->values)[out] = ((const int64_t *)a->x)[from];
        break;
      default:
        ((uint8_t *)a->values)[out] = ((const uint8_t *)a->x)[from];
        break;
    }
  }
  if (a->indices == NULL) return;
  if (a->index_dtype == CK_I32) {
    ((int32_t *)a->indices)[out] = (int32_t)index;
  } else {
    ((int64_t *)a->indices)[out] = index;
  }
}

/// Whether a heap finds the first few: they alone need memory then.
static bool takes_few(const ck_sort_args *a) { return a->k > 0 && a->k < a->axis / 8; }

/// The k least packed keys of a line, in order, at the returned place. A heap of the k least so far
/// where k is a small part; else everything is sorted.
static const uint64_t *first_packed(const ck_sort_args *a, int64_t base, uint64_t *v) {
  const int64_t n = a->axis, k = a->k;
  if (takes_few(a)) {
    for (int64_t i = 0; i < k; ++i) v[i] = key_at(a, base + i * a->inner) << 32 | (uint64_t)i;
    for (int64_t i = k / 2 - 1; i >= 0; --i) sift_down(v, k, i);
    for (int64_t i = k; i < n; ++i) {
      const uint64_t key = key_at(a, base + i * a->inner) << 32 | (uint64_t)i;
      if (key >= v[0]) continue;
      v[0] = key;
      sift_down(v, k, 0);
    }
    for (int64_t last = k - 1; last > 0; --last) {
      const uint64_t greatest = v[0];
      v[0] = v[last];
      v[last] = greatest;
      sift_down(v, last, 0);
    }
    return v;
  }
  for (int64_t i = 0; i < n; ++i) v[i] = key_at(a, base + i * a->inner) << 32 | (uint64_t)i;
  return sort_packed(v, v + n, n);
}

/// The first of the least keys, which needs no memory, however long the line.
static int64_t first_index(const ck_sort_args *a, int64_t base) {
  uint64_t least = key_at(a, base);
  int64_t index = 0;
  for (int64_t i = 1; i < a->axis; ++i) {
    const uint64_t key = key_at(a, base + i * a->inner);
    if (key >= least) continue;
    least = key;
    index = i;
  }
  return index;
}

static void sort_line(const ck_sort_args *a, int64_t base, int64_t out, void *scratch) {
  if (a->k == 1) {
    put(a, base, out, first_index(a, base));
    return;
  }
  if (a->dtype == CK_I64) {
    pair *v = scratch;
    for (int64_t i = 0; i < a->axis; ++i) {
      v[i] = (pair){key_at(a, base + i * a->inner), (uint64_t)i};
    }
    v = radix_pairs(v, v + a->axis, a->axis);
    for (int64_t i = 0; i < a->k; ++i) put(a, base, out + i * a->inner, (int64_t)v[i].index);
    return;
  }
  const uint64_t *v = first_packed(a, base, scratch);
  for (int64_t i = 0; i < a->k; ++i) {
    put(a, base, out + i * a->inner, (int64_t)(v[i] & UINT32_MAX));
  }
}

size_t ck_sort_scratch_bytes(const ck_sort_args *args) {
  if (args->k == 1) return 0;
  if (args->dtype == CK_I64) return (size_t)args->axis * 2 * sizeof(pair);
  return (size_t)(takes_few(args) ? args->k : args->axis * 2) * sizeof(uint64_t);
}

void ck_top_k_ref(const void *args, const ck_thread *t) {
  const ck_sort_args *a = args;
  int64_t begin, end;
  ck_share(a->axis == 0 ? 0 : a->outer * a->inner, t, &begin, &end);
  for (int64_t line = begin; line < end; ++line) {
    const int64_t o = line / a->inner, i = line % a->inner;
    sort_line(a, o * a->axis * a->inner + i, o * a->k * a->inner + i, t->scratch);
  }
}

void ck_sort_ref(const void *args, const ck_thread *t) { ck_top_k_ref(args, t); }
