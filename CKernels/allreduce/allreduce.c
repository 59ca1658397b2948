// The halves of an all-reduce: filling a bucket and handing it over, waiting for it and emptying
// it.
#include "ck_allreduce.h"

#include <string.h>

#define CK_ALLREDUCE(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "allreduce_kernels.inc"
#undef CK_ALLREDUCE

static const ck_entry entries[] = {
#define CK_ALLREDUCE(level, operation, function, same_bits) \
  {level, CK_ALLREDUCE_##operation, same_bits, #function, function},
#include "allreduce_kernels.inc"
#undef CK_ALLREDUCE
};

const ck_entry *ck_allreduce_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_allreduce(ck_allreduce_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

// A run of a bucket that lies in one array.
typedef struct piece {
  float *bucket, *array;
  int64_t count;
} piece;

// This thread's share of the bucket, one piece after the other.
typedef struct walk {
  const ck_allreduce_args *args;
  int64_t next, end;     // of the share
  int64_t index, first;  // the array that holds `next` or one before it, and where it begins
} walk;

static walk walk_share(const ck_allreduce_args *args, const ck_thread *t) {
  walk w = {.args = args};
  ck_share((args->count + CK_ALLREDUCE_TILE - 1) / CK_ALLREDUCE_TILE, t, &w.next, &w.end);
  w.next *= CK_ALLREDUCE_TILE;
  w.end *= CK_ALLREDUCE_TILE;
  if (w.end > args->count) w.end = args->count;
  return w;
}

static bool walk_on(walk *w, piece *p) {
  if (w->next >= w->end) return false;
  const ck_allreduce_array *arrays = ck_allreduce_arrays(w->args);
  while (w->first + arrays[w->index].count <= w->next) w->first += arrays[w->index++].count;
  const int64_t behind = w->first + arrays[w->index].count;
  p->bucket = w->args->bucket + w->next;
  p->array = arrays[w->index].data + (w->next - w->first);
  p->count = (behind < w->end ? behind : w->end) - w->next;
  w->next += p->count;
  return true;
}

void ck_allreduce_start_ref(const void *args, const ck_thread *t) {
  const ck_allreduce_args *a = args;
  const float weight = a->weight ? *a->weight : 1;
  walk w = walk_share(a, t);
  for (piece p; walk_on(&w, &p);) {
    if (weight == 0) {
      memset(p.bucket, 0, (size_t)p.count * sizeof(float));
    } else if (weight == 1) {
      memcpy(p.bucket, p.array, (size_t)p.count * sizeof(float));
    } else {
      float *restrict to = p.bucket;
      const float *restrict from = p.array;
      for (int64_t i = 0; i < p.count; ++i) to[i] = weight * from[i];
    }
  }
  ck_barrier(t);
  if (t->index != 0) return;
  if (a->weight) a->bucket[a->count] = weight;
  if (a->group) {
    a->group->post(a->group->context, a->number, a->bucket, a->count + (a->weight ? 1 : 0));
  }
}

void ck_allreduce_end_ref(const void *args, const ck_thread *t) {
  const ck_allreduce_args *a = args;
  if (t->index == 0 && a->group) a->group->wait(a->group->context, a->number);
  ck_barrier(t);
  const float weight = a->weight ? a->bucket[a->count] : 1;
  walk w = walk_share(a, t);
  for (piece p; walk_on(&w, &p);) {
    float *restrict to = p.array;
    const float *restrict from = p.bucket;
    if (weight == 1) {
      memcpy(to, from, (size_t)p.count * sizeof(float));
    } else {
      for (int64_t i = 0; i < p.count; ++i) to[i] = from[i] / weight;
    }
  }
}

void ck_allreduce_sum(float *sum, const float *const *parts, int64_t part_count, int64_t count) {
  enum { tile = 1024 };
  float sums[tile];
  for (int64_t start = 0; start < count; start += tile) {
    const int64_t n = count - start < tile ? count - start : tile;
    memcpy(sums, parts[0] + start, (size_t)n * sizeof(float));
    for (int64_t p = 1; p < part_count; ++p) {
      const float *part = parts[p] + start;
      for (int64_t i = 0; i < n; ++i) sums[i] += part[i];
    }
    memcpy(sum + start, sums, (size_t)n * sizeof(float));
  }
}
