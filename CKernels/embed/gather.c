// The gather family's table, and the kernels that only move: gather and one-hot.
//
// Gathering in another element type is gather_body.h, the additions are scatter_body.h (f32, per
// level) and scatter_other.c.
#include "ck_gather.h"

#include <string.h>

#include "../core/index.h"
#include "scatter_plan.h"

#define CK_GATHER(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "gather_kernels.inc"
#undef CK_GATHER

static const ck_entry entries[] = {
#define CK_GATHER(level, operation, function, same_bits) \
  {level, CK_GATHER_##operation, same_bits, #function, function},
#include "gather_kernels.inc"
#undef CK_GATHER
};

const ck_entry *ck_gather_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_gather(ck_gather_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

size_t ck_scatter_workspace_bytes(const ck_scatter_args *args) {
  // A block and what roundings have left out, each as large as the result.
  if (!scatter_has_blocks(args)) return 0;
  return (size_t)(args->outer * args->axis * args->inner) * 2 * sizeof(float);
}

size_t ck_coalesce_workspace_bytes(const ck_coalesce_args *args) {
  return (size_t)args->count * 2 * sizeof(uint64_t);
}

/// The index at flat place `at`, or -1 (noted) where it is outside 0 ..< limit.
static inline int64_t checked(const void *indices, int32_t dtype, int64_t at, int64_t limit,
                              int64_t *error) {
  const int64_t index = index_at(indices, dtype, at);
  if (index >= 0 && index < limit) return index;
  note_bad_index(error, at, index);
  return -1;
}

static inline void move_element(char *dst, const char *src, int32_t size) {
  switch (size) {
    case 1:
      *dst = *src;
      break;
    case 2:
      memcpy(dst, src, 2);
      break;
    case 4:
      memcpy(dst, src, 4);
      break;
    default:
      memcpy(dst, src, 8);
      break;
  }
}

/// One index an item, each moving a run of `inner` elements.
static void gather_runs(const ck_gather_args *a, int64_t begin, int64_t end) {
  const int64_t run = a->inner * a->element_size;
  const int64_t ahead = run >= 4096 ? 1 : 8;  // items to prefetch in advance
  for (int64_t item = begin; item < end; ++item) {
    const int64_t o = item / a->count, k = item % a->count;
    const char *slab = (const char *)a->src + o * a->axis * run;
    if (run >= 64 && k + ahead < a->count) {
      const int64_t next =
          index_at(a->indices, a->index_dtype, o * a->index_outer + (k + ahead) * a->index_count);
      if (next >= 0 && next < a->axis) {
        __builtin_prefetch(slab + next * run);
        if (run > 64) __builtin_prefetch(slab + next * run + 64);
      }
    }
    const int64_t index = checked(a->indices, a->index_dtype,
                                  o * a->index_outer + k * a->index_count, a->axis, a->error);
    char *dst = (char *)a->dst + item * run;
    if (index < 0) {
      memset(dst, 0, (size_t)run);
    } else if (run == a->element_size) {
      move_element(dst, slab + index * run, a->element_size);
    } else {
      memcpy(dst, slab + index * run, (size_t)run);
    }
  }
}

/// An index for each element.
static void gather_elements(const ck_gather_args *a, int64_t begin, int64_t end) {
  const int32_t size = a->element_size;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t o = item / a->count, k = item % a->count;
    const char *slab = (const char *)a->src + o * a->axis * a->inner * size;
    char *dst = (char *)a->dst + item * a->inner * size;
    for (int64_t i = 0; i < a->inner; ++i) {
      const int64_t at = o * a->index_outer + k * a->index_count + i * a->index_inner;
      const int64_t index = checked(a->indices, a->index_dtype, at, a->axis, a->error);
      if (index < 0) {
        memset(dst + i * size, 0, (size_t)size);
      } else {
        move_element(dst + i * size, slab + (index * a->inner + i) * size, size);
      }
    }
  }
}

void ck_gather_ref(const void *args, const ck_thread *t) {
  const ck_gather_args *a = args;
  int64_t begin, end;
  ck_share(a->outer * a->count, t, &begin, &end);
  if (a->inner == 0 || begin == end) return;
  if (a->index_inner == 0 || a->inner == 1) {
    gather_runs(a, begin, end);
  } else {
    gather_elements(a, begin, end);
  }
}

static void fill_element(char *dst, int64_t n, int32_t size, uint64_t bits) {
  for (int64_t i = 0; i < n; ++i) move_element(dst + i * size, (const char *)&bits, size);
}

void ck_one_hot_ref(const void *args, const ck_thread *t) {
  const ck_one_hot_args *a = args;
  const int32_t size = a->element_size;
  const int64_t slab = a->depth * a->inner;
  int64_t begin, end;
  ck_share(a->outer, t, &begin, &end);
  for (int64_t o = begin; o < end; ++o) {
    char *dst = (char *)a->dst + o * slab * size;
    if (a->off == 0) {
      memset(dst, 0, (size_t)(slab * size));
    } else {
      fill_element(dst, slab, size, a->off);
    }
    for (int64_t i = 0; i < a->inner; ++i) {
      const int64_t index =
          checked(a->indices, a->index_dtype, o * a->inner + i, a->depth, a->error);
      if (index >= 0) fill_element(dst + (index * a->inner + i) * size, 1, size, a->on);
    }
  }
}

void ck_length_mask_ref(const void *args, const ck_thread *t) {
  const ck_length_mask_args *a = args;
  int64_t begin, end;
  ck_share(a->count, t, &begin, &end);
  for (int64_t i = begin; i < end; ++i) {
    int64_t length = index_at(a->lengths, a->length_dtype, i);
    if (length < 1 || length > a->extent) {
      note_bad_index(a->error, i, length);
      length = 0;
    }
    char *row = (char *)a->dst + i * a->extent;
    memset(row, 1, (size_t)length);
    memset(row + length, 0, (size_t)(a->extent - length));
  }
}

void ck_set_rows_ref(const void *args, const ck_thread *t) {
  const ck_set_rows_args *a = args;
  const size_t bytes = (size_t)a->row_bytes;
  int64_t begin, end;
  if (a->dst != a->src) {
    ck_share(a->axis, t, &begin, &end);
    memcpy((char *)a->dst + (size_t)begin * bytes, (const char *)a->src + (size_t)begin * bytes,
           (size_t)(end - begin) * bytes);
    ck_barrier(t);
  }
  ck_share(a->count, t, &begin, &end);
  for (int64_t k = begin; k < end; ++k) {
    const int32_t row = a->rows[k];
    if (row < 0 || row >= a->axis) continue;
    memcpy((char *)a->dst + (size_t)row * bytes, (const char *)a->values + (size_t)k * bytes,
           bytes);
  }
}
